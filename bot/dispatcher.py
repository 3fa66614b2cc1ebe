"""Between the queue and the worker: sends jobs to be drawn, takes in how they end, and says so.

One lock orders all changes of a job's state: a job cannot be cancelled between its claim and its start. What ends
first in the registry is what counts; whatever comes later is fenced off there and dropped here.
"""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from bot.announcer import Announcer
from bot.errors import RegistryTrouble
from bot.folders import JobFolders
from bot.job import Job, JobImage, JobKind, JobState
from bot.outlook import WorkerState, WorkerStatus
from bot.registry.jobs import Jobs
from bot.running import Running, RunningJobs
from bot.settings import Settings
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
    ) -> None:
        self.status = WorkerStatus()
        self.last_result_at: datetime | None = None
        self.waiting = WaitingRoom(settings.message_wait_seconds)
        self._jobs, self._worker, self._folders = jobs, worker, folders
        self._announce, self._clock = announce, clock
        lease = timedelta(seconds=settings.lease_seconds)
        self.running = RunningJobs(jobs, lease, settings.jobs_at_once, clock)
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._closing = False
        self._last_end = 0.0

    # ── what Studio asks for ──

    def add(self, job: Job, *, front: bool = False) -> None:
        """A queued job, new or taken up again."""
        self.waiting.add(job, front=front)
        self.tell_places()
        self._wake.set()

    def message_attached(self, job_id: str, message_id: int) -> None:
        self.waiting.attach(job_id, message_id)
        self.running.attach(job_id, message_id)
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
        """As `cancel`, for a job whose member can't be told anything any more. Finished pictures stay."""
        async with self._turn:
            job = await self._jobs.give_up(job_id, reason, self._clock())
            if job is not None and not await self._jobs.images(job_id):
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
        if job.id in self.running:  # its files go when the worker has let go of it
            await self._worker.send(messages.Cancel(job=job.id))
        else:
            self.waiting.remove(job.id)
            await asyncio.to_thread(self._folders.remove, job.id)
        self.tell_places()

    def close(self) -> None:
        """Start nothing more. (Cancelling the task could do so between a claim and what follows from it.)"""
        self._closing = True
        self._wake.set()

    async def put_running_back(self) -> None:
        """At shutdown, with the worker gone."""
        for job in await self.running.put_back():
            await asyncio.to_thread(self._folders.remove_drawn, job.id)

    @property
    def images_ahead(self) -> int:
        """Of whoever is first in the queue: none, while the worker takes another job beside those that it has."""
        return 0 if self.running.has_room else self.running.images

    def tell_places(self) -> None:
        """on_queued for every job whose place, or what it waits for, is not what was said last."""
        for job, place in self.waiting.changed_places(self.images_ahead, self.status):
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
                    while await self._start_next():
                        pass
            except RegistryTrouble as error:
                log.warning("no job can be started: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _start_next(self) -> bool:
        """Whether a job left the queue."""
        if self._closing or self.status.state is not WorkerState.READY or not self.running.has_room:
            return False
        waiting = self.waiting.pop(idle=not self.running)
        if waiting is None:
            if not self.running:
                self.waiting.settle()
            return False
        try:
            job = await self.running.claim(waiting.id)
        except RegistryTrouble:
            self.waiting.add(waiting, front=True)
            raise
        if job is not None:
            self._announce.on_started(job)
            await self._worker.send(self._draw(job))
        self.tell_places()
        return True

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
        if request.init_image is None:
            return request
        return msgspec.structs.replace(request, init_image=str(self._folders.absolute(request.init_image)))

    async def _expire(self) -> None:
        """Leases that nobody renewed: the worker lives but has not named the job for too long."""
        for job in await self.running.expired():
            log.warning("job %s: the worker lost it, attempt %d", job.id, job.attempt)
            await self._worker.send(messages.Cancel(job=job.id))
            await self._crashed(job)

    async def _crashed(self, job: Job) -> None:
        """Back to the front of the queue, or given up."""
        after = await self._jobs.crashed(job.id, job.attempt, self._clock())
        self.running.leave(job.id)
        if after is None:  # was cancelled while it ran
            await asyncio.to_thread(self._folders.remove, job.id)
            return
        await asyncio.to_thread(self._folders.remove_drawn, job.id)
        if after.state is JobState.QUEUED:
            self.add(after, front=True)
        else:
            self._announce.on_failed(after, after.error or "")

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
                await self.running.renew(message.jobs)
            case messages.Progress():
                running = self.running.current(message.job, message.attempt)
                if running is not None:
                    self._announce.on_progress(running.job, message)
                    await self.running.renew([message.job])
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
                for running in self.running:
                    await self._crashed(running.job)

    def _set_status(self, state: WorkerState, text: str = "", fraction: float | None = None) -> None:
        self.status = WorkerStatus(state, text, fraction, self.status.model)
        self.tell_places()
        self._wake.set()

    async def _end(self, message: messages.Done | messages.Failed | messages.Cancelled) -> None:
        running = self.running.current(message.job, message.attempt)
        if running is None:
            log.info("job %s: a late %s of attempt %d", message.job, type(message).__name__, message.attempt)
            return
        await self._record_end(running, message)
        self._last_end = time.monotonic()
        self.running.leave(message.job)
        self.tell_places()
        self._wake.set()

    async def _record_end(
        self, running: Running, message: messages.Done | messages.Failed | messages.Cancelled
    ) -> None:
        """Written first, announced after. Whoever ended the job before (a cancel) has announced that."""
        job_id, attempt, now = message.job, message.attempt, self._clock()
        match message:
            case messages.Done():
                images = [JobImage.of(job_id, i, image) for i, image in enumerate(message.images)]
                done = await self._jobs.finish(job_id, attempt, images, now)
                if done is not None:
                    self.last_result_at = now
                    if done.kind is not JobKind.RESAMPLE:  # whose moment says nothing about the others'
                        self.waiting.drawn(len(images), time.monotonic() - max(running.since, self._last_end))
                    self._announce.on_done(done, images)
                    return
            case messages.Failed():
                failed = await self._jobs.fail(job_id, attempt, message.reason, now)
                if failed is not None:
                    await asyncio.to_thread(self._folders.remove_drawn, job_id)
                    self._announce.on_failed(failed, message.reason)
                    return
            case messages.Cancelled():
                cancelled = await self._jobs.cancel(job_id, now)
                if cancelled is not None:
                    self._announce.on_cancelled(cancelled)
        await asyncio.to_thread(self._folders.remove, job_id)
