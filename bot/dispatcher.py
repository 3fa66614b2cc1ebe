"""Between the queue and the worker: sends jobs to be drawn, takes in how they end, and says so.

One lock orders all changes of a job's state: a job cannot be cancelled between its claim and its start. What ends
first in the registry is what counts; whatever comes later is fenced off there and dropped here.
"""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from bot.announcer import Announcer
from bot.errors import DepictsSomethingElse, RegistryTrouble, UserError, sentence
from bot.folders import JobFolders
from bot.job import Job, JobImage, JobKind, JobState
from bot.lanes import Lane, Lanes
from bot.outlook import WorkerState, WorkerStatus
from bot.registry.concept_rows import uses_of
from bot.registry.concepts import Concepts
from bot.registry.jobs import Jobs
from bot.running import Running, RunningJobs
from bot.settings import Settings
from bot.trainings import TrainingEnds, TrainingFailed
from bot.waiting import WaitingRoom
from bot.worker import messages
from bot.worker.messages import FromWorker, WorkerLost
from bot.worker.protocol import Worker
from generation.request import ImageRequest

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
RETRY_SECONDS = 1.0


class Dispatcher:
    def __init__(
        self,
        settings: Settings,
        jobs: Jobs,
        worker: Worker,
        folders: JobFolders,
        announce: Announcer,
        clock: Callable[[], datetime],
        concepts: Concepts,
        trainings: TrainingEnds,
    ) -> None:
        self.status = WorkerStatus()
        self.last_result_at: datetime | None = None
        self._jobs, self._worker, self._folders = jobs, worker, folders
        self._announce, self._clock = announce, clock
        self._concepts, self._trainings = concepts, trainings

        def lane(at_once: int) -> Lane:
            lease = timedelta(seconds=settings.lease_seconds)
            waiting = WaitingRoom(settings.message_wait_seconds)
            return Lane(waiting, RunningJobs(jobs, lease, at_once, clock))

        self.lanes = Lanes(pictures=lane(settings.jobs_at_once), trainings=lane(1))
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._closing = False
        self._last_end = 0.0

    # ── what Studio asks for ──

    def add(self, job: Job, *, front: bool = False) -> None:
        """A queued job, new or taken up again."""
        self.lanes.of(job).waiting.add(job, front=front)
        self.tell_places()
        self._wake.set()

    def message_attached(self, job_id: str, message_id: int) -> None:
        for lane in self.lanes:
            lane.waiting.attach(job_id, message_id)
            lane.running.attach(job_id, message_id)
        self._wake.set()

    async def cancel(self, job_id: str) -> Job | None:
        """The cancelled job; None where it had ended before. Raises RegistryTrouble."""
        async with self._turn:
            job = await self._jobs.cancel(job_id, self._clock())
            if job is not None:
                await self._drop(job)
                self._announce.on_cancelled(job)
            return job

    async def give_up(self, job_id: str, reason: str) -> Job | None:
        """As `cancel`, for a job whose member can't be told anything any more. Finished pictures stay, and a
        finished concept."""
        async with self._turn:
            job = await self._jobs.give_up(job_id, reason, self._clock())
            kept = await self._jobs.images(job_id) or await self._concepts.version(job_id)
            if job is not None and not kept:
                await self._drop(job)
            return job

    @property
    def standstill(self) -> asyncio.Lock:
        """`async with dispatcher.standstill:` no job changes its state."""
        return self._turn

    async def let_go(self, job: Job, failure: str | None = None) -> None:
        """Inside `standstill`: the registry ended or deleted it by other means. `failure` None: told as cancelled."""
        await self._drop(job)
        if failure is None:
            self._announce.on_cancelled(job)
        else:
            self._announce.on_failed(job, failure)

    async def _drop(self, job: Job) -> None:
        if job.id in self.lanes:  # its files go when the worker has let go of it
            await self._worker.send(messages.Cancel(job=job.id))
        else:
            self.lanes.of(job).waiting.remove(job.id)
            await self._clear(job)
        self.tell_places()

    async def _clear(self, job: Job) -> None:
        """It has ended without a result, and the worker has let go of it: nothing of it is left."""
        await asyncio.to_thread(self._folders.remove, job.id)
        if job.kind is JobKind.TRAIN:
            await self._trainings.clear(job.id)

    def close(self) -> None:
        """Start nothing more. (Cancelling the task could do so between a claim and what follows from it.)"""
        self._closing = True
        self._wake.set()

    async def put_running_back(self) -> None:
        """At shutdown, with the worker gone. Trainings go on from their checkpoints at the next start."""
        for lane in self.lanes:
            for job in await lane.running.put_back():
                await asyncio.to_thread(self._folders.remove_drawn, job.id)

    def tell_places(self) -> None:
        """on_queued for every job whose place, or what it waits for, is not what was said last."""
        for lane in self.lanes:
            for job, place in lane.changed_places(self.status):
                self._announce.on_queued(job, place)

    # ── to the worker ──

    async def send_jobs(self) -> None:
        """The task that starts jobs, until `close()`."""
        while not self._closing:
            # On its own at times: a job may have waited long enough for its message, or a lease may be over.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                async with self._turn:
                    await self._expire()
                    while await self._start_next(self.lanes.pictures):
                        pass
                    if self.lanes.may_train():
                        await self._start_next(self.lanes.trainings)
            except RegistryTrouble as error:
                log.warning("no job can be started: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _start_next(self, lane: Lane) -> bool:
        """Whether a job left the queue."""
        if self._closing or self.status.state is not WorkerState.READY or not lane.running.has_room:
            return False
        waiting = lane.waiting.pop(idle=not lane.running)
        if waiting is None:
            if not lane.running:
                lane.waiting.settle()
            return False
        try:
            uses = uses_of(waiting)
            trouble = await self._concepts.trouble(uses, self.status.model) if uses else None
            job = await lane.running.claim(waiting.id)
        except RegistryTrouble:
            lane.waiting.add(waiting, front=True)
            raise
        if job is not None:
            try:
                await self._hand_over(job, trouble)
            except (UserError, OSError) as error:
                await self._refused(job, error)
        self.tell_places()
        return True

    async def _hand_over(self, job: Job, trouble: UserError | None) -> None:
        """Raises UserError, OSError where it can't be begun."""
        if trouble is not None:
            raise trouble
        if job.kind is JobKind.TRAIN:
            assert self.status.model is not None, "the worker was ready"
            message = await self._trainings.prepared(job, self.status.model)
        else:
            message = self._draw(job)
        self._announce.on_started(job)
        await self._worker.send(message)

    async def _refused(self, job: Job, error: Exception) -> None:
        """It was claimed, but can't be begun."""
        log.warning("job %s cannot be begun: %s", job.id, type(error).__name__)
        failed = await self._jobs.fail(job.id, job.attempt, sentence(error), self._clock())
        self.lanes.of(job).running.leave(job.id)
        await self._clear(job)
        if failed is not None:
            self._announce.on_failed(failed, failed.error or "")

    def _draw(self, job: Job) -> messages.Draw:
        return messages.Draw(
            job=job.id,
            attempt=job.attempt,
            request=self._with_absolute_paths(job.request),
            output_dir=str(self._folders.of(job.id)),
            redraw=None if job.redraw is None else self._with_absolute_paths(job.redraw),
            resample=job.recipe if job.kind is JobKind.RESAMPLE else None,
        )

    def _with_absolute_paths(self, request: ImageRequest) -> ImageRequest:
        absolute = self._folders.absolute
        start = None if request.init_image is None else str(absolute(request.init_image))
        uses = [msgspec.structs.replace(use, path=str(absolute(use.path))) for use in request.concepts]
        return msgspec.structs.replace(request, init_image=start, concepts=uses)

    async def _expire(self) -> None:
        """Leases that nobody renewed: the worker lives but has not named the job for too long."""
        for job in await self._jobs.expired(self._clock()) if self.lanes.running else []:
            log.warning("job %s: the worker lost it, attempt %d", job.id, job.attempt)
            await self._worker.send(messages.Cancel(job=job.id))
            await self._crashed(job)

    async def _crashed(self, job: Job) -> None:
        """Back to the front of the queue, or given up."""
        progressed = job.kind is JobKind.TRAIN and await self._trainings.progressed(job.id)
        after = await self._jobs.crashed(job.id, job.attempt, self._clock(), progressed=progressed)
        self.lanes.of(job).running.leave(job.id)
        if after is None:  # was cancelled while it ran
            await self._clear(job)
            return
        await asyncio.to_thread(self._folders.remove_drawn, job.id)
        if after.state is JobState.QUEUED:
            self.add(after, front=True)
        else:
            await self._end_training(job)
            self._announce.on_failed(after, after.error or "")

    async def _end_training(self, job: Job) -> None:
        """Of a training that has failed nothing is left."""
        if job.kind is JobKind.TRAIN:
            await self._trainings.clear(job.id)

    # ── from the worker ──

    async def receive(self) -> None:
        """The task that takes in what the worker says; returns when the worker was stopped."""
        async for message in self._worker.messages():
            await self._take_in(message)

    async def _take_in(self, message: FromWorker | WorkerLost) -> None:
        """Again and again where the registry can't be written now: a result must not be lost for that."""
        while True:
            try:
                async with self._turn:
                    return await self._handle(message)
            except RegistryTrouble as error:
                log.warning("%s cannot be recorded yet: %s", type(message).__name__, error)
            if isinstance(message, messages.Heartbeat | messages.Progress):
                return None
            await asyncio.sleep(RETRY_SECONDS)

    async def _handle(self, message: FromWorker | WorkerLost) -> None:
        match message:
            case messages.Heartbeat():
                await self._renew(message.jobs)
            case messages.Progress():
                running = self.lanes.current(message.job, message.attempt)
                if running is not None:
                    self._announce.on_progress(running.job, message)
                    await self._renew([message.job])
            case messages.Done() | messages.Failed() | messages.Cancelled():
                await self._end(message)
            case messages.Loading():
                self._set_status(WorkerState.LOADING, message.text, message.fraction)
            case messages.Ready():
                self.status = dataclasses.replace(self.status, model=message.model)
                self._set_status(WorkerState.READY)
            case messages.LoadFailed():
                log.error("the model cannot be loaded: %s", message.reason)
                self._set_status(WorkerState.LOAD_FAILED, message.reason)
            case WorkerLost():
                log.warning("worker lost: %s", message.reason)
                self._set_status(WorkerState.LOST, message.reason)
                for running in self.lanes.running:
                    await self._crashed(running.job)

    async def _renew(self, job_ids: Sequence[str]) -> None:
        for lane in self.lanes:
            await lane.running.renew(job_ids)

    def _set_status(self, state: WorkerState, text: str = "", fraction: float | None = None) -> None:
        self.status = WorkerStatus(state, text, fraction, self.status.model)
        self.tell_places()
        self._wake.set()

    async def _end(self, message: messages.Done | messages.Failed | messages.Cancelled) -> None:
        running = self.lanes.current(message.job, message.attempt)
        if running is None:
            log.info("job %s: a late %s of attempt %d", message.job, type(message).__name__, message.attempt)
            return
        await self._record_end(running, message)
        lane = self.lanes.of(running.job)
        if lane is self.lanes.pictures:
            self._last_end = time.monotonic()
        lane.running.leave(message.job)
        self.tell_places()
        self._wake.set()

    async def _record_end(
        self, running: Running, message: messages.Done | messages.Failed | messages.Cancelled
    ) -> None:
        """Written first, announced after. Whoever ended the job before (a cancel) has announced that."""
        job_id, attempt, now = message.job, message.attempt, self._clock()
        match message:
            case messages.Done():
                if running.job.kind is JobKind.TRAIN:
                    ended = await self._trained(running, message)
                else:
                    ended = await self._drawn(running, message)
                if ended:
                    self.last_result_at = now
                    return
            case messages.Failed():
                failed = await self._jobs.fail(job_id, attempt, message.reason, now)
                if failed is not None:
                    await asyncio.to_thread(self._folders.remove_drawn, job_id)
                    await self._end_training(failed)
                    self._announce.on_failed(failed, message.reason)
                    return
            case messages.Cancelled():
                cancelled = await self._jobs.cancel(job_id, now)
                if cancelled is not None:
                    self._announce.on_cancelled(cancelled)
        await self._clear(running.job)

    async def _drawn(self, running: Running, message: messages.Done) -> bool:
        """Whether it was waited for."""
        images = [JobImage.of(message.job, i, image) for i, image in enumerate(message.images)]
        done = await self._jobs.finish(message.job, message.attempt, images, self._clock())
        if done is None:
            return False
        if done.kind is not JobKind.RESAMPLE:  # whose moment says nothing about the others'
            seconds = time.monotonic() - max(running.since, self._last_end)
            self.lanes.pictures.waiting.drawn(len(images), seconds)
        self._announce.on_done(done, images)
        return True

    async def _trained(self, running: Running, message: messages.Done) -> bool:
        """Whether it was waited for. What can't be kept has failed."""
        assert self.status.model is not None, "the worker was ready"
        try:
            kept = await self._trainings.finish(running.job, message, self.status.model)
        except (TrainingFailed, DepictsSomethingElse) as error:
            log.error("training %s: %s", message.job, error)
            await self._refused(running.job, error)
            return True
        if kept is None:
            return False
        done, images = kept
        self.lanes.trainings.waiting.drawn(1, time.monotonic() - running.since)
        self._announce.on_done(done, images)
        return True
