"""What the managers of servers decided. Read for every reply in a channel, so kept in memory too."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncSession

from bot.registry.database import Database
from bot.registry.tables import GuildSettingsRow, StudioChannelRow


@dataclass(frozen=True, slots=True)
class GuildSettings:
    """One server's; the defaults where nothing was decided."""

    remix_others: bool = True
    """Whether members may make something of other members' pictures."""
    studio_channels: frozenset[int] = frozenset()
    """Channels in which every reply to a picture is a remix, threads in them included."""


class Guilds:
    """Every method raises RegistryTrouble where the file can't be used right now."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._known: dict[int, GuildSettings] = {}
        self._lock = asyncio.Lock()  # what was read before a change must not be remembered after it

    async def settings(self, guild_id: int) -> GuildSettings:
        known = self._known.get(guild_id)
        if known is None:
            async with self._lock:
                known = await self.database.whole(self._read(guild_id))
                self._known[guild_id] = known
        return known

    async def set_remix_others(self, guild_id: int, allowed: bool) -> None:
        async def change(session: AsyncSession) -> None:
            row = insert(GuildSettingsRow).values(guild_id=guild_id, remix_others=allowed)
            changed = row.on_conflict_do_update(index_elements=["guild_id"], set_={"remix_others": allowed})
            await session.execute(changed)

        await self._change(guild_id, change)

    async def set_studio_channel(self, guild_id: int, channel_id: int, here: bool) -> None:
        async def change(session: AsyncSession) -> None:
            if here:
                row = insert(StudioChannelRow).values(channel_id=channel_id, guild_id=guild_id)
                await session.execute(row.on_conflict_do_nothing())
            else:
                await session.execute(delete(StudioChannelRow).where(StudioChannelRow.channel_id == channel_id))

        await self._change(guild_id, change)

    async def _change(self, guild_id: int, change: Callable[[AsyncSession], Coroutine[Any, Any, None]]) -> None:
        async def write() -> None:
            async with self._lock, self.database.write() as session:
                self._known.pop(guild_id, None)
                await change(session)

        await self.database.whole(write())

    async def _read(self, guild_id: int) -> GuildSettings:
        channels = select(StudioChannelRow.channel_id).where(StudioChannelRow.guild_id == guild_id)
        async with self.database.read() as session:
            row = await session.get(GuildSettingsRow, guild_id)
            marked = frozenset(await session.scalars(channels))
            return GuildSettings(row is None or row.remix_others, marked)
