"""Messages on Discord that have still to be deleted: kept until they are, so that a crash forgets none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, literal, select, union
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from bot.registry.database import Database
from bot.registry.tables import DoomedMessageRow, ImageRow, JobRow, UtcTime
from bot.registry.whole import whole


@dataclass(frozen=True, slots=True)
class DoomedMessage:
    """`guild_id` None: a direct message."""

    guild_id: int | None
    channel_id: int
    message_id: int


class Doomed:
    """Every method raises RegistryTrouble where the file can't be used right now."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @whole
    async def all(self) -> Sequence[DoomedMessage]:
        """Oldest first."""
        row = DoomedMessageRow
        wanted = select(row).order_by(row.created_at, row.message_id)
        async with self.database.read() as session:
            return [DoomedMessage(r.guild_id, r.channel_id, r.message_id) for r in await session.scalars(wanted)]

    @whole
    async def remove(self, channel_id: int, message_id: int) -> None:
        """It is deleted, or never can be."""
        row = DoomedMessageRow
        gone = delete(row).where(row.channel_id == channel_id, row.message_id == message_id)
        async with self.database.write() as session:
            await session.execute(gone)


async def doom_messages(session: AsyncSession, jobs: ColumnElement[bool], now: datetime) -> int:
    """In a transaction that will delete `jobs` (a condition): the messages that show them. Returns how many."""
    when: Any = literal(now, UtcTime)
    of_jobs = select(JobRow.channel_id, JobRow.message_id, JobRow.guild_id, when).where(
        jobs, JobRow.message_id.is_not(None)
    )
    of_mentions = select(JobRow.channel_id, JobRow.mention_id, JobRow.guild_id, when).where(
        jobs, JobRow.mention_id.is_not(None)
    )
    of_images = (
        select(JobRow.channel_id, ImageRow.message_id, JobRow.guild_id, when)
        .join(ImageRow, ImageRow.job_id == JobRow.id)
        .where(jobs, ImageRow.message_id.is_not(None))
    )
    columns = ["channel_id", "message_id", "guild_id", "created_at"]
    # SQLite can't tell an upsert's ON from a join's, unless the select ends in a WHERE: so a subquery with one.
    shown = union(of_jobs, of_images, of_mentions).subquery()
    chosen = select(*shown.c).where(literal(True))
    result = await session.execute(insert(DoomedMessageRow).from_select(columns, chosen).on_conflict_do_nothing())
    assert isinstance(result, CursorResult)
    return result.rowcount
