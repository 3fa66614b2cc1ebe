"""Jobs of more than four pictures: several messages, each exactly once, whenever the bot is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
import pytest

from bot.job import JobState

if TYPE_CHECKING:
    from conftest import World

SENDS = "/channels/*/messages"


async def ask_for_eight(world: World) -> str:
    """Two prompts of four pictures each. Returns the job's id."""
    await world.alice.slash(world.channel, "imagine", prompt="a {red, green} apple", count=4)
    await world.drawing()
    return world.job_id()


def parts(world: World) -> list[discord.Message]:
    return sorted(world.messages(), key=lambda message: message.id)


def shown(message: discord.Message) -> list[str]:
    return [attachment.filename for attachment in message.attachments]


def names(job_id: str, *numbers: int) -> list[str]:
    return [f"atelier-{job_id}-{number}.png" for number in numbers]


async def check_all_is_there_once(world: World, job_id: str) -> None:
    first, second = parts(world)
    assert shown(first) == names(job_id, 1, 2, 3, 4)
    assert shown(second) == names(job_id, 5, 6, 7, 8)
    images = await world.studio.images(job_id)
    assert [image.message_id for image in images] == [first.id] * 4 + [second.id] * 4


async def test_eight_pictures_come_in_two_messages(world: World) -> None:
    job_id = await ask_for_eight(world)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    await check_all_is_there_once(world, job_id)

    first, second = parts(world)
    assert second.attachments[0].description == "A generated picture, 5 of 8: a green apple"
    assert "1–4 of 8" in first.content
    assert "5–8 of 8" in second.content
    assert world.buttons(first)["again"] == f"atelier:again:{job_id}:0"
    assert world.buttons(second)["again"] == f"atelier:again:{job_id}:4"
    found = await world.studio.of_message(second.id)
    assert found is not None
    assert [image.index for image in found[1]] == [4, 5, 6, 7]
    (send,) = [r for r in world.env.http_requests if r.method == "POST" and f"{job_id}:1" in str(r.json)]
    assert send.json["enforce_nonce"] is True


async def test_killed_before_the_second_message(world: World) -> None:
    job_id = await ask_for_eight(world)
    world.env.inject_error("POST", SENDS, status=503, times=None)
    world.worker.finish()
    await world.until(lambda: world.message.attachments)
    await world.restart(meanwhile=world.env.backend.faults.clear)
    await world.wait_for_state(JobState.DELIVERED, job_id)
    await check_all_is_there_once(world, job_id)


@pytest.mark.parametrize("stored", [False, True])
async def test_killed_after_the_second_message(world: World, stored: bool) -> None:
    """Its id may have been stored before the end or not."""
    job_id = await ask_for_eight(world)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    before = [message.id for message in parts(world)]

    def forget() -> None:
        world.sql("UPDATE jobs SET delivered_at = NULL, state = 'done'")
        world.sql("UPDATE images SET message_id = NULL" + (' WHERE "index" < 4' if stored else ""))
        if stored:  # it needn't be looked for
            world.env.inject_error("GET", SENDS, status=403, code=50001, times=None)

    await world.restart(meanwhile=forget)
    await world.wait_for_state(JobState.DELIVERED, job_id)
    assert [message.id for message in parts(world)] == before
    await check_all_is_there_once(world, job_id)
    assert world.calls("POST", r"/channels/\d+/messages$") == 2


async def test_a_second_message_that_fails_in_passing_is_tried_again_without_the_first(world: World) -> None:
    job_id = await ask_for_eight(world)
    world.env.inject_error("POST", SENDS, status=503, times=2)
    world.worker.finish()
    await world.until(lambda: world.message.attachments)
    edits = world.calls("PATCH", "/messages/")
    await world.settled()
    await world.env.advance_time(5)
    await world.wait_for_state(JobState.DELIVERED, job_id)
    await check_all_is_there_once(world, job_id)
    assert world.calls("PATCH", "/messages/") == edits, "uploaded once"


async def test_a_file_of_a_second_message_that_is_too_large_is_sent_smaller(world: World) -> None:
    job_id = await ask_for_eight(world)
    world.env.inject_error("POST", SENDS, status=413, code=40005, times=1)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    await check_all_is_there_once(world, job_id)


async def test_where_the_bot_may_not_write_both_are_follow_ups(world: World) -> None:
    assert world.bot.user is not None
    nothing = discord.PermissionOverwrite(send_messages=False)
    world.channel = world.env.guild.create_text_channel("read-only", overwrites={world.bot.user: nothing})
    await world.alice.slash(world.channel, "imagine", prompt="a {red, green} apple", count=4)
    await world.drawing()
    job_id = world.worker.current.job if world.worker.current else ""
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    await check_all_is_there_once(world, job_id)
    assert world.calls("POST", r"/channels/\d+/messages$") == 0


async def test_what_was_shown_stays_though_the_rest_cannot_be(world: World, errors_expected: None) -> None:
    job_id = await ask_for_eight(world)
    world.env.inject_error("POST", SENDS, status=400, code=50035, times=None)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    assert shown(world.message) == names(job_id, 1, 2, 3, 4)
    assert all(image.path.is_file() for image in await world.studio.images(job_id))


async def test_a_message_that_is_sent_while_its_job_is_deleted_goes_too(world: World) -> None:
    job_id = await ask_for_eight(world)
    world.env.inject_error("POST", SENDS, status=503, times=2)
    world.worker.finish()
    await world.until(lambda: world.message.attachments)
    asked = await world.alice.click(world.message, custom_id=f"atelier:delete:{job_id}:0")
    assert asked.response is not None
    await world.alice.click(asked.response, custom_id=f"atelier:erase:{job_id}")
    await world.settled()
    await world.env.advance_time(30)
    await world.until(lambda: f"{job_id}:1" in str([r.json for r in world.env.http_requests]))
    await world.settled()
    assert world.messages() == []
