"""A job: one thing that a member asked for, from the queue to the picture in the channel."""

import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from bot.worker.messages import DrawnImage
from generation.recipe import Recipe
from generation.request import ImageRequest
from training.order import TrainingOrder

MAX_CRASHES = 3
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts like the number, no i l o u


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"  # the images are on disk and in the registry; the member has not seen them yet
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """No more work will be done for it (it may still have to be told to its member)."""
        return self not in LIVE


LIVE = (JobState.QUEUED, JobState.RUNNING)


class JobKind(StrEnum):
    IMAGINE = "imagine"
    REMIX = "remix"  # from a picture, with words of the member's own
    VARY = "vary"  # the same words, from a picture drawn here
    UPSCALE = "upscale"  # drawn over at twice its size
    RESAMPLE = "resample"  # enlarged without the model, where that can't draw larger
    TRAIN = "train"  # a concept is learnt; its pictures are samples of it


@dataclass(frozen=True, slots=True)
class Origin:
    """What a picture was made from: picture `index` of a job, or somebody's own picture (`job_id` None).

    The other ids say which message showed it; `guild_id` None is a direct message.
    """

    job_id: str | None = None
    index: int = 0
    guild_id: int | None = None
    channel_id: int | None = None
    message_id: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the registry's `jobs` table. Times are in UTC."""

    id: str
    member_id: int
    guild_id: int | None
    channel_id: int
    interaction_id: int | None
    message_id: int | None
    state: JobState
    attempt: int
    """The fence: goes up by one at every start of the job and never down."""
    crashes: int
    """How often a worker died with it; at `MAX_CRASHES` it is given up."""
    request: ImageRequest
    error: str | None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    delivered_at: datetime | None = None
    """When its member was told how it ended; None on an ended job = still to be told."""
    kind: JobKind = JobKind.IMAGINE
    origin: Origin | None = None
    foreign_start: bool = False
    """Its start image, or one further back in its line, was not drawn here: what is explicit is never shown."""
    redraw: ImageRequest | None = None
    """The start image is not kept any more: this draws it again first, as one picture."""
    recipe: Recipe | None = None
    """Of the picture that a `RESAMPLE` enlarges."""
    start_member_id: int | None = None
    """Whose picture it starts from; None: drawn from words, or somebody's own that they attached."""
    file_limit: int | None = None
    """Bytes that a file may have where it was asked for, as Discord said then."""
    of_person: bool = False
    """It uses a concept of a person, or one further back in its line did: what is explicit is never shown."""
    training: TrainingOrder | None = None
    """Of a `TRAIN`; `request` then draws the samples at its end."""
    consent: str | None = None
    """Of a `TRAIN`: which version of the text its member agreed to."""

    @property
    def images(self) -> int:
        """How many images it makes."""
        return self.request.total_images

    @property
    def price(self) -> int:
        """In its queue: images. Trainings wait in a queue of their own, where each costs the same."""
        return 1 if self.kind is JobKind.TRAIN else self.images


@dataclass(frozen=True, slots=True)
class JobImage:
    """One finished image of a job. `path` is absolute; `nsfw` is the output check's score, 0 to 1."""

    job_id: str
    index: int
    path: Path
    seed: int
    width: int
    height: int
    recipe: Recipe
    nsfw: float
    words_not_read: tuple[str, ...] = ()
    message_id: int | None = None

    @classmethod
    def of(cls, job_id: str, index: int, drawn: DrawnImage) -> Self:
        """What the worker handed over for a job."""
        return cls(
            job_id=job_id,
            index=index,
            path=Path(drawn.path),
            seed=drawn.seed,
            width=drawn.width,
            height=drawn.height,
            recipe=drawn.recipe,
            nsfw=drawn.nsfw,
            words_not_read=tuple(drawn.words_not_read),
        )


def _base32(number: int, length: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * (length - 1), -1, -5))


def new_job_id(now: float | None = None) -> str:
    """17 characters: 9 of milliseconds, 8 at random. Sorts by time; `{id}:{part}` fits Discord's 25-character
    nonce. `now` is seconds since 1970."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    return _base32(milliseconds, 9) + _base32(secrets.randbits(40), 8)
