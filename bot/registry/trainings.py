"""Trainings: jobs of kind TRAIN, from the limits before them to the concept at their end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.concepts import NewVersion, Removed
from bot.errors import DepictsSomethingElse, NoTrainings, TrainingActive, TrainingLimit
from bot.job import Job, JobImage, JobKind, JobState
from bot.registry.concept_rows import concepts_where, live_trainings, publish, refuse_more
from bot.registry.database import Database
from bot.registry.job_rows import by_interaction, insert_job, refuse_blocked, running, update_job
from bot.registry.rows import image_values, job_from_row
from bot.registry.tables import ConceptRow, ConceptVersionRow, ImageRow, JobRow
from bot.registry.whole import whole
from training.order import Depicts

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one member."""

    trainings_per_day: int
    concepts: int


class Trainings:
    """Every method raises RegistryTrouble where the file can't be used right now."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self._folder = folder

    @whole
    async def refuse_early(
        self,
        member_id: int,
        guild_id: int | None,
        name: str,
        limits: Limits,
        now: datetime,
        *,
        depicts: Depicts | None = None,
        interaction_id: int | None = None,
    ) -> None:
        """Raises what `add` would, before anybody has worked for it; nothing where the interaction has its job."""
        async with self.database.read() as session:
            if await by_interaction(session, interaction_id) is None:
                await refuse_blocked(session, guild_id, member_id)
                await _refuse(session, member_id, name, depicts, limits, now)

    @whole
    async def add(self, job: Job, limits: Limits) -> tuple[Job, bool]:
        """Keep a new training. Where its interaction made one before: that one, and False.

        Raises Blocked, NoTrainings, TrainingActive, TrainingLimit, ConceptLimit, DepictsSomethingElse.
        """
        assert job.training is not None
        async with self.database.write() as session:
            first = await by_interaction(session, job.interaction_id)
            if first is not None:
                return first, False
            await refuse_blocked(session, job.guild_id, job.member_id)
            order = job.training
            await _refuse(session, job.member_id, order.name, order.depicts, limits, job.created_at)
            await insert_job(session, job)
            return job, True

    @whole
    async def finish(
        self, job_id: str, attempt: int, images: Sequence[JobImage], new: NewVersion, now: datetime
    ) -> tuple[Job, Removed] | None:
        """running → done, with its pictures and the concept. None (and nothing changed) for an older attempt or an
        ended job. Raises DepictsSomethingElse."""
        async with self.database.write() as session:
            done = {"state": JobState.DONE, "finished_at": now, "lease_until": None}
            if not await update_job(session, running(job_id, attempt), **done):
                return None
            if images:
                await session.execute(insert(ImageRow), [image_values(image, self._folder) for image in images])
            removed = await publish(session, new)
            return job_from_row(await session.get_one(JobRow, job_id)), removed


async def _refuse(
    session: AsyncSession, member_id: int, name: str, depicts: Depicts | None, limits: Limits, now: datetime
) -> None:
    if limits.trainings_per_day == 0:
        raise NoTrainings
    if await live_trainings(session, member_id):
        raise TrainingActive
    begun = await _begun(session, member_id, now - DAY)
    if begun >= limits.trainings_per_day:
        raise TrainingLimit(count=begun, limit=limits.trainings_per_day)
    known = await concepts_where(session, ConceptRow.owner_id == member_id, ConceptRow.name == name)
    if not known:
        await refuse_more(session, member_id, limits.concepts)
    elif depicts is not None and known[0].depicts is not depicts:
        raise DepictsSomethingElse(name=name)


async def _begun(session: AsyncSession, member_id: int, since: datetime) -> int:
    """Trainings that took the machine's time. One whose job was deleted is known by the concept that it made."""
    started = or_(JobRow.started_at.is_not(None), JobRow.attempt > 0)
    jobs = select(JobRow.id).where(
        JobRow.member_id == member_id, JobRow.kind == JobKind.TRAIN, JobRow.created_at > since, started
    )
    own = select(ConceptRow.id).where(ConceptRow.owner_id == member_id)
    versions = select(ConceptVersionRow.id).where(
        ConceptVersionRow.concept_id.in_(own),
        ConceptVersionRow.trained.is_not(None),
        ConceptVersionRow.created_at > since,
    )
    return len({*await session.scalars(jobs), *await session.scalars(versions)})
