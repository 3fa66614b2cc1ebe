"""The pictures that a member has made, in pages."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.job import Job, JobImage
from bot.registry.database import Database
from bot.registry.rows import job_from_row, job_image_from_row
from bot.registry.tables import ImageRow, JobRow
from bot.registry.whole import whole

log = logging.getLogger(__name__)

Cursor = tuple[str, int]
"""Job and index of a picture. Where a page ends stays the same, whatever is drawn or deleted meanwhile."""


@dataclass(frozen=True, slots=True)
class Picture:
    job: Job
    image: JobImage


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """`pictures` are newest first; so many more are `newer` and `older`."""

    pictures: Sequence[Picture]
    newer: int
    older: int

    @property
    def total(self) -> int:
        return self.newer + len(self.pictures) + self.older


class History:
    """Every method raises RegistryTrouble where the file can't be used right now."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self._folder = folder

    @whole
    async def page(
        self, member_id: int, *, limit: int, older_than: Cursor | None = None, newer_than: Cursor | None = None
    ) -> HistoryPage:
        """The newest pictures of a member, or those next to a cursor: a full page where there are enough."""
        own = JobRow.member_id == member_id
        async with self.database.read() as session:
            total = await _count(session, own)
            newer = 0
            if older_than is not None:
                newer = await _count(session, own, or_(_before(older_than), _is(older_than)))
                newer = min(newer, max(0, total - limit))  # what came after may be deleted
            elif newer_than is not None:
                newer = max(0, await _count(session, own, _before(newer_than)) - limit)
            wanted = (
                select(JobRow, ImageRow)
                .join(ImageRow, ImageRow.job_id == JobRow.id)
                .where(own)
                .order_by(JobRow.id.desc(), ImageRow.index)
                .limit(limit)
                .offset(newer)
            )
            rows = (await session.execute(wanted)).all()
        found = [self._picture(job, image) for job, image in rows]
        return HistoryPage([one for one in found if one is not None], newer, total - newer - len(found))

    @whole
    async def picture(self, job_id: str, index: int) -> Picture | None:
        async with self.database.read() as session:
            job, image = await session.get(JobRow, job_id), await session.get(ImageRow, (job_id, index))
            return None if job is None or image is None else self._picture(job, image)

    def _picture(self, job: JobRow, image: ImageRow) -> Picture | None:
        """None where this version can't read it: that must not hide the others."""
        try:
            return Picture(job_from_row(job), job_image_from_row(image, self._folder))
        except (msgspec.MsgspecError, ValueError) as error:
            log.error("job %s: picture %d can't be read (%s)", image.job_id, image.index, type(error).__name__)
            return None


async def _count(session: AsyncSession, *conditions: ColumnElement[bool]) -> int:
    counted = select(func.count()).select_from(ImageRow).join(JobRow, ImageRow.job_id == JobRow.id)
    return await session.scalar(counted.where(*conditions)) or 0


def _before(cursor: Cursor) -> ColumnElement[bool]:
    """What a newest-first list shows before the picture at the cursor."""
    job_id, index = cursor
    return or_(JobRow.id > job_id, and_(JobRow.id == job_id, ImageRow.index < index))


def _is(cursor: Cursor) -> ColumnElement[bool]:
    job_id, index = cursor
    return and_(JobRow.id == job_id, ImageRow.index == index)
