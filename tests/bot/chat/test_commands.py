"""/queue, /cancel and /info."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.job import JobState

if TYPE_CHECKING:
    from conftest import World


async def said(world: World, who: object, command: str, **options: object) -> str:
    result = await who.slash(world.channel, command, **options)  # pyright: ignore
    assert result.ephemeral
    return result.response.content


async def test_the_queue_shows_everybodys_place_and_nobody_elses_prompt(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="alice's secret")
    await world.drawing()
    await world.alice.slash(world.channel, "imagine", prompt="alice's second", count=2)
    await world.bob.slash(world.channel, "imagine", prompt="bob's wish")
    text = await said(world, world.bob, "queue")
    assert f"🎨 {world.alice.mention} · 1 picture" in text
    assert f"{world.alice.mention} · 2 pictures" in text
    assert "you: bob's wish" in text
    assert "alice's" not in text


async def test_members_of_other_servers_are_not_named(world: World) -> None:
    elsewhere = world.env.create_guild("elsewhere")
    channel = elsewhere.create_text_channel("studio")
    carol = elsewhere.add_member(world.env.create_user("carol"))
    await carol.slash(channel, "imagine", prompt="carol's")
    await world.drawing()
    text = await said(world, world.bob, "queue")
    assert "somebody elsewhere" in text
    assert str(carol.id) not in text


async def test_an_empty_queue(world: World) -> None:
    assert await said(world, world.bob, "queue") == "Nothing is waiting: the next picture starts at once."


async def test_cancel_by_option_with_autocomplete(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="first")
    await world.drawing()
    await world.alice.slash(world.channel, "imagine", prompt="second")
    await world.bob.slash(world.channel, "imagine", prompt="bob's")

    offered = await world.alice.autocomplete(world.channel, "cancel", "job", "")
    assert [choice["name"] for choice in offered] == ["being drawn: first", "waiting: second"]
    found = await world.alice.autocomplete(world.channel, "cancel", "job", "SECOND")
    assert [choice["name"] for choice in found] == ["waiting: second"]
    assert await said(world, world.alice, "cancel", job=found[0]["value"]) == "Stopped."
    assert (await world.studio.job(found[0]["value"])).state is JobState.CANCELLED


async def test_cancel_without_option_stops_the_only_one(world: World) -> None:
    nothing = "Nothing of yours is waiting, being drawn or being trained."
    assert await said(world, world.alice, "cancel") == nothing
    await world.alice.slash(world.channel, "imagine", prompt="first")
    await world.drawing()
    assert await said(world, world.bob, "cancel") == nothing
    assert await said(world, world.alice, "cancel") == "Stopping it at the next step."
    await world.until(lambda: "Stopped." in world.message.content)
    await world.alice.slash(world.channel, "imagine", prompt="second")
    await world.alice.slash(world.channel, "imagine", prompt="third")
    assert "choose one" in await said(world, world.alice, "cancel")


async def test_cancel_of_somebody_elses_or_nonsense(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="first")
    await world.drawing()
    assert "Only the person who asked" in await said(world, world.bob, "cancel", job=world.job_id())
    assert "don't know this picture" in await said(world, world.bob, "cancel", job="../../x")
    assert "not known here" in await said(world, world.bob, "cancel", job="abc")


async def test_info(world: World) -> None:
    await world.settled()
    text = await said(world, world.bob, "info")
    assert "Atelier" in text
    assert "Model: fake" in text
    assert "64×64, 4 steps, guidance 7.5" in text
    assert "The model is ready." in text
    assert "sent nowhere else" in text
