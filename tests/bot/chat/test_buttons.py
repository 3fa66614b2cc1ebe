"""Buttons: for whom they work, after restarts too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.job import JobState

if TYPE_CHECKING:
    from conftest import World


async def done(world: World, prompt: str = "a red apple", **options: object) -> str:
    await world.alice.slash(world.channel, "imagine", prompt=prompt, **options)
    await world.drawing()
    world.worker.finish()
    return (await world.wait_for_state(JobState.DELIVERED)).id


async def test_the_owner_stops_a_picture_that_waits(world: World) -> None:
    await world.bob.slash(world.channel, "imagine", prompt="in front")
    await world.drawing()
    await world.alice.slash(world.channel, "imagine", prompt="waits")
    waits = next(m for m in world.messages() if "waits" in m.content)
    result = await world.alice.click(waits, custom_id=world.buttons(waits)["cancel"])
    assert result.ephemeral
    assert result.response is not None
    assert result.response.content == "Stopped."
    await world.until(lambda: any("waits" in text and "Stopped." in text for text in world.texts()))
    waits = next(m for m in world.messages() if "waits" in m.content)
    assert set(world.buttons(waits)) == {"again", "delete"}


async def test_the_owner_stops_a_picture_that_is_being_drawn(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple", steps=50)
    await world.drawing()
    world.worker.step()
    await world.settled()
    result = await world.alice.click(world.message, custom_id=world.buttons()["cancel"])
    assert result.response is not None
    assert result.response.content == "Stopping it at the next step."
    await world.until(lambda: "Stopped." in world.message.content)
    assert world.message.attachments == []
    assert world.worker.current is None


async def test_nobody_else_may_stop_it(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    result = await world.bob.click(world.message, custom_id=world.buttons()["cancel"])
    assert result.ephemeral
    assert result.response is not None
    assert result.response.content == ("Only the person who asked for this, or a moderator, can stop it.")
    assert (await world.job()).state is JobState.RUNNING


async def test_a_moderator_may_stop_it(world: World) -> None:
    guild = world.env.guild
    moderators = guild.create_role("mods", permissions=discord.Permissions(manage_messages=True))
    carol = guild.add_member(world.env.create_user("carol"), roles=[moderators])
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    await carol.click(world.message, custom_id=world.buttons()["cancel"])
    await world.until(lambda: "Stopped." in world.message.content)


async def test_who_moderates_another_channel_may_not_stop_it(world: World) -> None:
    guild = world.env.guild
    carol = guild.add_member(world.env.create_user("carol"))
    rights = discord.PermissionOverwrite(manage_messages=True)
    hers = guild.create_text_channel("carols", overwrites={carol: rights})
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    result = await carol.slash(hers, "cancel", job=world.job_id())
    assert result.response is not None
    assert result.response.content.startswith("Only the person who asked for this")
    assert (await world.job()).state is JobState.RUNNING


async def test_too_late_to_stop(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    old, button = world.message, world.buttons()["cancel"]
    world.env.inject_error("PATCH", "/channels/*/messages/*", status=503, times=None)
    world.worker.finish()
    await world.wait_for_state(JobState.DONE, button.split(":")[2])
    result = await world.alice.click(old, custom_id=button)
    assert result.response is not None
    assert result.response.content == "Too late to stop: this has already ended."


async def test_again_draws_it_with_a_new_seed_for_whoever_presses(world: World) -> None:
    await done(world, negative_prompt="blue", seed=5, count=2)
    first = world.message
    result = await world.bob.click(first, custom_id=world.buttons()["again"])
    assert result.ephemeral
    await world.drawing()
    assert world.worker.current is not None
    request = world.worker.current.request
    assert (request.prompt, request.negative_prompt, request.count) == ("a red apple", "blue", 2)
    assert request.seed != 5
    second = next(m for m in world.messages() if m.id != first.id)
    assert world.bob.mention in second.content


async def test_the_recipe_is_told_to_whoever_presses(world: World) -> None:
    await done(world, negative_prompt="blue", seed=5, guidance=3)
    result = await world.bob.click(world.message, custom_id=world.buttons()["recipe"])
    assert result.ephemeral
    assert result.response is not None
    lines = result.response.content.strip("`\n").split("\n")
    assert lines[:5] == [
        "prompt: a red apple",
        "negative prompt: blue",
        "steps: 4",
        "guidance: 3",
        "seed: 5",
    ]
    assert "size: 64x64" in lines


async def test_a_long_recipe_is_a_file(world: World) -> None:
    await done(world, prompt="word " * 390, negative_prompt="other " * 300)
    result = await world.bob.click(world.message, custom_id=world.buttons()["recipe"])
    assert result.response is not None
    (file,) = result.response.attachments
    text = (await file.read()).decode()
    assert ("word " * 390).strip() in text


async def test_old_buttons_work_after_a_restart(world: World) -> None:
    await done(world)
    await world.restart()
    recipe = await world.alice.click(world.message, custom_id=world.buttons()["recipe"])
    assert recipe.response is not None
    assert "prompt: a red apple" in recipe.response.content
    await world.alice.click(world.message, custom_id=world.buttons()["again"])
    await world.drawing()

    running = next(m for m in world.messages() if "cancel" in world.buttons(m))
    await world.restart()
    await world.drawing()
    await world.alice.click(running, custom_id=world.buttons(running)["cancel"])
    await world.until(lambda: any("Stopped." in text for text in world.texts()))


@pytest.mark.parametrize("action", ["again", "recipe"])
async def test_a_button_of_a_job_that_is_gone(world: World, action: str) -> None:
    await done(world)
    message, button = world.message, world.buttons()[action]

    def forget() -> None:
        world.sql("DELETE FROM images")
        world.sql("DELETE FROM jobs")

    await world.restart(meanwhile=forget)
    result = await world.alice.click(message, custom_id=button)
    assert result.ephemeral
    assert result.response is not None
    assert "not known here any more" in result.response.content


@pytest.mark.parametrize(("button", "method"), [("cancel", "cancel"), ("recipe", "images")])
async def test_a_slow_registry_is_waited_for_behind_an_acknowledgement(
    world: World, monkeypatch: pytest.MonkeyPatch, button: str, method: str
) -> None:
    if button == "recipe":
        await done(world)
    else:
        await world.alice.slash(world.channel, "imagine", prompt="a red apple")
        await world.drawing()
    quick = getattr(world.studio, method)

    async def slow(*args: Any, **options: Any) -> Any:
        await asyncio.sleep(0.3)
        return await quick(*args, **options)

    monkeypatch.setattr(world.studio, method, slow)
    monkeypatch.setattr("bot.chat.answers.ACKNOWLEDGE_SECONDS", 0.1)
    result = await world.alice.click(world.message, custom_id=world.buttons()[button])
    callbacks = [r for r in world.env.http_requests if r.path.endswith("/callback")]
    assert callbacks[-1].json["type"] == 5
    assert result.response is not None
    assert ("Stopping it" if button == "cancel" else "prompt: a red apple") in result.response.content
