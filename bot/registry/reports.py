"""What members brought before the operator."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, insert, select

from bot.errors import TooManyReports
from bot.registry.database import Database
from bot.registry.tables import ReportRow
from bot.registry.whole import whole

REPORTS_AT_MOST: Final = 5
REPORTS_WITHIN: Final = timedelta(hours=1)
FORGOTTEN: Final = 0
"""In place of a reporter who is forgotten; no id of Discord's."""


@dataclass(frozen=True, slots=True)
class Report:
    """A message of the bot's. `job_id` and `member_id`: its picture, and who asked for that, where it is known."""

    reporter_id: int
    guild_id: int | None
    channel_id: int
    message_id: int
    job_id: str | None
    member_id: int | None
    reason: str
    created_at: datetime


class Reports:
    """Every method raises RegistryTrouble where the file can't be used right now."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @whole
    async def add(self, report: Report) -> None:
        """Raises TooManyReports where its reporter has made `REPORTS_AT_MOST` within `REPORTS_WITHIN`."""
        recent = select(func.count()).where(
            ReportRow.reporter_id == report.reporter_id, ReportRow.created_at > report.created_at - REPORTS_WITHIN
        )
        async with self.database.write() as session:
            if (await session.scalar(recent) or 0) >= REPORTS_AT_MOST:
                raise TooManyReports
            await session.execute(
                insert(ReportRow).values(
                    reporter_id=report.reporter_id,
                    guild_id=report.guild_id,
                    channel_id=report.channel_id,
                    message_id=report.message_id,
                    job_id=report.job_id,
                    member_id=report.member_id,
                    reason=report.reason,
                    created_at=report.created_at,
                )
            )

    @whole
    async def latest(self, limit: int) -> Sequence[Report]:
        """Newest first."""
        wanted = select(ReportRow).order_by(ReportRow.id.desc()).limit(limit)
        async with self.database.read() as session:
            return [_report(row) for row in await session.scalars(wanted)]


def _report(row: ReportRow) -> Report:
    return Report(
        reporter_id=row.reporter_id,
        guild_id=row.guild_id,
        channel_id=row.channel_id,
        message_id=row.message_id,
        job_id=row.job_id,
        member_id=row.member_id,
        reason=row.reason,
        created_at=row.created_at,
    )
