"""What the chat knows about a job on its way: where its message is and what it should say. No Discord calls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import discord

    from bot.job import Job, JobImage
    from bot.outlook import Place
    from bot.worker.messages import Progress
    from training.order import TrainedConcept


CLOSED_REMEMBERED: Final = 1000


class Phase(Enum):
    QUEUED = auto()
    DRAWING = auto()
    ENDED = auto()


@dataclass(slots=True, eq=False)
class Card:
    """The latest news about one job. An edit that is done late shows what is true then."""

    job: Job
    fresh: bool = True
    """The command that made the job is about to send its message: edits wait for it."""
    message: discord.Message | discord.PartialMessage | None = None
    follow_up: discord.Interaction[Any] | None = None
    """Where the bot can't write in the channel: what its messages are sent through."""
    storing: list[asyncio.Task[None]] = field(default_factory=list["asyncio.Task[None]"])
    """Tell the registry the ids of its messages."""
    phase: Phase = Phase.QUEUED
    place: Place | None = None
    progress: Progress | None = None
    images: Sequence[JobImage] = ()
    reason: str | None = None
    trained: TrainedConcept | None = None
    """What came of a training; None also where the concept was deleted meanwhile."""
    shown: str | None = None
    """Text of the last edit."""
    interrupted: bool = False
    """A worker was lost with it: the half-drawn preview has to go."""
    previews: int = 0
    """How many the worker has made for it."""
    preview_shown: int = 0
    """Which of them its message shows."""
    planned_at: float = float("-inf")
    """When an edit was last planned for its progress; a training's are few."""
    ending: bool = False
    """Its end may be in the channel already, whole or in part: told by an earlier life of the bot or try."""
    told: set[int] = field(default_factory=set[int])
    """Parts of its end that this life of the bot has told."""
    seen: bool = False
    """Its end has pictures to look at: not all were withheld."""
    pinged: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while its message is made: it is made once."""

    @property
    def wants_edit(self) -> bool:
        """False while a command still has to send the message (it will say what is true then)."""
        return not self.fresh or self.message is not None

    def is_over(self) -> bool:
        """A method, because it can become true during any `await`."""
        return self.phase is Phase.ENDED

    @property
    def preview(self) -> Path | None:
        if self.phase is not Phase.DRAWING or self.progress is None or self.progress.preview is None:
            return None
        return Path(self.progress.preview)

    def queued(self, job: Job, place: Place) -> None:
        if self.phase is Phase.DRAWING:
            self.interrupted = True
        self._take(job)
        if self.phase is not Phase.ENDED:
            self.phase, self.place, self.progress = Phase.QUEUED, place, None

    def started(self, job: Job) -> None:
        repeated = self.phase is Phase.DRAWING and job.attempt == self.job.attempt
        self._take(job)
        if self.phase is not Phase.ENDED and not repeated:
            self.phase, self.place, self.progress = Phase.DRAWING, None, None

    def progressed(self, job: Job, progress: Progress) -> None:
        self._take(job)
        if self.phase is Phase.ENDED:
            return
        before = self.progress
        self.previews += progress.preview is not None
        if progress.preview is None and before is not None and before.attempt == progress.attempt:
            # The worker makes one every half second: quick steps in between come without.
            progress = msgspec.structs.replace(progress, preview=before.preview)
        self.phase, self.place, self.progress = Phase.DRAWING, None, progress

    def ended(self, job: Job, images: Sequence[JobImage], reason: str | None) -> None:
        self._take(job)
        self.phase, self.images, self.reason = Phase.ENDED, images, reason

    def _take(self, job: Job) -> None:
        if job.attempt >= self.job.attempt:
            self.job = job


class Cards:
    """The cards of all jobs on their way. What is said late about a closed job makes no new one."""

    def __init__(self) -> None:
        self._cards: dict[str, Card] = {}
        self._closed: dict[str, None] = {}

    def of(self, job: Job) -> Card | None:
        """The job's card, a new one where there is none; None once it is closed."""
        if job.id in self._closed:
            return None
        card = self._cards.get(job.id)
        if card is None:
            card = self._cards[job.id] = Card(job, fresh=job.message_id is None, ending=job.state.ended)
        return card

    def get(self, job_id: str) -> Card | None:
        return self._cards.get(job_id)

    def drop(self, job_id: str) -> None:
        """Forget the card; a replay may bring it back."""
        self._cards.pop(job_id, None)

    def close(self, job_id: str) -> None:
        """Its member knows how it ended, or never will: there is nothing more to say."""
        self.drop(job_id)
        self._closed[job_id] = None
        if len(self._closed) > CLOSED_REMEMBERED:
            del self._closed[next(iter(self._closed))]
