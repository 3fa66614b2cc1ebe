"""What members wish, and who is blocked where."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import CursorResult

from bot.registry.database import Database
from bot.registry.tables import BlockRow, MemberRow
from bot.registry.whole import whole


@dataclass(frozen=True, slots=True)
class Block:
    """A member who may not ask for anything in a server; `by_id`: the moderator."""

    guild_id: int
    member_id: int
    by_id: int
    reason: str
    created_at: datetime


class Members:
    """Every method raises RegistryTrouble where the file can't be used right now."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # ── what they wish ──

    @whole
    async def ping(self, member_id: int) -> bool:
        """Whether a job that took long ends with a mention of them."""
        async with self.database.read() as session:
            row = await session.get(MemberRow, member_id)
            return row is None or row.ping

    @whole
    async def set_ping(self, member_id: int, wanted: bool, now: datetime) -> None:
        row = insert(MemberRow).values(id=member_id, created_at=now, ping=wanted)
        async with self.database.write() as session:
            await session.execute(row.on_conflict_do_update(index_elements=["id"], set_={"ping": wanted}))

    # ── blocks ──

    @whole
    async def block(self, block: Block) -> None:
        """A second one takes the place of the first."""
        said = {"by_id": block.by_id, "reason": block.reason, "created_at": block.created_at}
        row = insert(BlockRow).values(guild_id=block.guild_id, member_id=block.member_id, **said)
        async with self.database.write() as session:
            await session.execute(row.on_conflict_do_update(index_elements=["guild_id", "member_id"], set_=said))

    @whole
    async def unblock(self, guild_id: int, member_id: int) -> bool:
        """False where they were not blocked."""
        gone = delete(BlockRow).where(BlockRow.guild_id == guild_id, BlockRow.member_id == member_id)
        async with self.database.write() as session:
            result = await session.execute(gone)
            assert isinstance(result, CursorResult)
            return result.rowcount == 1

    @whole
    async def blocked(self, guild_id: int) -> Sequence[Block]:
        """Of one server, newest first."""
        wanted = select(BlockRow).where(BlockRow.guild_id == guild_id).order_by(BlockRow.created_at.desc())
        async with self.database.read() as session:
            return [
                Block(row.guild_id, row.member_id, row.by_id, row.reason, row.created_at)
                for row in await session.scalars(wanted)
            ]
