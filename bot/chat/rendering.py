"""A card as message text, buttons and files. Blocking picture work runs in a thread."""

from __future__ import annotations

import asyncio
import io
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

from bot.chat import attachments, wording
from bot.chat.buttons import PART_SIZE, controls, end_controls, result_controls
from bot.chat.cards import Card, Phase
from bot.chat.explicit import is_explicit, is_withheld
from bot.job import JobKind, JobState

if TYPE_CHECKING:
    from pathlib import Path

    from bot.chat.attachments import Upload
    from bot.job import Job, JobImage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a message shows. `files` None leaves its files as they are; a list takes their place."""

    content: str
    view: discord.ui.View
    files: list[discord.File] | None = None


@dataclass(frozen=True, slots=True)
class Venue:
    """What the place of a message allows."""

    file_limit: int
    """Bytes of one file."""
    age_restricted: bool
    nsfw_threshold: float


async def render_live(card: Card) -> Rendered:
    """A job that waits or is being drawn."""
    view = controls(card.job.id, "cancel")
    if card.phase is not Phase.DRAWING:
        files: list[discord.File] | None = [] if card.interrupted else None
        return Rendered(wording.waiting(card.job, card.place), view, files)
    if card.progress is None:
        return Rendered(wording.starting(card.job), view)
    step, total = card.progress.step, card.progress.total_steps
    left = card.progress.seconds_per_step * (total - step) if card.progress.seconds_per_step > 0 else None
    content = wording.drawing(card.job, step, total, left)
    file = await _preview_file(card, wording.preview_alt_text(card.job, step, total))
    return Rendered(content, view, None if file is None else [file])


async def render_end(card: Card, venue: Venue, part: int = 0, made_from: str = "") -> Rendered:
    """A job that ended: those of its pictures that are in one message, or why there are none.

    `made_from`: a line about what they were made from.
    """
    job = card.job
    if card.reason is not None:
        return render_failure(job, card.reason)
    if job.state is JobState.CANCELLED or not card.images:
        return Rendered(wording.cancelled(job), end_controls(job), [])
    images = card.images[part * PART_SIZE : (part + 1) * PART_SIZE]
    shown = [image for image in images if _may_show(image, card, venue)]
    withheld = {image.index for image in images} - {image.index for image in shown}
    content = wording.finished(job, images, len(withheld), len(card.images), made_from)
    try:
        files = await asyncio.to_thread(_files, card, shown, venue)
    except FileNotFoundError:
        log.warning("job %s: a file of its pictures is gone", job.id)
        lost = wording.ENLARGED_LOST if job.kind is JobKind.RESAMPLE else wording.PICTURE_LOST
        return render_failure(job, lost, images[0].index)
    return Rendered(content, result_controls(job, images, withheld=withheld), files)


def render_failure(job: Job, reason: str, index: int | None = None) -> Rendered:
    """`index`: of the first picture that should be in this message."""
    return Rendered(wording.failed(job, reason), end_controls(job, index), [])


def _may_show(image: JobImage, card: Card, venue: Venue) -> bool:
    return not is_withheld(card.job, image, threshold=venue.nsfw_threshold, age_restricted=venue.age_restricted)


def _files(card: Card, images: list[JobImage], venue: Venue) -> list[discord.File]:
    limit = attachments.file_limit(venue.file_limit, len(images))
    uploads = [_upload(card, image, limit, spoiler=is_explicit(image, venue.nsfw_threshold)) for image in images]
    return [_file(upload) for upload in uploads]


def _upload(card: Card, image: JobImage, limit: int, *, spoiler: bool) -> Upload:
    data, suffix = attachments.picture(image.path, limit=limit)
    name = f"atelier-{card.job.id}-{image.index + 1}{suffix}"
    return attachments.Upload(name, data, wording.alt_text(card.job, image, len(card.images)), spoiler)


def _file(upload: Upload) -> discord.File:
    return discord.File(
        io.BytesIO(upload.data),
        filename=upload.filename,
        description=upload.description,
        spoiler=upload.spoiler,
    )


async def _preview_file(card: Card, description: str) -> discord.File | None:
    """The worker replaces and removes this file as it goes on: its absence is normal."""
    path: Path | None = card.preview
    if path is None:
        return None
    try:
        data = await asyncio.to_thread(attachments.preview, path)
    except OSError:
        return None
    return _file(attachments.Upload(f"preview-{card.job.id}.webp", data, description))
