"""Inside a transaction: how rows of jobs change. Every change is one UPDATE with the conditions it starts from."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import Blocked
from bot.job import LIVE, Job, JobState
from bot.registry.rows import job_from_row, job_values
from bot.registry.tables import BlockRow, JobRow, MemberRow


async def update_job(session: AsyncSession, conditions: list[Any], **values: Any) -> bool:
    """Whether a row matched."""
    result = await session.execute(update(JobRow).where(*conditions).values(**values))
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def running(job_id: str, attempt: int) -> list[Any]:
    """The fence: this job, still running, in this attempt."""
    return [JobRow.id == job_id, JobRow.state == JobState.RUNNING, JobRow.attempt == attempt]


def failed(reason: str, now: datetime) -> dict[str, Any]:
    return {"state": JobState.FAILED, "error": reason, "finished_at": now, "lease_until": None}


async def by_interaction(session: AsyncSession, interaction_id: int | None) -> Job | None:
    """The job that this interaction made before."""
    if interaction_id is None:
        return None
    row = await session.scalar(select(JobRow).where(JobRow.interaction_id == interaction_id))
    return None if row is None else job_from_row(row)


async def insert_job(session: AsyncSession, job: Job) -> None:
    """With its member, where they are new."""
    member = sqlite_insert(MemberRow).values(id=job.member_id, created_at=job.created_at)
    await session.execute(member.on_conflict_do_nothing())
    await session.execute(insert(JobRow).values(job_values(job)))


async def refuse_blocked(session: AsyncSession, guild_id: int | None, member_id: int) -> None:
    """Raises Blocked."""
    if guild_id is not None and await session.get(BlockRow, (guild_id, member_id)) is not None:
        raise Blocked


async def end_as_failed(session: AsyncSession, jobs: Sequence[Job], reason: str, now: datetime) -> list[Job]:
    """Those of these that were live, as they are now."""
    return await _end(session, jobs, failed(reason, now))


async def end_as_cancelled(session: AsyncSession, jobs: Sequence[Job], now: datetime) -> list[Job]:
    """Those of these that were live, as they are now."""
    cancelled = {"state": JobState.CANCELLED, "finished_at": now, "lease_until": None}
    return await _end(session, jobs, cancelled)


async def _end(session: AsyncSession, jobs: Sequence[Job], values: dict[str, Any]) -> list[Job]:
    ended: list[Job] = []
    for job in jobs:
        if await update_job(session, [JobRow.id == job.id, JobRow.state.in_(LIVE)], **values):
            said = {name: values[name] for name in ("state", "error", "finished_at") if name in values}
            ended.append(dataclasses.replace(job, **said))
    return ended
