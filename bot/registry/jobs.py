"""Jobs and their images: every change of state is one UPDATE, fenced by the state and attempt it starts from.

queued → running → done → delivered        queued/running → cancelled        running → queued, failed
"""

import dataclasses
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import (
    CRASHED_TOO_OFTEN,
    INTERNAL_ERROR,
    TRAINING_CRASHED_TOO_OFTEN,
    QueueFull,
    StartImageDeleted,
    TooManyAtOnce,
)
from bot.job import LIVE, MAX_CRASHES, Job, JobImage, JobKind, JobState, Origin
from bot.registry.concept_rows import check_uses
from bot.registry.job_rows import by_interaction, failed, insert_job, refuse_blocked, running, update_job
from bot.registry.known_jobs import KnownJobs
from bot.registry.rows import image_values, job_from_row, job_image_from_row
from bot.registry.tables import ImageRow, JobRow
from bot.registry.whole import whole

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 50
"""Of a training that gets a little further every time: from here on its crashes count whatever it does."""


@dataclass(frozen=True, slots=True)
class StartedFrom:
    """A job whose picture, or whose start image, another one starts from."""

    job_id: str
    start_image: bool


class Jobs(KnownJobs):
    """Every method raises RegistryTrouble where the file can't be used right now."""

    @whole
    async def add(
        self, job: Job, *, images_at_most: int, started_from: StartedFrom | None = None
    ) -> tuple[Job, bool]:
        """Keep a new job. Where its interaction made one before: that one, and False.

        Raises QueueFull where its member would have more than `images_at_most` images queued and running,
        TooManyAtOnce where it alone has more, Blocked where they may not ask in that server, StartImageDeleted
        where what it starts from was deleted since its member saw it, and ConceptGone where a concept was.
        """
        async with self.database.write() as session:
            first = await by_interaction(session, job.interaction_id)
            if first is not None:
                return first, False
            await _refuse(session, job, images_at_most)
            start_member = await _start_member(session, job.origin, started_from)
            of_person = await check_uses(session, job) or await _goes_on_from_a_person(session, job, started_from)
            job = dataclasses.replace(job, start_member_id=start_member, of_person=job.of_person or of_person)
            await insert_job(session, job)
            return job, True

    @whole
    async def refuse_early(self, job: Job, *, images_at_most: int) -> None:
        """Raises what `add` would about its member, before anybody has worked for it."""
        async with self.database.read() as session:
            if await by_interaction(session, job.interaction_id) is None:
                await _refuse(session, job, images_at_most)

    @whole
    async def fail_unreadable(self, now: datetime) -> None:
        """At start: open jobs with a request or recipe that this version can't read have failed, one by one."""
        open_jobs = select(JobRow).where(or_(JobRow.state.in_(LIVE), JobRow.delivered_at.is_(None)))
        async with self.database.write() as session:
            for row in list(await session.scalars(open_jobs.order_by(JobRow.id))):
                ended: dict[str, Any] = failed(INTERNAL_ERROR, now)
                what = "request"
                try:
                    job_from_row(row)
                    what = "recipe"
                    for image in await session.scalars(select(ImageRow).where(ImageRow.job_id == row.id)):
                        job_image_from_row(image, self._folder)
                except (msgspec.MsgspecError, ValueError) as error:
                    if what == "request":  # nobody can be told: the rest of the bot needs it for that
                        ended["delivered_at"] = now
                    log.error("job %s has failed: its %s cannot be read (%s)", row.id, what, type(error).__name__)
                    await update_job(session, [JobRow.id == row.id], **ended)

    @whole
    async def attach_message(self, job_id: str, message_id: int) -> bool:
        """Remember the channel message. False where the job is not known."""
        async with self.database.write() as session:
            return await update_job(session, [JobRow.id == job_id], message_id=message_id)

    @whole
    async def attach_pictures(self, job_id: str, indices: Collection[int], message_id: int) -> bool:
        """Remember a further message of a job, which shows these of its pictures. False where it is not known."""
        shown = update(ImageRow).where(ImageRow.job_id == job_id, ImageRow.index.in_(indices))
        async with self.database.write() as session:
            result = await session.execute(shown.values(message_id=message_id))
            assert isinstance(result, CursorResult)
            return result.rowcount > 0

    @whole
    async def attach_mention(self, job_id: str, message_id: int) -> bool:
        """Remember the message that mentioned its member. False where it is not known."""
        async with self.database.write() as session:
            return await update_job(session, [JobRow.id == job_id], mention_id=message_id)

    @whole
    async def claim(self, job_id: str, now: datetime, lease: timedelta) -> Job | None:
        """queued → running, with the next attempt number. None where it is not queued any more."""
        async with self.database.write() as session:
            claimed = await update_job(
                session,
                [JobRow.id == job_id, JobRow.state == JobState.QUEUED],
                state=JobState.RUNNING,
                attempt=JobRow.attempt + 1,
                lease_until=now + lease,
                started_at=now,
            )
            return job_from_row(await session.get_one(JobRow, job_id)) if claimed else None

    @whole
    async def renew(self, attempts: Collection[tuple[str, int]], now: datetime, lease: timedelta) -> None:
        """Longer leases for running (job, attempt) pairs."""
        async with self.database.write() as session:
            for job_id, attempt in attempts:
                await update_job(session, running(job_id, attempt), lease_until=now + lease)

    @whole
    async def finish(self, job_id: str, attempt: int, images: Sequence[JobImage], now: datetime) -> Job | None:
        """running → done, with its images. None (and nothing changed) for an older attempt or an ended job."""
        async with self.database.write() as session:
            done = await update_job(
                session, running(job_id, attempt), state=JobState.DONE, finished_at=now, lease_until=None
            )
            if not done:
                return None
            await session.execute(insert(ImageRow), [image_values(image, self._folder) for image in images])
            return job_from_row(await session.get_one(JobRow, job_id))

    @whole
    async def fail(self, job_id: str, attempt: int, reason: str, now: datetime) -> Job | None:
        """running → failed. None for an older attempt or an ended job."""
        async with self.database.write() as session:
            ended = await update_job(session, running(job_id, attempt), **failed(reason, now))
            return job_from_row(await session.get_one(JobRow, job_id)) if ended else None

    @whole
    async def cancel(self, job_id: str, now: datetime) -> Job | None:
        """queued or running → cancelled. None where it had ended (or is not known)."""
        async with self.database.write() as session:
            cancelled = await update_job(
                session,
                [JobRow.id == job_id, JobRow.state.in_(LIVE)],
                state=JobState.CANCELLED,
                finished_at=now,
                lease_until=None,
            )
            return job_from_row(await session.get_one(JobRow, job_id)) if cancelled else None

    @whole
    async def put_back(self, job_id: str, attempt: int) -> Job | None:
        """running → queued, through no fault of the job (the bot shuts down): not counted as a crash."""
        async with self.database.write() as session:
            back = await update_job(
                session, running(job_id, attempt), state=JobState.QUEUED, lease_until=None, started_at=None
            )
            return job_from_row(await session.get_one(JobRow, job_id)) if back else None

    @whole
    async def crashed(self, job_id: str, attempt: int, now: datetime, *, progressed: bool = False) -> Job | None:
        """Its worker died: running → queued, or failed at the third time. None for an older attempt.

        `progressed`: a training that got further than the attempt before it, which starts counting again.
        """
        async with self.database.write() as session:
            row = await session.scalar(select(JobRow).where(*running(job_id, attempt)))
            if row is None:
                return None
            await self._crash(session, row, now, progressed=progressed)
            await session.refresh(row)
            return job_from_row(row)

    @whole
    async def recover(self, now: datetime, progressed: Collection[str] = ()) -> list[Job]:
        """At start, when no worker of ours can be alive: every running job as `crashed`."""
        async with self.database.write() as session:
            rows = list(await session.scalars(select(JobRow).where(JobRow.state == JobState.RUNNING)))
            for row in rows:
                await self._crash(session, row, now, progressed=row.id in progressed)
                await session.refresh(row)
            return [job_from_row(row) for row in rows]

    async def _crash(self, session: AsyncSession, row: JobRow, now: datetime, *, progressed: bool) -> None:
        again = progressed and row.attempt < MAX_ATTEMPTS
        crashes = 1 if again else row.crashes + 1
        values: dict[str, Any] = {"state": JobState.QUEUED, "lease_until": None, "started_at": None}
        if crashes >= MAX_CRASHES:
            trains = row.kind == JobKind.TRAIN
            values = failed(TRAINING_CRASHED_TOO_OFTEN if trains else CRASHED_TOO_OFTEN, now)
        await update_job(session, running(row.id, row.attempt), crashes=crashes, **values)

    @whole
    async def delivered(self, job_id: str, attempt: int, now: datetime) -> bool:
        """Its member was told how it ended; done → delivered. False where that was known, or it is not ended."""
        ended = [
            JobRow.id == job_id,
            JobRow.attempt == attempt,
            JobRow.state.not_in(LIVE),
            JobRow.delivered_at.is_(None),
        ]
        async with self.database.write() as session:
            if not await update_job(session, ended, delivered_at=now):
                return False
            await update_job(session, [JobRow.id == job_id, JobRow.state == JobState.DONE], state=JobState.DELIVERED)
            message = select(JobRow.message_id).where(JobRow.id == job_id).scalar_subquery()
            elsewhere = ImageRow.message_id.is_not(None)  # a job of many pictures has several messages
            await session.execute(
                update(ImageRow).where(ImageRow.job_id == job_id, ~elsewhere).values(message_id=message)
            )
            return True

    @whole
    async def give_up(self, job_id: str, reason: str, now: datetime) -> Job | None:
        """Nobody can be told: counts as told, and what is live or done has failed. None where it was told."""
        async with self.database.write() as session:
            untold = [JobRow.id == job_id, JobRow.delivered_at.is_(None)]
            without_end = [JobRow.state.in_((*LIVE, JobState.DONE))]
            await update_job(session, untold + without_end, **failed(reason, now))
            ended = await update_job(session, untold, delivered_at=now)
            return job_from_row(await session.get_one(JobRow, job_id)) if ended else None


