"""Inside a transaction: reading and writing rows of concepts, and what jobs have to do with them."""

import logging
from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.concepts import VERSIONS_KEPT, Concept, ConceptVersion, NewVersion, Removed
from bot.errors import ConceptGone, ConceptLimit, DepictsSomethingElse
from bot.job import LIVE, Job, JobKind
from bot.registry.job_rows import end_as_failed
from bot.registry.rows import job_from_row
from bot.registry.tables import ConceptRow, ConceptShareRow, ConceptVersionRow, JobRow
from generation.request import ConceptUse
from training.order import Depicts, Method, TrainedConcept

log = logging.getLogger(__name__)


def version_from_row(row: ConceptVersionRow) -> ConceptVersion:
    return ConceptVersion(
        id=row.id,
        number=row.number,
        method=Method(row.method),
        class_word=row.class_word,
        trigger=row.trigger,
        path=row.path,
        sha256=row.sha256,
        bytes=row.bytes,
        model_hash=row.model_hash,
        model_name=row.model_name,
        trained=_trained(row),
        created_at=row.created_at,
    )


def _trained(row: ConceptVersionRow) -> TrainedConcept | None:
    """What this version of the program can't read must not hide the concept itself."""
    if row.trained is None:
        return None
    try:
        return msgspec.json.decode(row.trained, type=TrainedConcept)
    except msgspec.MsgspecError as error:
        log.warning("what came of training %s cannot be read (%s)", row.id, type(error).__name__)
        return None


async def concepts_where(session: AsyncSession, *conditions: ColumnElement[bool]) -> list[Concept]:
    """By name, then by id."""
    rows = list(await session.scalars(select(ConceptRow).where(*conditions).order_by(ConceptRow.name, ConceptRow.id)))
    ids = select(ConceptRow.id).where(*conditions)
    newest_first = select(ConceptVersionRow).order_by(ConceptVersionRow.number.desc())
    versions = list(await session.scalars(newest_first.where(ConceptVersionRow.concept_id.in_(ids))))
    shares = list(await session.scalars(select(ConceptShareRow).where(ConceptShareRow.concept_id.in_(ids))))
    return [
        Concept(
            id=row.id,
            owner_id=row.owner_id,
            guild_id=row.guild_id,
            name=row.name,
            depicts=Depicts(row.depicts),
            consent=row.consent,
            consented_at=row.consented_at,
            created_at=row.created_at,
            shared_in=frozenset(share.guild_id for share in shares if share.concept_id == row.id),
            versions=tuple(version_from_row(one) for one in versions if one.concept_id == row.id),
        )
        for row in rows
    ]


async def live_trainings(session: AsyncSession, owner_id: int, name: str | None = None) -> list[Job]:
    """Of a member, of one name or of all."""
    live = [JobRow.member_id == owner_id, JobRow.kind == JobKind.TRAIN, JobRow.state.in_(LIVE)]
    jobs = [job_from_row(row) for row in await session.scalars(select(JobRow).where(*live).order_by(JobRow.id))]
    return [job for job in jobs if name is None or (job.training is not None and job.training.name == name)]


async def check_uses(session: AsyncSession, job: Job) -> bool:
    """Whether one of the concepts in a new job is of a person.

    Raises ConceptGone, where one was deleted, or is not its member's to use any more, since its name was looked up.
    """
    of_person = False
    for use in uses_of(job):
        version = await session.scalar(select(ConceptVersionRow).where(ConceptVersionRow.path == use.path))
        if version is None:
            raise ConceptGone(name=use.name)
        (concept,) = await concepts_where(session, ConceptRow.id == version.concept_id)
        if not concept.usable_by(job.member_id, job.guild_id):
            raise ConceptGone(name=use.name)
        of_person |= concept.depicts.is_person
    return of_person


def uses_of(job: Job) -> list[ConceptUse]:
    """In its request, and in what draws its start image again."""
    return [*job.request.concepts, *([] if job.redraw is None else job.redraw.concepts)]


