"""From rows to the values that the rest of the bot uses, and back."""

from pathlib import Path
from typing import Any

import msgspec

from bot.job import Job, JobImage, JobKind, JobState, Origin
from bot.registry.tables import ImageRow, JobRow
from generation.recipe import Recipe
from generation.request import ImageRequest
from training.order import TrainingOrder


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _optional_json(value: object | None) -> str | None:
    return None if value is None else _json(value)


def job_values(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "member_id": job.member_id,
        "guild_id": job.guild_id,
        "channel_id": job.channel_id,
        "interaction_id": job.interaction_id,
        "message_id": job.message_id,
        "state": job.state,
        "attempt": job.attempt,
        "crashes": job.crashes,
        "image_count": job.images,
        "request": _json(job.request),
        "error": job.error,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "delivered_at": job.delivered_at,
        **_origin_values(job.origin or Origin(), known=job.origin is not None),
        "foreign_start": job.foreign_start,
        "redraw": _optional_json(job.redraw),
        "recipe": _optional_json(job.recipe),
        "start_member_id": job.start_member_id,
        "file_limit": job.file_limit,
        "of_person": job.of_person,
        "training": _optional_json(job.training),
        "consent": job.consent,
    }


def _origin_values(origin: Origin, *, known: bool) -> dict[str, Any]:
    return {
        "origin_job_id": origin.job_id,
        "origin_index": origin.index if known else None,
        "origin_guild_id": origin.guild_id,
        "origin_channel_id": origin.channel_id,
        "origin_message_id": origin.message_id,
    }


def _origin(row: JobRow) -> Origin | None:
    if row.origin_index is None:
        return None
    return Origin(
        row.origin_job_id, row.origin_index, row.origin_guild_id, row.origin_channel_id, row.origin_message_id
    )


def job_from_row(row: JobRow) -> Job:
    return Job(
        id=row.id,
        member_id=row.member_id,
        guild_id=row.guild_id,
        channel_id=row.channel_id,
        interaction_id=row.interaction_id,
        message_id=row.message_id,
        state=JobState(row.state),
        attempt=row.attempt,
        crashes=row.crashes,
        request=msgspec.json.decode(row.request, type=ImageRequest),
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        delivered_at=row.delivered_at,
        kind=JobKind(row.kind),
        origin=_origin(row),
        foreign_start=row.foreign_start,
        redraw=None if row.redraw is None else msgspec.json.decode(row.redraw, type=ImageRequest),
        recipe=None if row.recipe is None else msgspec.json.decode(row.recipe, type=Recipe),
        start_member_id=row.start_member_id,
        file_limit=row.file_limit,
        of_person=row.of_person,
        training=None if row.training is None else msgspec.json.decode(row.training, type=TrainingOrder),
        consent=row.consent,
    )


def image_values(image: JobImage, folder: Path) -> dict[str, Any]:
    """`folder`: the data folder. Paths are kept relative to it, so that it can be moved."""
    return {
        "job_id": image.job_id,
        "index": image.index,
        "path": image.path.relative_to(folder).as_posix(),
        "seed": image.seed,
        "width": image.width,
        "height": image.height,
        "recipe": _json(image.recipe),
        "nsfw": image.nsfw,
        "words_not_read": _json(image.words_not_read),
        "message_id": image.message_id,
    }


def job_image_from_row(row: ImageRow, folder: Path) -> JobImage:
    return JobImage(
        job_id=row.job_id,
        index=row.index,
        path=folder / row.path,
        seed=row.seed,
        width=row.width,
        height=row.height,
        recipe=msgspec.json.decode(row.recipe, type=Recipe),
        nsfw=row.nsfw,
        words_not_read=msgspec.json.decode(row.words_not_read, type=tuple[str, ...]),
        message_id=row.message_id,
    )
