"""What Studio can tell about itself and about a job: plain values, for chat and the command line to word."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from bot.job import Job, JobImage
from bot.worker.messages import Progress
from generation.request import ModelInfo


class WorkerState(StrEnum):
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    LOST = "lost"  # died or hung; it is being started again
    LOAD_FAILED = "load_failed"  # the model cannot be loaded; tried again with growing pauses


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """`text` is one phrase (what is loading, or why it failed); `fraction` is 0 to 1 where it is known."""

    state: WorkerState = WorkerState.STARTING
    text: str = ""
    fraction: float | None = None
    model: ModelInfo | None = None
    """The model that is loaded, or was before the loss."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job waits. `position` 1 = the next to start; `images_ahead` counts running and waiting images; of a
    training, which waits in a queue of its own, running and waiting trainings."""

    position: int
    images_ahead: int
    seconds: float | None = None
    """Until it starts, as far as can be told; None where nothing was drawn yet."""
    waiting_for: WorkerStatus | None = None
    """Set while there is no ready worker: say that (loading with percent, lost, cannot load) rather than a time."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """`created` is False where this interaction had made its job before; `job` is then the first one.
    `place` is None once the job has left the queue."""

    job: Job
    created: bool
    place: Place | None


class CancelOutcome(StrEnum):
    CANCELLED = "cancelled"
    """It ends as cancelled; a running one stops at the next step."""
    TOO_LATE = "too_late"
    """It had ended already, in whatever way."""


@dataclass(frozen=True, slots=True)
class QueueLine:
    job: Job
    place: Place | None
    """None = it is being drawn now."""


@dataclass(frozen=True, slots=True)
class QueueView:
    """Running pictures first, then the waiting ones in the order in which they will start; then, alike, trainings.
    `images` counts pictures only."""

    lines: Sequence[QueueLine]
    images: int
    seconds: float | None
    """Until all of it is done."""
    worker: WorkerStatus


@dataclass(frozen=True, slots=True)
class StudioStatus:
    worker: WorkerStatus
    queued: int
    running: int
    images_waiting: int
    started_at: datetime
    last_result_at: datetime | None = None
    """When a job was last done; None since the start."""
    trainings_queued: int = 0
    trainings_running: int = 0
    """Beside the jobs above, which are pictures only."""
    kept_bytes: int | None = None
    """What the pictures on disk take; None before they were measured."""


class JobListener(Protocol):
    """Whoever tells members what happens. Called on the event loop, in order, one call at a time: take a note and
    return, never block, never raise (what is raised is logged and forgotten).

    After a restart `Studio.replay()` may repeat what was said before for a job: be idempotent per job id.
    """

    def on_queued(self, job: Job, place: Place) -> None:
        """It waits; called again whenever its place, or what it waits for, changes (also after a lost worker)."""
        ...

    def on_started(self, job: Job) -> None: ...

    def on_progress(self, job: Job, progress: Progress) -> None: ...

    def on_done(self, job: Job, images: Sequence[JobImage]) -> None:
        """Its images are kept. Call `Studio.mark_delivered` once the member can see them."""
        ...

    def on_failed(self, job: Job, reason: str) -> None:
        """`reason` is one sentence. Call `Studio.mark_delivered` once it is told."""
        ...

    def on_cancelled(self, job: Job) -> None:
        """Call `Studio.mark_delivered` once it is told."""
        ...
