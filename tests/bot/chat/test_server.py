"""/server: who may change what, what it says, and that it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
import pytest
from simcord.backend.errors import SetupError

from bot.registry.guilds import GuildSettings

if TYPE_CHECKING:
    from conftest import World
    from simcord.actors import MemberActor


@pytest.fixture
def manager(world: World) -> MemberActor:
    guild = world.env.guild
    role = guild.create_role("managers", permissions=discord.Permissions(manage_guild=True))
    return guild.add_member(world.env.create_user("manuela"), roles=[role])


async def said(world: World, who: MemberActor, command: str, **options: object) -> str:
    result = await who.slash(world.channel, f"server {command}", **options)
    assert result.ephemeral
    assert result.response is not None
    return result.response.content


async def decided(world: World) -> GuildSettings:
    return await world.studio.guilds.settings(world.env.guild.id)


async def test_before_anything_is_decided(world: World, manager: MemberActor) -> None:
    text = await said(world, manager, "show")
    assert text == "Members may remix pictures of everybody.\nStudio channels: none"


async def test_remixing_others_is_switched_off_and_on(world: World, manager: MemberActor) -> None:
    assert "only their own" in await said(world, manager, "remix", allowed=False)
    assert not (await decided(world)).remix_others
    assert "of their own only" in await said(world, manager, "show")
    assert "each other's" in await said(world, manager, "remix", allowed=True)
    assert (await decided(world)).remix_others


async def test_a_channel_is_marked_and_unmarked(world: World, manager: MemberActor) -> None:
    assert (await said(world, manager, "studio", here=True)).startswith("This channel is a studio now")
    assert (await decided(world)).studio_channels == {world.channel.id}
    assert f"<#{world.channel.id}>" in await said(world, manager, "show")
    assert "is no studio" in await said(world, manager, "studio", here=False)
    assert (await decided(world)).studio_channels == frozenset()


async def test_a_thread_is_marked_as_its_channel(world: World, manager: MemberActor) -> None:
    world.env.backend.create_thread(world.channel.id, "apples", manager.id)
    parent = world.channel
    (world.channel,) = parent.threads
    await said(world, manager, "studio", here=True)
    assert (await decided(world)).studio_channels == {parent.id}


async def test_what_the_bot_can_read_is_said_where_it_matters(world: World, manager: MemberActor) -> None:
    assert "keep the @ on" in await said(world, manager, "studio", here=True)
    world.settings = world.settings.with_changes(message_content="on")
    await world.restart()
    assert "@" not in await said(world, manager, "studio", here=True)


async def test_a_long_list_of_channels_fits_into_a_message(world: World, manager: MemberActor) -> None:
    for number in range(300):
        await world.studio.guilds.set_studio_channel(world.env.guild.id, 2**62 + number, True)
    text = await said(world, manager, "show")
    assert len(text) < 2000
    assert "and 260 more" in text


async def test_it_outlives_a_restart(world: World, manager: MemberActor) -> None:
    await said(world, manager, "remix", allowed=False)
    await world.restart()
    assert "of their own only" in await said(world, manager, "show")


async def test_it_is_for_those_who_manage_the_server(world: World) -> None:
    with pytest.raises(SetupError, match="default-member-permissions"):
        await world.bob.slash(world.channel, "server remix", allowed=False)
    with pytest.raises(SetupError, match="context"):
        await world.bob.user.slash("server show")
