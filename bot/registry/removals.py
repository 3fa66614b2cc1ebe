"""What is deleted for good: a job with its pictures, or everything of a member. Rows here; files are elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.engine import CursorResult, Result
from sqlalchemy.ext.asyncio import AsyncSession

from bot.concepts import NOTHING, Removed
from bot.errors import START_IMAGE_DELETED
from bot.job import LIVE, Job, JobState
from bot.registry.concept_rows import concepts_where, fail_users, removed_of
from bot.registry.database import Database
from bot.registry.doomed import doom_messages
from bot.registry.reports import FORGOTTEN
from bot.registry.rows import job_from_row
from bot.registry.tables import BlockRow, ConceptRow, ConceptVersionRow, ImageRow, JobRow, MemberRow, ReportRow
from bot.registry.whole import whole

_WITHOUT_ORIGIN = {
    "origin_job_id": None,
    "origin_index": None,
    "origin_guild_id": None,
    "origin_channel_id": None,
    "origin_message_id": None,
}
"""Of a job whose origin goes. (The foreign key clears only the first: that would mean "from somebody's own picture",
with a link that leads nowhere.)"""


@dataclass(frozen=True, slots=True)
class Held:
    """Whose files there are: a member's jobs, and others' that may have a copy of a picture of theirs."""

    jobs: Sequence[str]
    copies: Sequence[str]
    """Of others' jobs that have ended."""
    live_copies: Sequence[str]
    versions: Sequence[str]
    """Of the member's concepts."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How much went, and which jobs were live until then."""

    pictures: int
    jobs: int
    messages: int
    reports: int
    cancelled: Sequence[Job]
    failed: Sequence[Job]
    """Other members' jobs that would have started from a picture of theirs, or have used a concept of theirs."""
    concepts: int = 0
    removed: Removed = NOTHING


class Removals:
    """Every method raises RegistryTrouble where the file can't be used right now."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @whole
    async def delete(self, job_id: str, now: datetime) -> Job | None:
        """A job with all its pictures; their messages are doomed. Returns what it was; None: it is not known."""
        async with self.database.write() as session:
            row = await session.get(JobRow, job_id)
            if row is None:
                return None
            await doom_messages(session, JobRow.id == job_id, now)
            await session.execute(update(JobRow).where(JobRow.origin_job_id == job_id).values(_WITHOUT_ORIGIN))
            await session.execute(delete(JobRow).where(JobRow.id == job_id))
            return job_from_row(row)

    @whole
    async def held(self, member_id: int) -> Held:
        own = select(JobRow.id).where(JobRow.member_id == member_id)
        live = JobRow.state.in_(LIVE)
        others = select(JobRow.id).where(_made_from(member_id))
        concepts = select(ConceptRow.id).where(ConceptRow.owner_id == member_id)
        versions = select(ConceptVersionRow.id).where(ConceptVersionRow.concept_id.in_(concepts))
        async with self.database.read() as session:
            return Held(
                jobs=list(await session.scalars(own)),
                copies=list(await session.scalars(others.where(~live))),
                live_copies=list(await session.scalars(others.where(live))),
                versions=list(await session.scalars(versions)),
            )

    @whole
    async def forget(self, member_id: int, *, doom: bool, now: datetime) -> Forgotten:
        """Deletes every row of a member, concepts included, and, where `doom`, dooms the messages of their pictures.

        What others made from them, or with a concept of theirs, stays, without a word of where it came from; others'
        live jobs that would start from a picture of theirs, or use a concept of theirs, have failed. Reports and
        blocks stay without the member's id as their author.
        """
        own = JobRow.member_id == member_id
        async with self.database.write() as session:
            messages = await doom_messages(session, own, now) if doom else 0
            pictures = select(func.count()).select_from(ImageRow).join(JobRow, ImageRow.job_id == JobRow.id)
            concepts = await concepts_where(session, ConceptRow.owner_id == member_id)
            users = [v for concept in concepts for v in concept.versions]
            removed = await removed_of(session, ConceptRow.owner_id == member_id)
            forgotten = Forgotten(
                pictures=await session.scalar(pictures.where(own)) or 0,
                jobs=await session.scalar(select(func.count()).select_from(JobRow).where(own)) or 0,
                messages=messages,
                reports=await _without_author(session, member_id),
                cancelled=await _jobs(session, select(JobRow).where(own, JobRow.state.in_(LIVE))),
                failed=[
                    *await _cut_off(session, member_id, now),
                    *await fail_users(session, users, now, but_of=member_id),
                ],
                concepts=len(concepts),
                removed=removed,
            )
            await session.execute(delete(MemberRow).where(MemberRow.id == member_id))
            return forgotten

    @whole
    async def leave_no_trace(self) -> bool:
        """After a removal: nothing of it in the database's log either. False: not yet, see `Database.empty_log`."""
        return await self.database.empty_log()


def _made_from(member_id: int) -> ColumnElement[bool]:
    """Other members' jobs that began with a picture of the member's."""
    own = select(JobRow.id).where(JobRow.member_id == member_id)
    theirs = or_(JobRow.origin_job_id.in_(own), JobRow.start_member_id == member_id)
    return and_(theirs, JobRow.member_id != member_id)


async def _cut_off(session: AsyncSession, member_id: int, now: datetime) -> Sequence[Job]:
    """Others' jobs forget what they were made from; returns those that have failed by that."""
    children = _made_from(member_id)
    live = list(await session.scalars(select(JobRow.id).where(children, JobRow.state.in_(LIVE))))
    await session.execute(update(JobRow).where(children).values(redraw=None, start_member_id=None, **_WITHOUT_ORIGIN))
    failed = {"state": JobState.FAILED, "error": START_IMAGE_DELETED, "finished_at": now, "lease_until": None}
    await session.execute(update(JobRow).where(JobRow.id.in_(live)).values(failed))
    return await _jobs(session, select(JobRow).where(JobRow.id.in_(live)))


async def _without_author(session: AsyncSession, member_id: int) -> int:
    """Reports stay for the operator, blocks for the moderators. Returns how many reports."""
    anonymous = update(ReportRow).where(ReportRow.reporter_id == member_id).values(reporter_id=FORGOTTEN)
    of_them = update(ReportRow).where(ReportRow.member_id == member_id).values(member_id=None, job_id=None)
    reports = _rows(await session.execute(anonymous))
    await session.execute(of_them)
    await session.execute(update(BlockRow).where(BlockRow.by_id == member_id).values(by_id=FORGOTTEN))
    return reports


async def _jobs(session: AsyncSession, wanted: Select[JobRow]) -> Sequence[Job]:
    return [job_from_row(row) for row in await session.scalars(wanted.order_by(JobRow.id))]


def _rows(result: Result[object]) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount
