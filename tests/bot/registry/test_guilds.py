"""What managers decided about their servers survives, and belongs to one server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.registry.guilds import Guilds, GuildSettings
from bot.registry.registry import Registry

HERE, ELSEWHERE = 2**62 + 1, 2**62 + 2
STUDIO, LOUNGE = 2**62 + 3, 2**62 + 4


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with Registry(tmp_path) as registry:
        yield registry


@pytest.fixture
def guilds(registry: Registry) -> Guilds:
    return registry.guilds


async def test_without_a_decision_all_is_allowed_and_no_channel_is_a_studio(guilds: Guilds) -> None:
    assert await guilds.settings(HERE) == GuildSettings(remix_others=True, studio_channels=frozenset())


async def test_a_decision_is_of_one_server_and_can_be_taken_back(guilds: Guilds) -> None:
    await guilds.settings(HERE)
    await guilds.set_remix_others(HERE, False)
    assert not (await guilds.settings(HERE)).remix_others
    assert (await guilds.settings(ELSEWHERE)).remix_others
    await guilds.set_remix_others(HERE, True)
    assert (await guilds.settings(HERE)).remix_others


async def test_channels_are_marked_once_and_unmarked(guilds: Guilds) -> None:
    for channel in (STUDIO, LOUNGE, STUDIO):
        await guilds.set_studio_channel(HERE, channel, True)
    await guilds.set_remix_others(HERE, False)
    assert await guilds.settings(HERE) == GuildSettings(False, frozenset({STUDIO, LOUNGE}))
    assert await guilds.settings(ELSEWHERE) == GuildSettings()
    await guilds.set_studio_channel(HERE, LOUNGE, False)
    await guilds.set_studio_channel(HERE, LOUNGE, False)
    assert (await guilds.settings(HERE)).studio_channels == {STUDIO}


async def test_another_life_of_the_bot_knows_them(tmp_path: Path) -> None:
    async with Registry(tmp_path) as registry:
        await registry.guilds.set_remix_others(HERE, False)
        await registry.guilds.set_studio_channel(HERE, STUDIO, True)
    async with Registry(tmp_path) as registry:
        assert await registry.guilds.settings(HERE) == GuildSettings(False, frozenset({STUDIO}))


async def test_what_is_read_while_it_changes_is_not_remembered_wrongly(guilds: Guilds) -> None:
    for allowed in (False, True) * 10:
        await asyncio.gather(
            guilds.settings(HERE),
            guilds.set_remix_others(HERE, allowed),
            guilds.settings(HERE),
            guilds.settings(HERE),
        )
        assert (await guilds.settings(HERE)).remix_others is allowed
