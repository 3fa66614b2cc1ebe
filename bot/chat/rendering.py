"""A card as message text, buttons and files. Blocking picture work runs in a thread."""

from __future__ import annotations

import asyncio
import io
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import discord

from bot.chat import attachments, wording
from bot.chat.buttons import PART_SIZE, controls, end_controls, result_controls
from bot.chat.cards import Card, Phase
from bot.chat.explicit import is_explicit, is_withheld
from bot.chat.wording import training_job
from bot.job import JobKind, JobState

if TYPE_CHECKING:
    from pathlib import Path

    from bot.chat.attachments import Upload
    from bot.job import Job, JobImage

log = logging.getLogger(__name__)


_LOST: Final = {JobKind.RESAMPLE: wording.ENLARGED_LOST, JobKind.TRAIN: training_job.SAMPLES_LOST}


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
    if card.job.kind is JobKind.TRAIN:
        return await _render_training(card, view)
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


async def _render_training(card: Card, view: discord.ui.View) -> Rendered:
    """Its samples stay, also while it waits for another worker, until there are newer ones: they are sent once."""
    if card.phase is not Phase.DRAWING:
        return Rendered(training_job.waiting(card.job, card.place), view)
    if card.progress is None:
        return Rendered(training_job.starting(card.job), view)
    file = None
    if card.previews > card.preview_shown:
        file = await _preview_file(card, training_job.samples_alt_text(card.job))
    return Rendered(training_job.training(card.job, card.progress), view, None if file is None else [file])


async def render_end(card: Card, venue: Venue, part: int = 0, made_from: str = "") -> Rendered:
    """A job that ended: those of its pictures that are in one message, or why there are none.

    `made_from`: a line about what they were made from.
    """
    job = card.job
    if card.reason is not None:
        return render_failure(job, card.reason)
    if job.kind is JobKind.TRAIN:
        if job.state is JobState.CANCELLED:
            return Rendered(training_job.cancelled(job), end_controls(job), [])
        if not card.images:  # none of its samples could be drawn or checked; what was learned is there
            return Rendered(training_job.finished(job, card.trained, (), 0), end_controls(job), [])
    elif job.state is JobState.CANCELLED or not card.images:
        return Rendered(wording.cancelled(job), end_controls(job), [])
    images = card.images[part * PART_SIZE : (part + 1) * PART_SIZE]
    shown = [image for image in images if _may_show(image, card, venue)]
    withheld = {image.index for image in images} - {image.index for image in shown}
    if job.kind is JobKind.TRAIN:
        content = training_job.finished(job, card.trained, images, len(withheld))
    else:
        content = wording.finished(job, images, len(withheld), len(card.images), made_from)
    try:
        files = await asyncio.to_thread(_files, card, shown, venue)
    except FileNotFoundError:
        log.warning("job %s: a file of its pictures is gone", job.id)
        lost = _LOST.get(job.kind, wording.PICTURE_LOST)
        return render_failure(job, lost, images[0].index)
    return Rendered(content, result_controls(job, images, withheld=withheld), files)


def render_failure(job: Job, reason: str, index: int | None = None) -> Rendered:
    """`index`: of the first picture that should be in this message."""
    said = training_job.failed(job, reason) if job.kind is JobKind.TRAIN else wording.failed(job, reason)
    return Rendered(said, end_controls(job, index), [])


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