async def _refuse(session: AsyncSession, job: Job, images_at_most: int) -> None:
    await refuse_blocked(session, job.guild_id, job.member_id)
    if job.images > images_at_most:
        raise TooManyAtOnce(images=job.images, limit=images_at_most)
    live = select(func.coalesce(func.sum(JobRow.image_count), 0)).where(
        JobRow.member_id == job.member_id, JobRow.state.in_(LIVE), JobRow.kind != JobKind.TRAIN
    )
    waiting = await session.scalar(live) or 0
    if waiting + job.images > images_at_most:
        raise QueueFull(waiting=waiting, limit=images_at_most)


async def _start_member(session: AsyncSession, origin: Origin | None, started: StartedFrom | None) -> int | None:
    """Whose picture it is: a job's own is its member's, its start image may be another's."""
    if origin is not None and origin.job_id is not None and await session.get(JobRow, origin.job_id) is None:
        raise StartImageDeleted
    if started is None:
        return None
    row = await session.get(JobRow, started.job_id)
    if row is None:
        raise StartImageDeleted
    return row.start_member_id or row.member_id if started.start_image else row.member_id


async def _goes_on_from_a_person(session: AsyncSession, job: Job, started: StartedFrom | None) -> bool:
    """Was what it was made from, or what it starts from, drawn with a concept of a person?"""
    ids = {None if job.origin is None else job.origin.job_id, None if started is None else started.job_id} - {None}
    return await session.scalar(select(JobRow.id).where(JobRow.id.in_(ids), JobRow.of_person).limit(1)) is not None
