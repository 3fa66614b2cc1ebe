"""What is known about jobs and their images: everything that is only read."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from bot.job import LIVE, Job, JobImage, JobState
from bot.registry.database import Database
from bot.registry.rows import job_from_row, job_image_from_row
from bot.registry.tables import ImageRow, JobRow
from bot.registry.whole import whole


class KnownJobs:
    """Every method raises RegistryTrouble where the file can't be used right now."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self._folder = folder

    @whole
    async def get(self, job_id: str) -> Job | None:
        async with self.database.read() as session:
            row = await session.get(JobRow, job_id)
            return None if row is None else job_from_row(row)

    @whole
    async def of_message(self, message_id: int) -> tuple[Job, list[JobImage]] | None:
        """The job that a message belongs to, and the pictures that this message shows (a job may have several)."""
        shown = select(ImageRow).where(ImageRow.message_id == message_id).order_by(ImageRow.index)
        async with self.database.read() as session:
            images = [job_image_from_row(row, self._folder) for row in await session.scalars(shown)]
            wanted = JobRow.id == images[0].job_id if images else JobRow.message_id == message_id
            row = await session.scalar(select(JobRow).where(wanted))
            return None if row is None else (job_from_row(row), images)

    @whole
    async def images(self, job_id: str) -> list[JobImage]:
        """In order; paths are absolute."""
        async with self.database.read() as session:
            rows = await session.scalars(select(ImageRow).where(ImageRow.job_id == job_id).order_by(ImageRow.index))
            return [job_image_from_row(row, self._folder) for row in rows]

    @whole
    async def live(self, member_id: int | None = None) -> list[Job]:
        """Queued and running, oldest first."""
        wanted = select(JobRow).where(JobRow.state.in_(LIVE)).order_by(JobRow.id)
        if member_id is not None:
            wanted = wanted.where(JobRow.member_id == member_id)
        async with self.database.read() as session:
            return [job_from_row(row) for row in await session.scalars(wanted)]

    @whole
    async def untold(self) -> list[Job]:
        """Ended, but their members don't know yet; oldest first."""
        wanted = select(JobRow).where(JobRow.state.not_in(LIVE), JobRow.delivered_at.is_(None))
        async with self.database.read() as session:
            return [job_from_row(row) for row in await session.scalars(wanted.order_by(JobRow.id))]

    @whole
    async def states(self) -> dict[str, JobState]:
        """Of all jobs that are known, by id."""
        async with self.database.read() as session:
            rows = await session.execute(select(JobRow.id, JobRow.state))
            return {job_id: JobState(state) for job_id, state in rows}

    @whole
    async def expired(self, now: datetime) -> list[Job]:
        """Running jobs whose lease is over: their worker does not hold them any more."""
        wanted = select(JobRow).where(JobRow.state == JobState.RUNNING, JobRow.lease_until < now)
        async with self.database.read() as session:
            return [job_from_row(row) for row in await session.scalars(wanted)]
