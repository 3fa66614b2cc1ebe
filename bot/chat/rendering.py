"""A card as message text, buttons and files. Blocking picture work runs in a thread."""

from __future__ import annotations

import asyncio
import io
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

from bot.chat import attachments, wording
from bot.chat.buttons import controls
from bot.chat.cards import Card, Phase
from bot.job import JobState

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


async def render_end(card: Card, venue: Venue) -> Rendered:
    """A job that ended: its pictures, or why there are none."""
    job = card.job
    if card.reason is not None:
        return render_failure(job, card.reason)
    if job.state is JobState.CANCELLED or not card.images:
        return Rendered(wording.cancelled(job), controls(job.id, "again"), [])
    shown = [image for image in card.images if _may_show(image, card, venue)]
    content = wording.finished(job, card.images, len(card.images) - len(shown))
    try:
        files = await asyncio.to_thread(_files, card, shown, venue)
    except FileNotFoundError:
        log.warning("job %s: a file of its pictures is gone", job.id)
        return render_failure(job, wording.PICTURE_LOST)
    return Rendered(content, controls(job.id, "again", "recipe"), files)


def render_failure(job: Job, reason: str) -> Rendered:
    return Rendered(wording.failed(job, reason), controls(job.id, "again"), [])


def _explicit(image: JobImage, venue: Venue) -> bool:
    return image.nsfw >= venue.nsfw_threshold


def _may_show(image: JobImage, card: Card, venue: Venue) -> bool:
    """Explicit pictures only in age-restricted channels, and never those that began as somebody's picture."""
    return not _explicit(image, venue) or (venue.age_restricted and card.job.request.init_image is None)


def _files(card: Card, images: list[JobImage], venue: Venue) -> list[discord.File]:
    limit = attachments.file_limit(venue.file_limit, len(images))
    uploads = [_upload(card, image, limit, spoiler=_explicit(image, venue)) for image in images]
    return [_file(upload) for upload in uploads]


def _upload(card: Card, image: JobImage, limit: int, *, spoiler: bool) -> Upload:
    data, suffix = attachments.picture(image.path, limit=limit)
    name = f"atelier-{card.job.id}-{image.index + 1}{suffix}"
    return attachments.Upload(name, data, wording.alt_text(image, len(card.images)), spoiler)


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
