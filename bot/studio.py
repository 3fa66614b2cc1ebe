"""What the bot can do, without Discord: take requests, keep them, have them drawn in fair order, say how they end.

It does not know how members are told (a `JobListener` does that) nor how pictures are drawn (the `Worker`).
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec

from bot.announcer import Announcer
from bot.concept_care import ConceptCare
from bot.concept_folders import ConceptFolders
from bot.dispatcher import Dispatcher
from bot.errors import INTERNAL_ERROR, NotFound, NotYours
from bot.folders import JobFolders
from bot.intake import Intake
from bot.job import Job, JobImage, JobKind, JobState, Origin, new_job_id
from bot.keeping import Keeping, disk_free
from bot.members import MemberCare
from bot.outlook import (
    CancelOutcome,
    JobListener,
    Place,
    QueueLine,
    QueueView,
    StudioStatus,
    Submitted,
)
from bot.registry.doomed import DoomedMessage
from bot.registry.registry import Registry
from bot.registry.trainings import Limits
from bot.removal import Removal
from bot.settings import Settings
from bot.side_tasks import SideTasks
from bot.training_intake import TrainingIntake, sample_prompts
from bot.trainings import TrainingEnds
from bot.uncancelled import Uncancelled
from bot.worker.protocol import Worker
from generation.recipe import Recipe
from generation.request import ConceptUse, ImageRequest
from training.names import class_word as checked_class_word
from training.names import concept_name
from training.order import Depicts, Method, TrainingOrder

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0


def utc_now() -> datetime:
    return datetime.now(UTC)


class Studio:
    """`async with Studio(settings, registry, worker) as studio:` owns the worker and the side tasks."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        worker: Worker,
        clock: Callable[[], datetime] = utc_now,
        free: Callable[[Path], int] = disk_free,
    ) -> None:
        self._jobs = registry.jobs
        self.guilds = registry.guilds
        self._worker = worker
        self._clock = clock
        self._folders = JobFolders(registry.folder)
        self._announce = Announcer()
        self._concept_folders = ConceptFolders(registry.folder)
        ends = TrainingEnds(registry.trainings, self._concept_folders, self._folders, worker, clock)
        self._dispatcher = Dispatcher(
            settings, self._jobs, worker, self._folders, self._announce, clock, registry.concepts, ends
        )
        self._keeping = Keeping(settings, registry.pictures, registry.folder, clock, free)
        self._intake = Intake(self._jobs, self._folders, self._keeping, self._dispatcher, settings.queue_per_member)
        limits = Limits(settings.trainings_per_day, settings.concepts_per_member)
        self._training_intake = TrainingIntake(
            registry.trainings, self._concept_folders, self._keeping, self._dispatcher, limits, clock
        )
        self._training_steps = settings.training_steps
        self._tasks = SideTasks("studio")
        self._uncancelled = Uncancelled()
        self._removal = Removal(
            registry.removals, self._dispatcher, self._folders, self._concept_folders, ends, clock
        )
        self.members = MemberCare(registry, self._dispatcher, self._removal, clock, self._uncancelled)
        self.concepts = ConceptCare(
            registry,
            self._dispatcher,
            self._concept_folders,
            ends,
            self._keeping,
            clock,
            self._uncancelled,
            settings.concepts_per_member,
        )
        self._known_concepts = registry.concepts
        self.history, self._doomed = registry.history, registry.doomed
        self._started_at = clock()

    async def __aenter__(self) -> Self:
        """Rebuilds the queue from the registry, starts the worker and the dispatcher. Raises RegistryTrouble."""
        self._started_at = self._clock()
        await self._jobs.fail_unreadable(self._started_at)
        await self._recover()
        for job in await self._jobs.live():
            self._dispatcher.add(job, front=job.attempt > 0)
        await self._worker.start()
        self._tasks.start("send", self._dispatcher.send_jobs())
        self._tasks.start("receive", self._dispatcher.receive())
        self._tasks.start("keeping", self._keeping.run())
        return self

    async def _recover(self) -> None:
        """What ran when the bot was killed, and what it has left on the disk."""
        trainings = [job for job in await self._jobs.live() if job.kind is JobKind.TRAIN]
        progressed = self._concept_folders.progressed
        further = await asyncio.to_thread(lambda: [job.id for job in trainings if progressed(job.id)])
        recovered = await self._jobs.recover(self._started_at, further)
        states = await self._jobs.states()
        await asyncio.to_thread(self._folders.tidy_up, [job.id for job in recovered], states)
        live = [job.id for job in trainings if not states[job.id].ended]
        files = await self._known_concepts.files()
        await asyncio.to_thread(self._concept_folders.tidy_up, live, files, known=bool(states or files))

    async def __aexit__(self, *exception: object) -> None:
        """Starts nothing more, stops the worker (a result that comes until then is kept), puts running jobs back."""
        self._tasks.may_end()
        self._dispatcher.close()
        self._keeping.close()
        await self._worker.stop()
        await self._tasks.end(STOP_SECONDS)
        await self._dispatcher.put_running_back()
        await self._uncancelled.close(STOP_SECONDS)

    async def watch(self) -> None:
        """Waits for as long as all is well and raises what killed a side task, so that its owner stops too."""
        await self._tasks.watch()

    def subscribe(self, listener: JobListener) -> None:
        self._announce.subscribe(listener)

    async def submit(
        self,
        request: ImageRequest,
        *,
        member_id: int,
        guild_id: int | None,
        channel_id: int,
        interaction_id: int | None = None,
        init_image: bytes | None = None,
        kind: JobKind = JobKind.IMAGINE,
        origin: Origin | None = None,
        foreign_start: bool = False,
        redraw: ImageRequest | None = None,
        recipe: Recipe | None = None,
        file_limit: int | None = None,
    ) -> Submitted:
        """Keep a request and queue it. The same interaction again gives the first job.

        `init_image`: an attachment as downloaded, untrusted; it is read and cleaned here, in a thread, and
        `request.init_image` may then be any text (it is replaced). Without it, `request.init_image` is a picture
        or start image of an earlier job (its path, absolute or as kept), which is copied; with `redraw` it is
        drawn again by the worker instead. The rest is said at `Job`; `interaction_id` may be any id of Discord's
        that stands for the asking, such as that of a reply.

        The `<name>`s in its prompts are looked up for this member in this server; `request.concepts` does not count.
        (That of `redraw` does: see `ConceptCare.exactly`.)

        Raises QueueFull, TooManyAtOnce, Blocked, ImageRefused, InvalidRequest (the loaded model can't draw that
        size), StartImageGone, StartImageDeleted, ConceptUnknown, ConceptGone, WrongModel, RegistryTrouble, OSError:
        `bot.errors.sentence` has the words.

        A caller that is cancelled meanwhile does not undo it: a job that is kept is always queued too.
        """
        model = self._dispatcher.status.model
        if model is not None:
            request.with_defaults(model.defaults)  # only to refuse early: the worker fills the defaults in
        uses: list[ConceptUse] = []
        if kind is not JobKind.RESAMPLE:  # which draws nothing
            texts = [*request.prompts, request.negative_prompt]
            uses = await self.concepts.resolve(texts, member_id=member_id, guild_id=guild_id)
        request = msgspec.structs.replace(request, concepts=uses)
        now = self._clock()
        job = Job(
            id=new_job_id(now.timestamp()),
            member_id=member_id,
            guild_id=guild_id,
            channel_id=channel_id,
            interaction_id=interaction_id,
            message_id=None,
            state=JobState.QUEUED,
            attempt=0,
            crashes=0,
            request=request,
            error=None,
            created_at=now,
            kind=kind,
            origin=origin,
            foreign_start=foreign_start,
            redraw=redraw,
            recipe=recipe,
            file_limit=file_limit,
        )
        return await self._uncancelled.run(self._take(job, init_image))

    async def _take(self, job: Job, init_image: bytes | None) -> Submitted:
        kept, created = await self._intake.take(job, init_image)
        return Submitted(kept, created, self.place(kept.id))

    async def may_train(self, name: str, *, member_id: int, guild_id: int | None) -> None:
        """Before photos are asked for. Raises InvalidRequest (the name), Blocked, NoTrainings, TrainingActive,
        TrainingLimit, ConceptLimit, RegistryTrouble."""
        await self._training_intake.may_train(name, member_id=member_id, guild_id=guild_id)

    async def train(
        self,
        *,
        method: Method,
        name: str,
        class_word: str,
        depicts: Depicts,
        photos: Sequence[bytes],
        consent: str,
        member_id: int,
        guild_id: int | None,
        channel_id: int,
        interaction_id: int | None = None,
        file_limit: int | None = None,
        max_steps: int | None = None,
        prior_preservation: bool | None = None,
    ) -> Submitted:
        """Keep a training and queue it. The same interaction again gives the first job.

        `photos`: clean RGB PNGs, as the photo check wrote them; `consent`: which version of the text they agreed to.
        A name of an own concept makes a new version of it.

        Raises InvalidRequest (name, class word, photos), Blocked, NoTrainings, TrainingActive, TrainingLimit,
        ConceptLimit, DepictsSomethingElse, RegistryTrouble, OSError. As with `submit`, a caller that is cancelled
        meanwhile does not undo it.
        """
        now = self._clock()
        job_id = new_job_id(now.timestamp())
        order = TrainingOrder(
            job=job_id,
            method=method,
            name=concept_name(name),
            class_word=checked_class_word(class_word),
            depicts=depicts,
            max_steps=self._training_steps if max_steps is None else max_steps,
            prior_preservation=prior_preservation,
        )
        job = Job(
            id=job_id,
            member_id=member_id,
            guild_id=guild_id,
            channel_id=channel_id,
            interaction_id=interaction_id,
            message_id=None,
            state=JobState.QUEUED,
            attempt=0,
            crashes=0,
            request=ImageRequest(prompt=sample_prompts(order.name), seed=secrets.randbelow(1 << 31)),
            error=None,
            created_at=now,
            kind=JobKind.TRAIN,
            file_limit=file_limit,
            of_person=depicts.is_person,
            training=order,
            consent=consent,
        )
        return await self._uncancelled.run(self._take_training(job, photos))

    async def _take_training(self, job: Job, photos: Sequence[bytes]) -> Submitted:
        kept, created = await self._training_intake.take(job, photos)
        return Submitted(kept, created, self.place(kept.id))

    async def attach_message(self, job_id: str, message_id: int) -> None:
        """The channel message exists: from now on the job may run (after `message_wait_seconds` it runs without).

        Raises NotFound, RegistryTrouble.
        """
        if not await self._jobs.attach_message(job_id, message_id):
            raise NotFound
        self._dispatcher.message_attached(job_id, message_id)

    async def attach_pictures(self, job_id: str, indices: Collection[int], message_id: int) -> None:
        """A further message of a done job shows these of its pictures. Raises NotFound, RegistryTrouble."""
        if not await self._jobs.attach_pictures(job_id, indices, message_id):
            raise NotFound

    async def attach_mention(self, job_id: str, message_id: int) -> None:
        """The message that told its member of the end: it goes with the job. Raises NotFound, RegistryTrouble."""
        if not await self._jobs.attach_mention(job_id, message_id):
            raise NotFound

    async def cancel(self, job_id: str, *, by: int, may_manage: bool = False) -> CancelOutcome:
        """Ends a waiting job at once and a running one at its next step.

        Raises NotFound, NotYours, RegistryTrouble.
        """
        await self._allowed(job_id, by, may_manage=may_manage)
        cancelled = await self._uncancelled.run(self._dispatcher.cancel(job_id))
        return CancelOutcome.TOO_LATE if cancelled is None else CancelOutcome.CANCELLED

    async def delete(self, job_id: str, *, by: int, may_manage: bool = False) -> Job:
        """A job with its pictures, for good; live ones are cancelled. Its messages are then in `doomed()`.

        Raises NotFound, NotYours, RegistryTrouble.
        """
        await self._allowed(job_id, by, may_manage=may_manage)
        deleted = await self._uncancelled.run(self._removal.delete(job_id))
        if deleted is None:
            raise NotFound
        return deleted

    async def _allowed(self, job_id: str, by: int, *, may_manage: bool) -> None:
        if (await self.job(job_id)).member_id != by and not may_manage:
            raise NotYours

    async def doomed(self) -> Sequence[DoomedMessage]:
        """Messages on Discord that are still to be deleted, oldest first."""
        return await self._doomed.all()

    async def message_deleted(self, channel_id: int, message_id: int) -> None:
        """One of `doomed()` is gone, or can't be reached any more."""
        await self._doomed.remove(channel_id, message_id)

    async def mark_delivered(self, job_id: str, attempt: int) -> bool:
        """Its member was told how it ended. False where that was known already or the attempt is not the last."""
        told = await self._jobs.delivered(job_id, attempt, self._clock())
        if told:
            self._keeping.told(job_id)
        return told

    async def mark_undeliverable(self, job_id: str, reason: str) -> None:
        """Nobody can be told (channel gone, permission lost): ends the job if it has not; no retry.

        Finished pictures are kept all the same.
        """
        if await self._uncancelled.run(self._dispatcher.give_up(job_id, reason)) is not None:
            log.warning("job %s cannot be delivered: %s", job_id, reason)
            self._keeping.told(job_id)

    # ── looking ──

    async def job(self, job_id: str) -> Job:
        """Raises NotFound."""
        job = await self._jobs.get(job_id)
        if job is None:
            raise NotFound
        return job

    async def of_message(self, message_id: int) -> tuple[Job, Sequence[JobImage]] | None:
        """The job that a message of the bot shows, and those of its pictures that are in this very message."""
        return await self._jobs.of_message(message_id)

    async def images(self, job_id: str) -> Sequence[JobImage]:
        """In order; empty before it is done."""
        return await self._jobs.images(job_id)

    def start_image(self, job: Job) -> Path | None:
        """Where its start image is kept, whether it is still there or not. None: it has none."""
        kept = job.request.init_image
        return None if kept is None else self._folders.absolute(kept)

    async def open_jobs(self, member_id: int) -> Sequence[Job]:
        """Their queued and running jobs, oldest first (for autocomplete)."""
        return await self._jobs.live(member_id)

    async def undelivered(self) -> Sequence[Job]:
        """After a restart: jobs that ended untold, and live ones without a channel message; oldest first."""
        live = [job for job in await self._jobs.live() if job.message_id is None]
        return sorted([*await self._jobs.untold(), *live], key=lambda job: job.id)

    async def replay(self) -> None:
        """Say again where every live or untold job stands; chat calls this when it can talk."""
        for running in self._dispatcher.lanes.running:
            self._announce.on_started(running.job)
        for line in self.queue_view().lines:
            if line.place is not None:
                self._announce.on_queued(line.job, line.place)
        for job in await self._jobs.untold():
            if job.state is JobState.DONE:
                self._announce.on_done(job, await self._jobs.images(job.id))
            elif job.state is JobState.CANCELLED:
                self._announce.on_cancelled(job)
            else:
                self._announce.on_failed(job, job.error or INTERNAL_ERROR)

    def place(self, job_id: str) -> Place | None:
        """None where it does not wait (any more)."""
        return next((line.place for line in self.queue_view().lines if line.job.id == job_id), None)

    def queue_view(self) -> QueueView:
        status, pictures = self._dispatcher.status, self._dispatcher.lanes.pictures
        lines: list[QueueLine] = []
        for lane in self._dispatcher.lanes:
            lines += [QueueLine(one.job, None) for one in lane.running]
            lines += [QueueLine(job, place) for job, place in lane.in_order(status)]
        images = pictures.running.images + pictures.waiting.images
        return QueueView(lines, images, pictures.waiting.seconds(images), status)

    def status(self) -> StudioStatus:
        dispatcher = self._dispatcher
        pictures, trainings = dispatcher.lanes.pictures, dispatcher.lanes.trainings
        return StudioStatus(
            worker=dispatcher.status,
            queued=len(pictures.waiting),
            running=len(pictures.running),
            images_waiting=pictures.waiting.images,
            trainings_queued=len(trainings.waiting),
            trainings_running=len(trainings.running),
            started_at=self._started_at,
            last_result_at=dispatcher.last_result_at,
            kept_bytes=self._keeping.kept_bytes,
        )
