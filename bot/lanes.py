"""Pictures and trainings wait and run beside each other: two lanes of one worker."""

from collections.abc import Iterator
from dataclasses import dataclass

from bot.job import Job, JobKind
from bot.outlook import Place, WorkerStatus
from bot.running import Running, RunningJobs
from bot.waiting import WaitingRoom


@dataclass(frozen=True, slots=True)
class Lane:
    waiting: WaitingRoom
    running: RunningJobs

    @property
    def ahead(self) -> int:
        """Images, or trainings, ahead of whoever is first in its queue: none, while the worker takes another one
        beside those that it has."""
        return 0 if self.running.has_room else self.running.images

    def in_order(self, worker: WorkerStatus) -> Iterator[tuple[Job, Place]]:
        return self.waiting.in_order(self.ahead, worker)

    def changed_places(self, worker: WorkerStatus) -> list[tuple[Job, Place]]:
        return self.waiting.changed_places(self.ahead, worker)


class Lanes:
    def __init__(self, pictures: Lane, trainings: Lane) -> None:
        self.pictures, self.trainings = pictures, trainings

    def __iter__(self) -> Iterator[Lane]:
        return iter((self.pictures, self.trainings))

    def of(self, job: Job) -> Lane:
        return self.trainings if job.kind is JobKind.TRAIN else self.pictures

    def __contains__(self, job_id: str) -> bool:
        """Does the worker have it?"""
        return any(job_id in lane.running for lane in self)

    @property
    def running(self) -> list[Running]:
        """Pictures first."""
        return [running for lane in self for running in lane.running]

    def current(self, job_id: str, attempt: int) -> Running | None:
        """See `RunningJobs.current`."""
        return next((found for lane in self if (found := lane.running.current(job_id, attempt)) is not None), None)

    def may_train(self) -> bool:
        """No picture has to be drawn alone: whatever kills the worker beside it would be taken for its fault."""
        return not (self.pictures.waiting.alone or self.pictures.running.alone)
