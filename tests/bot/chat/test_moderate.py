"""/moderate, /preferences, and a member's own limit in /queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
import pytest
from simcord.backend.errors import SetupError
from simcord.builders import UserHandle

from bot.job import JobState

if TYPE_CHECKING:
    from conftest import World
    from simcord.actors import MemberActor

BLOCKED = "A moderator of this server has blocked you from asking for pictures here."


@pytest.fixture
def carol(world: World) -> MemberActor:
    """A moderator."""
    guild = world.env.guild
    moderators = guild.create_role("mods", permissions=discord.Permissions(moderate_members=True))
    return guild.add_member(world.env.create_user("carol"), roles=[moderators])


async def said(world: World, who: MemberActor, command: str, **options: object) -> str:
    result = await who.slash(world.channel, command, **options)
    assert result.ephemeral
    assert result.response is not None
    return result.response.content


async def done(world: World, who: MemberActor) -> str:
    await who.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    assert world.worker.current is not None
    job_id = world.worker.current.job
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    await world.settled()
    return job_id


async def test_a_blocked_member_gets_one_sentence(world: World, carol: MemberActor) -> None:
    job_id = await done(world, world.alice)
    message = world.message
    assert await said(world, carol, "moderate block", member=world.bob, reason="spam") == (
        f"{world.bob.mention} can't ask for pictures in this server any more."
    )
    assert await said(world, world.bob, "imagine", prompt="x") == BLOCKED
    pressed = await world.bob.click(message, custom_id=f"atelier:again:{job_id}:0")
    assert pressed.response is not None
    assert pressed.response.content == BLOCKED
    assert list(await world.studio.open_jobs(world.bob.id)) == []
    assert list((world.folder / "images").iterdir()) == [world.folder / "images" / job_id]
    assert await said(world, carol, "moderate unblock", member=world.bob) == (
        f"{world.bob.mention} may ask for pictures in this server again."
    )
    await world.bob.slash(world.channel, "imagine", prompt="x")
    await world.drawing()


async def test_only_in_that_server(world: World, carol: MemberActor) -> None:
    elsewhere = world.env.create_guild("elsewhere")
    channel = elsewhere.create_text_channel("studio")
    there = elsewhere.add_member(world.bob.user)
    await there.slash(channel, "imagine", prompt="there")
    await world.drawing()
    await world.bob.slash(world.channel, "imagine", prompt="here")
    await world.settled()
    assert await said(world, carol, "moderate block", member=world.bob) == (
        f"{world.bob.mention} can't ask for pictures in this server any more. 1 request of theirs was stopped."
    )
    (left,) = await world.studio.open_jobs(world.bob.id)
    assert left.guild_id == elsewhere.id
    await world.until(lambda: any("Stopped." in text for text in world.texts()))
    await there.slash(channel, "imagine", prompt="there again")
    await world.settled()
    assert len(await world.studio.open_jobs(world.bob.id)) == 2


async def test_it_outlives_a_restart_and_forgetting(world: World, carol: MemberActor) -> None:
    await said(world, carol, "moderate block", member=world.bob)
    await world.restart()
    asked = await world.bob.slash(world.channel, "forget-me")
    assert asked.response is not None
    await world.bob.click(asked.response, custom_id="atelier:forget-me:all")
    assert await said(world, world.bob, "imagine", prompt="x") == BLOCKED


async def test_who_is_blocked_by_whom_and_why(world: World, carol: MemberActor) -> None:
    assert await said(world, carol, "moderate blocked") == "Nobody is blocked in this server."
    await said(world, carol, "moderate block", member=world.bob, reason="@everyone **spam** " + "x" * 900)
    text = await said(world, carol, "moderate blocked")
    assert text.startswith(f"{world.bob.mention} · <t:")
    assert f"by {carol.mention} · @\u200beveryone" in text
    assert len(text) < 300
    await said(world, carol, "moderate block", member=world.bob)
    assert (await said(world, carol, "moderate blocked")).endswith("no reason given")


async def test_a_long_list_fits(world: World, carol: MemberActor) -> None:
    for member_id in range(1, 61):
        await world.studio.members.block(world.env.guild.id, 10**18 + member_id, by=carol.id, reason="*" * 1000)
    text = await said(world, carol, "moderate blocked")
    assert len(text) <= 2000
    rows = text.split("\n")
    assert rows[-1] == f"… and {60 - len(rows) + 1} more"
    assert len(rows) > 5


async def test_not_oneself_and_not_the_bot(world: World, carol: MemberActor) -> None:
    assert await said(world, carol, "moderate block", member=carol) == "You can't block yourself."
    bot = UserHandle(world.env, world.env.backend.bot_user)
    result = await carol.slash(world.channel, "moderate block", member=bot)
    assert result.response is not None
    assert result.response.content == "I can't block myself."
    assert list(await world.studio.members.blocked(world.env.guild.id)) == []


async def test_unblocking_whom_nobody_blocked(world: World, carol: MemberActor) -> None:
    assert await said(world, carol, "moderate unblock", member=world.bob) == ("They are not blocked in this server.")


async def test_discord_shows_it_to_moderators_only(world: World) -> None:
    with pytest.raises(SetupError, match="default-member-permissions"):
        await world.bob.slash(world.channel, "moderate block", member=world.alice)
    with pytest.raises(SetupError):
        await world.bob.user.slash("moderate blocked")


# ── /preferences ──


async def test_the_ping_can_be_turned_off_and_stays_off(world: World) -> None:
    on = "When a picture or training of yours took more than a minute, I mention you at its end."
    on += " `ping: False` ends that."
    off = "I don't mention you when a picture or training is ready. `ping: True` changes that."
    assert await said(world, world.alice, "preferences") == on
    assert await said(world, world.alice, "preferences", ping=False) == off
    await world.restart()
    assert await said(world, world.alice, "preferences") == off
    assert await world.studio.members.ping(world.bob.id)
    assert await said(world, world.alice, "preferences", ping=True) == on


# ── the limit ──


async def own_limit(world: World) -> str:
    return (await said(world, world.alice, "queue")).split("\n")[-1]


async def test_the_queue_says_how_much_of_the_limit_is_used(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a", count=2)
    await world.drawing()
    await world.alice.slash(world.channel, "imagine", prompt="b", count=4)
    await world.bob.slash(world.channel, "imagine", prompt="c", count=4)
    assert await own_limit(world) == "-# Of your pictures, 6 are waiting or being drawn; 20 is the most."
    assert "Of your pictures" not in await said(
        world, world.env.guild.add_member(world.env.create_user("dora")), "queue"
    )


@pytest.mark.parametrize("end", ["finish", "fail", "cancel"])
async def test_the_limit_is_given_back(world: World, end: str) -> None:
    for prompt in "abcde":
        await world.alice.slash(world.channel, "imagine", prompt=prompt, count=4)
    await world.drawing()
    assert await own_limit(world) == "-# Of your pictures, 20 are waiting or being drawn; 20 is the most."
    assert (await said(world, world.alice, "imagine", prompt="f")).startswith("You already have 20 pictures waiting")
    assert world.worker.current is not None
    job_id = world.worker.current.job
    if end == "finish":
        world.worker.finish()
    elif end == "fail":
        world.worker.fail()
    else:
        await world.studio.cancel(job_id, by=world.alice.id)
    await world.until(lambda: world.worker.current is not None and world.worker.current.job != job_id)
    assert await own_limit(world) == "-# Of your pictures, 16 are waiting or being drawn; 20 is the most."
    assert (await said(world, world.alice, "imagine", prompt="g", count=4)).startswith("Your 4 pictures are")
