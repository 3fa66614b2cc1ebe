"""What is known about pictures that were made: which of them may go."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select

from bot.registry.database import Database
from bot.registry.tables import JobRow
from bot.registry.whole import whole

_AT_ONCE = 500
"""Ids in one question: SQLite bounds how many values a statement takes."""


class Pictures:
    """Every method raises RegistryTrouble where the file can't be used right now."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def told(self, job_ids: Collection[str]) -> dict[str, datetime | None]:
        """For each of these jobs that is known: when its member was told how it ended; None on one that is still
        live or whose member has not been told."""
        ids = list(job_ids)
        known: dict[str, datetime | None] = {}
        for start in range(0, len(ids), _AT_ONCE):
            known |= await self._told(ids[start : start + _AT_ONCE])
        return known

    @whole
    async def _told(self, ids: list[str]) -> dict[str, datetime | None]:
        wanted = select(JobRow.id, JobRow.delivered_at).where(JobRow.id.in_(ids))
        async with self.database.read() as session:
            rows = await session.execute(wanted)
            return {row.id: row.delivered_at for row in rows}
