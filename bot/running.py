"""The jobs that the worker has, each held by a lease."""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.errors import RegistryTrouble
from bot.job import Job
from bot.registry.jobs import Jobs

log = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 4


@dataclass(slots=True)
class Running:
    """A job that the worker has. Times are monotonic seconds."""

    job: Job
    since: float
    renewed: float


class RunningJobs:
    """`at_once`: how many the worker takes; `lease`: how long it may go without naming one of them."""

    def __init__(self, jobs: Jobs, lease: timedelta, at_once: int, clock: Callable[[], datetime]) -> None:
        self._jobs, self._lease, self._at_once, self._clock = jobs, lease, at_once, clock
        self._running: dict[str, Running] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._running

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Running]:
        """In the order of their start; some may leave meanwhile."""
        return iter(list(self._running.values()))

    @property
    def images(self) -> int:
        return sum(running.job.price for running in self)

    @property
    def has_room(self) -> bool:
        # A job whose worker died draws alone, see WaitingRoom.pop.
        return len(self) < self._at_once and not self.alone

    @property
    def alone(self) -> bool:
        """Is it one whose worker died with it?"""
        return any(running.job.crashes for running in self)

    def current(self, job_id: str, attempt: int) -> Running | None:
        """None where the worker speaks of an earlier attempt, or of what it should not have."""
        running = self._running.get(job_id)
        return running if running is not None and running.job.attempt == attempt else None

    def attach(self, job_id: str, message_id: int) -> None:
        """Its message exists. Nothing happens where it does not run."""
        running = self._running.get(job_id)
        if running is not None:
            running.job = dataclasses.replace(running.job, message_id=message_id)

    async def claim(self, job_id: str) -> Job | None:
        """From the queue to the worker; None where it is not queued any more. Raises RegistryTrouble."""
        job = await self._jobs.claim(job_id, self._clock(), self._lease)
        if job is not None:
            now = time.monotonic()
            self._running[job.id] = Running(job, since=now, renewed=now)
        return job

    def leave(self, job_id: str) -> None:
        """The worker has let go of it."""
        self._running.pop(job_id, None)

    async def renew(self, job_ids: Sequence[str]) -> None:
        """The worker has named them. Raises RegistryTrouble."""
        now = time.monotonic()
        pause = self._lease.total_seconds() / RENEWALS_PER_LEASE
        due = [r for r in map(self._running.get, job_ids) if r is not None and now - r.renewed >= pause]
        if due:
            await self._jobs.renew([(r.job.id, r.job.attempt) for r in due], self._clock(), self._lease)
        for running in due:
            running.renewed = now

    async def put_back(self) -> list[Job]:
        """At shutdown, with the worker gone: those that are in the queue again. Nothing is left here."""
        back: list[Job | None] = []
        for running in self:
            try:
                back.append(await self._jobs.put_back(running.job.id, running.job.attempt))
            except RegistryTrouble as error:
                log.warning("job %s is marked as running until the next start: %s", running.job.id, error)
        self._running.clear()
        return [job for job in back if job is not None]
