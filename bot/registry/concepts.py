"""Concepts: who has which, its versions, and where it is shared. Every change is one transaction."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncSession

from bot.concepts import NOTHING, Concept, ConceptVersion, NewVersion, Removed
from bot.errors import (
    ConceptGone,
    ConceptNameTaken,
    ConceptTakenDown,
    ConceptUnknown,
    OwnNameTaken,
    TrainingActive,
    UserError,
    WrongModel,
)
from bot.job import Job
from bot.registry.concept_rows import (
    concepts_where,
    fail_users,
    live_trainings,
    publish,
    removed_of,
    version_from_row,
)
from bot.registry.database import Database
from bot.registry.job_rows import end_as_cancelled
from bot.registry.tables import ConceptRow, ConceptShareRow, ConceptTakedownRow, ConceptVersionRow, MemberRow
from bot.registry.whole import whole
from generation.request import ConceptUse, ModelInfo


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A concept that some, or all, can't use any more. `failed`: jobs that waited for it or were being drawn with
    it; `cancelled`: trainings of it."""

    concept: Concept
    removed: Removed = NOTHING
    failed: Sequence[Job] = ()
    cancelled: Sequence[Job] = ()


class Concepts:
    """Every method raises RegistryTrouble where the file can't be used right now."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # ── looking ──

    @whole
    async def own(self, owner_id: int) -> list[Concept]:
        """By name."""
        async with self.database.read() as session:
            return await concepts_where(session, ConceptRow.owner_id == owner_id)

    @whole
    async def usable(self, member_id: int, guild_id: int | None) -> list[Concept]:
        """Own ones by name, then those that are shared in the server, but for the names that are own ones."""
        shared_here = select(ConceptShareRow.concept_id).where(ConceptShareRow.guild_id == guild_id)
        async with self.database.read() as session:
            own = await concepts_where(session, ConceptRow.owner_id == member_id)
            others = ConceptRow.owner_id != member_id
            shared = await concepts_where(session, others, ConceptRow.id.in_(shared_here))
        names = {concept.name for concept in own}
        return own + [concept for concept in shared if concept.name not in names]

    @whole
    async def shared(self, guild_id: int) -> list[Concept]:
        """Whoever's they are, by name."""
        shared_here = select(ConceptShareRow.concept_id).where(ConceptShareRow.guild_id == guild_id)
        async with self.database.read() as session:
            return await concepts_where(session, ConceptRow.id.in_(shared_here))

    @whole
    async def all(self) -> list[Concept]:
        """For the operator, by name."""
        async with self.database.read() as session:
            return await concepts_where(session)

    @whole
    async def version(self, version_id: str) -> ConceptVersion | None:
        async with self.database.read() as session:
            row = await session.get(ConceptVersionRow, version_id)
            return None if row is None else version_from_row(row)

    @whole
    async def files(self) -> dict[str, str]:
        """Of all versions, by id: the kept path."""
        async with self.database.read() as session:
            rows = await session.execute(select(ConceptVersionRow.id, ConceptVersionRow.path))
            return {row.id: row.path for row in rows}

    @whole
    async def trouble(self, uses: Collection[ConceptUse], model: ModelInfo | None) -> UserError | None:
        """Why these can't be drawn with `model` now: a version that is gone, or one made for another model."""
        paths = select(ConceptVersionRow).where(ConceptVersionRow.path.in_([use.path for use in uses]))
        async with self.database.read() as session:
            known = {row.path: version_from_row(row) for row in await session.scalars(paths)}
        for use in uses:
            version = known.get(use.path)
            if version is None:
                return ConceptGone(name=use.name)
            if model is not None and not version.fits(model.hash):
                return WrongModel(name=use.name, made_for=version.model_name, here=model.name)
        return None

    # ── changing ──

    @whole
    async def add(self, new: NewVersion, *, concepts_at_most: int) -> Concept:
        """An imported file, as a new concept: whether it fits the model is known at its first use, so it takes no
        other version's place.

        Raises OwnNameTaken, ConceptLimit, TrainingActive (of that very name).
        """
        async with self.database.write() as session:
            await _refuse_own_name(session, new.owner_id, new.name)
            if await live_trainings(session, new.owner_id, new.name):
                raise TrainingActive
            member = sqlite_insert(MemberRow).values(id=new.owner_id, created_at=new.created_at)
            await session.execute(member.on_conflict_do_nothing())
            await publish(session, new, concepts_at_most=concepts_at_most)
            return await _own(session, new.owner_id, new.name)

    @whole
    async def share(self, owner_id: int, guild_id: int, name: str, now: datetime) -> Concept:
        """Again changes nothing. Raises ConceptUnknown, ConceptNameTaken, ConceptTakenDown."""
        async with self.database.write() as session:
            concept = await _own(session, owner_id, name)
            if await session.get(ConceptTakedownRow, (guild_id, concept.id)) is not None:
                raise ConceptTakenDown(name=name)
            await _refuse_shared_name(session, concept.id, name, [guild_id])
            share = sqlite_insert(ConceptShareRow).values(guild_id=guild_id, concept_id=concept.id, created_at=now)
            await session.execute(share.on_conflict_do_nothing())
            return await _own(session, owner_id, name)

    @whole
    async def unshare(self, owner_id: int, guild_id: int, name: str, now: datetime) -> Withdrawn:
        """Others' jobs with it in that server have failed. Raises ConceptUnknown where it was not shared there."""
        async with self.database.write() as session:
            concept = await _own(session, owner_id, name)
            if guild_id not in concept.shared_in:
                raise ConceptUnknown(name=name)
            return await _unshare(session, concept, guild_id, now)

    @whole
    async def take_down(self, guild_id: int, name: str, now: datetime) -> Withdrawn:
        """As `unshare`, whoever's it is, and its owner can't share it there again."""
        shared_here = select(ConceptShareRow.concept_id).where(ConceptShareRow.guild_id == guild_id)
        async with self.database.write() as session:
            found = await concepts_where(session, ConceptRow.name == name, ConceptRow.id.in_(shared_here))
            if not found:
                raise ConceptUnknown(name=name)
            values = {"guild_id": guild_id, "concept_id": found[0].id, "created_at": now}
            await session.execute(insert(ConceptTakedownRow).values(values))
            return await _unshare(session, found[0], guild_id, now)

    @whole
    async def rename(self, owner_id: int, old: str, new: str) -> Concept:
        """Raises ConceptUnknown, OwnNameTaken, ConceptNameTaken (where it is shared), TrainingActive (of either)."""
        async with self.database.write() as session:
            concept = await _own(session, owner_id, old)
            if new == old:
                return concept
            await _refuse_own_name(session, owner_id, new)
            if await live_trainings(session, owner_id, old) or await live_trainings(session, owner_id, new):
                raise TrainingActive  # whose end would make a second one
            await _refuse_shared_name(session, concept.id, new, concept.shared_in)
            await session.execute(update(ConceptRow).where(ConceptRow.id == concept.id).values(name=new))
            return await _own(session, owner_id, new)

    @whole
    async def delete(self, owner_id: int, name: str, now: datetime) -> Withdrawn:
        """With all versions and shares; jobs with it have failed, a training of it is cancelled.

        Raises ConceptUnknown.
        """
        async with self.database.write() as session:
            concept = await _own(session, owner_id, name)
            removed = await removed_of(session, ConceptRow.id == concept.id)
            failed = await fail_users(session, concept.versions, now)
            cancelled = await end_as_cancelled(session, await live_trainings(session, owner_id, name), now)
            await session.execute(delete(ConceptRow).where(ConceptRow.id == concept.id))
            return Withdrawn(concept, removed, failed, cancelled)


