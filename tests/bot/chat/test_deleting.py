"""The Delete button, its question, and the message command."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.chat.answers import acknowledge_later
from bot.errors import NotFound, NotYours
from bot.job import JobState
from tests.bot.chat.pressing import later

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from conftest import World
    from simcord.actors import MemberActor

ONLY_OWNER = "Only the person who asked for this picture, or who may manage messages here, can delete it."
UNKNOWN = "This picture is not known here any more."


async def done(world: World, **options: object) -> str:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple", **options)
    await world.drawing()
    assert world.worker.current is not None
    job_id = world.worker.current.job
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    await world.settled()
    return job_id


def moderator(world: World, name: str = "carol") -> MemberActor:
    guild = world.env.guild
    moderators = guild.create_role(f"mods-{name}", permissions=discord.Permissions(manage_messages=True))
    return guild.add_member(world.env.create_user(name), roles=[moderators])


async def gone(world: World, job_id: str) -> None:
    with pytest.raises(NotFound):
        await world.studio.job(job_id)
    assert not (world.folder / "images" / job_id).exists()
    await world.until(lambda: world.messages() == [], "the message was not deleted")
    assert list(await world.studio.doomed()) == []


async def test_the_owner_is_asked_once_and_then_all_is_gone(world: World) -> None:
    job_id = await done(world)
    asked = await world.alice.click(world.message, custom_id=f"atelier:delete:{job_id}:0")
    assert asked.ephemeral
    assert asked.response is not None
    assert asked.response.content == (
        "Delete this picture for good? It goes from the chat too, and nobody can bring it back."
    )
    (row,) = asked.response.components
    (button,) = row["components"]
    assert (button["custom_id"], button["style"]) == (f"atelier:erase:{job_id}", discord.ButtonStyle.danger.value)
    assert len(world.messages()) == 1
    await world.alice.click(asked.response, custom_id=button["custom_id"])
    assert asked.response.content == "Deleted."
    assert asked.response.components == []
    await gone(world, job_id)


async def test_slow_records_still_ask_with_a_button(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = await done(world)
    thinking: list[Any] = []

    async def slowly(interaction: discord.Interaction[Any], work: Coroutine[Any, Any, Any]) -> Any:
        await acknowledge_later(interaction)  # as after 0.7 s; simcord's clock does not run while the studio works
        thinking.append(interaction.response.type)
        return await work

    monkeypatch.setattr("bot.chat.deleting.in_time", slowly)
    asked = await world.alice.click(world.message, custom_id=f"atelier:delete:{job_id}:0")
    assert thinking == [discord.InteractionResponseType.deferred_channel_message]
    assert asked.response is not None
    await world.alice.click(asked.response, custom_id=f"atelier:erase:{job_id}")
    await gone(world, job_id)


async def test_a_job_of_several_pictures_goes_as_a_whole(world: World) -> None:
    job_id = await done(world, count=4)
    asked = await world.alice.click(world.message, custom_id=f"atelier:delete:{job_id}:0")
    assert asked.response is not None
    assert asked.response.content.startswith("Delete all 4 pictures for good? They go from the chat too")
    await world.alice.click(asked.response, custom_id=f"atelier:erase:{job_id}")
    await gone(world, job_id)


async def test_nobody_else_may_ask_nor_forge_the_answer(world: World) -> None:
    job_id = await done(world)
    refused = await world.bob.click(world.message, custom_id=f"atelier:delete:{job_id}:0")
    assert refused.ephemeral
    assert refused.response is not None
    assert refused.response.content == ONLY_OWNER
    assert refused.response.components == []
    with pytest.raises(NotYours):
        await world.studio.delete(job_id, by=world.bob.id)
    assert (await world.studio.job(job_id)).state is JobState.DELIVERED


async def test_who_manages_messages_may(world: World) -> None:
    job_id = await done(world)
    carol = moderator(world)
    asked = await carol.click(world.message, custom_id=f"atelier:delete:{job_id}:0")
    assert asked.response is not None
    assert asked.response.content.startswith(f"Delete this picture by {world.alice.mention} for good?")
    await carol.click(asked.response, custom_id=f"atelier:erase:{job_id}")
    await gone(world, job_id)


async def test_who_lost_the_permission_meanwhile_may_not(world: World) -> None:
    job_id = await done(world)
    carol = moderator(world)
    asked = await carol.click(world.message, custom_id=f"atelier:delete:{job_id}:0")
    assert asked.response is not None
    world.env.backend.get_guild(world.env.guild.id).members[carol.id].role_ids.clear()
    result = await carol.click(asked.response, custom_id=f"atelier:erase:{job_id}")
    assert result.followups[-1].content == ONLY_OWNER
    assert (await world.studio.job(job_id)).state is JobState.DELIVERED


async def test_the_buttons_work_after_a_restart_and_two_days_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await done(world)
    message = world.message
    await world.restart()
    await later(world, monkeypatch, hours=48)
    asked = await world.alice.click(message, custom_id=f"atelier:delete:{job_id}:0")
    assert asked.response is not None
    await world.restart()
    await world.alice.click(asked.response, custom_id=f"atelier:erase:{job_id}")
    await gone(world, job_id)


async def test_a_second_press_says_that_it_is_gone(world: World) -> None:
    job_id = await done(world)
    message = world.message
    first = await world.alice.click(message, custom_id=f"atelier:delete:{job_id}:0")
    second = await world.alice.click(message, custom_id=f"atelier:delete:{job_id}:0")
    assert first.response is not None
    assert second.response is not None
    await world.alice.click(first.response, custom_id=f"atelier:erase:{job_id}")
    late = await world.alice.click(second.response, custom_id=f"atelier:erase:{job_id}")
    assert late.followups[-1].content == UNKNOWN


async def test_the_message_command_asks_the_same(world: World) -> None:
    job_id = await done(world)
    carol = moderator(world)
    asked = await carol.context_menu(world.channel, "Delete picture", world.message)
    assert asked.response is not None
    await carol.click(asked.response, custom_id=f"atelier:erase:{job_id}")
    await gone(world, job_id)


async def test_the_message_command_on_another_message(world: World) -> None:
    other = await world.bob.send(world.channel, "nice!")
    result = await world.alice.context_menu(world.channel, "Delete picture", other)
    assert result.response is not None
    assert result.response.content == "This message shows no picture of mine."


async def test_one_that_is_being_drawn_is_stopped(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple", steps=50)
    await world.drawing()
    assert world.worker.current is not None
    job_id = world.worker.current.job
    world.worker.step()
    await world.settled()
    asked = await world.alice.context_menu(world.channel, "Delete picture", world.message)
    assert asked.response is not None
    await world.alice.click(asked.response, custom_id=f"atelier:erase:{job_id}")
    await world.until(lambda: world.worker.current is None, "it is still being drawn")
    await world.settled()
    await gone(world, job_id)


async def test_locked_records_delete_nothing_and_say_so(world: World) -> None:
    job_id = await done(world)
    asked = await world.alice.click(world.message, custom_id=f"atelier:delete:{job_id}:0")
    assert asked.response is not None
    lock = sqlite3.connect(world.folder / "atelier.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        result = await world.alice.click(asked.response, custom_id=f"atelier:erase:{job_id}")
    finally:
        lock.close()
    assert "locked by another program" in result.followups[-1].content
    assert (await world.studio.job(job_id)).state is JobState.DELIVERED
    assert list((world.folder / "images" / job_id).glob("*.png"))
    await world.alice.click(asked.response, custom_id=f"atelier:erase:{job_id}")
    await gone(world, job_id)