async def fail_users(
    session: AsyncSession,
    versions: Sequence[ConceptVersion],
    now: datetime,
    *,
    in_guild: int | None = None,
    but_of: int | None = None,
) -> list[Job]:
    """Live jobs with one of these have failed; `in_guild`: only those of there; `but_of`: not this member's."""
    paths = {version.path for version in versions}
    wanted = select(JobRow).where(JobRow.state.in_(LIVE)).order_by(JobRow.id)
    if in_guild is not None:
        wanted = wanted.where(JobRow.guild_id == in_guild)
    if but_of is not None:
        wanted = wanted.where(JobRow.member_id != but_of)
    failed: list[Job] = []
    for job in [job_from_row(row) for row in await session.scalars(wanted)]:
        names = [use.name for use in uses_of(job) if use.path in paths]
        if names:
            failed += await end_as_failed(session, [job], str(ConceptGone(name=names[0])), now)
    return failed


async def publish(session: AsyncSession, new: NewVersion, *, concepts_at_most: int | None = None) -> Removed:
    """A new version of its owner's concept of that name, or a new concept; returns the versions that went for it.

    Raises ConceptLimit where `concepts_at_most` is given, DepictsSomethingElse.
    """
    mine = ConceptRow.owner_id == new.owner_id
    concept = await session.scalar(select(ConceptRow).where(mine, ConceptRow.name == new.name))
    if concept is None:
        if concepts_at_most is not None:
            await refuse_more(session, new.owner_id, concepts_at_most)
        concept_id = new.id
        values = {
            "id": concept_id,
            "owner_id": new.owner_id,
            "guild_id": new.guild_id,
            "name": new.name,
            "depicts": new.depicts,
            "consent": new.consent,
            "consented_at": new.created_at,
            "created_at": new.created_at,
        }
        await session.execute(insert(ConceptRow).values(values))
    elif concept.depicts != new.depicts:
        raise DepictsSomethingElse(name=new.name)
    else:
        concept_id = concept.id
    await _insert_version(session, concept_id, new)
    return await _prune(session, concept_id)


async def refuse_more(session: AsyncSession, owner_id: int, concepts_at_most: int) -> None:
    """Raises ConceptLimit, where a member has so many already; one that is being trained counts."""
    names = set(await session.scalars(select(ConceptRow.name).where(ConceptRow.owner_id == owner_id)))
    names |= {job.training.name for job in await live_trainings(session, owner_id) if job.training is not None}
    if len(names) >= concepts_at_most:
        raise ConceptLimit(count=len(names), limit=concepts_at_most)


async def _insert_version(session: AsyncSession, concept_id: str, new: NewVersion) -> None:
    latest = select(func.max(ConceptVersionRow.number)).where(ConceptVersionRow.concept_id == concept_id)
    values = {
        "id": new.id,
        "concept_id": concept_id,
        "number": (await session.scalar(latest) or 0) + 1,
        "method": new.method,
        "class_word": new.class_word,
        "trigger": new.trigger,
        "path": new.path,
        "sha256": new.sha256,
        "bytes": new.bytes,
        "model_hash": new.model_hash,
        "model_name": new.model_name,
        "trained": None if new.trained is None else msgspec.json.encode(new.trained).decode(),
        "created_at": new.created_at,
    }
    await session.execute(insert(ConceptVersionRow).values(values))


async def _prune(session: AsyncSession, concept_id: str) -> Removed:
    row = ConceptVersionRow
    versions = list(
        await session.scalars(select(row).where(row.concept_id == concept_id).order_by(row.number.desc()))
    )
    old = versions[VERSIONS_KEPT:]
    await session.execute(delete(row).where(row.id.in_([version.id for version in old])))
    kept = {version.sha256 for version in versions[:VERSIONS_KEPT]}
    shas = dict.fromkeys(version.sha256 for version in old if version.sha256 not in kept)
    return Removed(tuple(version.id for version in old), tuple(shas))


async def removed_of(session: AsyncSession, *conditions: ColumnElement[bool]) -> Removed:
    """What goes with these concepts, whose rows are about to go."""
    ids = select(ConceptRow.id).where(*conditions)
    row = ConceptVersionRow
    found = (await session.execute(select(row.id, row.sha256).where(row.concept_id.in_(ids)))).all()
    return Removed(tuple(one.id for one in found), tuple(dict.fromkeys(one.sha256 for one in found)))