async def _own(session: AsyncSession, owner_id: int, name: str) -> Concept:
    found = await concepts_where(session, ConceptRow.owner_id == owner_id, ConceptRow.name == name)
    if not found:
        raise ConceptUnknown(name=name)
    return found[0]


async def _refuse_own_name(session: AsyncSession, owner_id: int, name: str) -> None:
    if await concepts_where(session, ConceptRow.owner_id == owner_id, ConceptRow.name == name):
        raise OwnNameTaken(name=name)


async def _refuse_shared_name(session: AsyncSession, concept_id: str, name: str, guild_ids: Collection[int]) -> None:
    shared_there = select(ConceptShareRow.concept_id).where(ConceptShareRow.guild_id.in_(guild_ids))
    conditions: list[ColumnElement[bool]] = [
        ConceptRow.name == name,
        ConceptRow.id != concept_id,
        ConceptRow.id.in_(shared_there),
    ]
    if await concepts_where(session, *conditions):
        raise ConceptNameTaken(name=name)


async def _unshare(session: AsyncSession, concept: Concept, guild_id: int, now: datetime) -> Withdrawn:
    row = ConceptShareRow
    await session.execute(delete(row).where(row.guild_id == guild_id, row.concept_id == concept.id))
    failed = await fail_users(session, concept.versions, now, in_guild=guild_id, but_of=concept.owner_id)
    (after,) = await concepts_where(session, ConceptRow.id == concept.id)
    return Withdrawn(after, failed=failed)
