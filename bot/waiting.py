"""The jobs that wait: the fair queue with the jobs themselves, and what their members were told about their place."""

import dataclasses
import time
from collections import deque
from collections.abc import Iterator

from bot.job import Job
from bot.outlook import Place, WorkerState, WorkerStatus
from bot.queue import Entry, FairQueue

_PACE_JOBS = 16
"""How many of the latest jobs the estimates look back to: they come in bursts, since they share their steps."""
_FRACTION_STEPS = 20  # "the model is loading (35 %)" is said again every 5 %


class WaitingRoom:
    """`message_wait_seconds`: how long a job is held for the message that will show it. Seconds are monotonic."""

    def __init__(self, message_wait_seconds: float) -> None:
        self._message_wait = message_wait_seconds
        self._queue = FairQueue()
        self._jobs: dict[str, tuple[Job, float]] = {}
        self._said: dict[str, object] = {}
        self._drawn: deque[tuple[int, float]] = deque(maxlen=_PACE_JOBS)

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def images(self) -> int:
        """Or so many trainings."""
        return sum(job.price for job, _ in self._jobs.values())

    def add(self, job: Job, *, front: bool = False) -> None:
        self._jobs[job.id] = job, time.monotonic()
        self._queue.push(Entry(job.id, job.member_id, job.price), front=front)

    def settle(self) -> None:
        """The studio is idle: the next members to come start level."""
        if not self._jobs:
            self._queue.settle()

    def attach(self, job_id: str, message_id: int) -> None:
        """Its message exists. Nothing happens where it does not wait here."""
        if job_id in self._jobs:
            job, since = self._jobs[job_id]
            self._jobs[job_id] = dataclasses.replace(job, message_id=message_id), since

    def remove(self, job_id: str) -> None:
        self._queue.remove(job_id)
        self._forget(job_id)

    def pop(self, *, idle: bool = True) -> Job | None:
        """The next one that may run; `idle`: nothing is being drawn.

        A job whose worker died once draws alone: should it be the cause, it takes nobody down with it again.
        It is at the front of the queue, so everybody waits for that, not only the job itself.
        """
        if not idle and self.alone:
            return None
        entry = self._queue.pop(self._may_run)
        return None if entry is None else self._forget(entry.job_id)

    @property
    def alone(self) -> bool:
        """Is there one that may run and has to draw alone?"""
        return any(job.crashes and self._may_run(job.id) for job, _ in self._jobs.values())

    def _forget(self, job_id: str) -> Job | None:
        self._said.pop(job_id, None)
        job, _ = self._jobs.pop(job_id, (None, 0.0))
        return job

    def _may_run(self, job_id: str) -> bool:
        job, since = self._jobs[job_id]
        return job.message_id is not None or time.monotonic() - since >= self._message_wait

    # ── places and times ──

    def drawn(self, images: int, seconds: float) -> None:
        """For the estimates: a job of so many images ended, so long after the one before it or after its start."""
        self._drawn.append((images, seconds))

    def seconds(self, images: int) -> float | None:
        """How long so many images will take; None where nothing was drawn yet."""
        if not self._drawn:
            return None
        return images * sum(seconds for _, seconds in self._drawn) / sum(images for images, _ in self._drawn)

    def in_order(self, images_ahead: int, worker: WorkerStatus) -> Iterator[tuple[Job, Place]]:
        """`images_ahead`: those that are being drawn, where the first in the queue has to wait for them."""
        for job_id, place in self._queue.places().items():
            ahead = images_ahead + place.images_ahead
            yield (
                self._jobs[job_id][0],
                Place(
                    position=place.position,
                    images_ahead=ahead,
                    seconds=self.seconds(ahead),
                    waiting_for=None if worker.state is WorkerState.READY else worker,
                ),
            )

    def changed_places(self, images_ahead: int, worker: WorkerStatus) -> list[tuple[Job, Place]]:
        """Those whose members have not been told this yet."""
        changed: list[tuple[Job, Place]] = []
        fraction = None if worker.fraction is None else int(worker.fraction * _FRACTION_STEPS)
        reason = None if worker.state is WorkerState.READY else (worker.state, worker.text, fraction)
        for job, place in self.in_order(images_ahead, worker):
            saying = (place.position, place.images_ahead, reason)
            if self._said.get(job.id) != saying:
                self._said[job.id] = saying
                changed.append((job, place))
        return changed
