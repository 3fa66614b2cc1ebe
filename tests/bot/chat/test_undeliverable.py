"""What can't be posted is kept, ends in a clear state, and nothing goes round in circles."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from bot.job import JobState
from generation.request import ImageRequest

if TYPE_CHECKING:
    from conftest import World

EDITS = "/channels/*/messages/*"
SENDS = "/channels/*/messages"


def lines_about(caplog: pytest.LogCaptureFixture, job_id: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if job_id in r.getMessage() and r.levelno >= logging.WARNING]


async def ask(world: World) -> str:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    return world.job_id()


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        (403, 50001, "I can't see its channel any more"),
        (403, 50013, "I may not write in its channel any more"),
        (404, 10003, "its channel was deleted"),
        (404, 10008, "its message was deleted"),
        (403, 50007, "you accept no direct messages from me"),
        (403, 20009, "Discord refused it (403, code 20009)"),
        (403, 40333, "Discord refused it (403, code 40333)"),
    ],
)
async def test_a_picture_that_cannot_be_posted_is_kept(
    world: World, caplog: pytest.LogCaptureFixture, status: int, code: int, why: str
) -> None:
    job_id = await ask(world)
    world.env.inject_error("PATCH", EDITS, status=status, code=code, times=None)
    before = world.calls("PATCH", "/messages/")
    world.worker.finish()
    job = await world.wait_for_state(JobState.FAILED, job_id)
    await world.env.advance_time(1300)

    assert job.error == f"It could not be posted: {why}."
    assert job.delivered_at is not None
    assert world.calls("PATCH", "/messages/") == before + 1, "asked once"
    assert lines_about(caplog, job_id) == [f"job {job_id} cannot be delivered: {job.error}"]
    (image,) = await world.studio.images(job_id)
    assert image.path.is_file()


async def test_it_is_kept_over_a_restart_and_not_tried_again(world: World) -> None:
    job_id = await ask(world)
    world.env.backend.delete_message(world.channel.id, world.message.id)
    world.worker.finish()
    await world.wait_for_state(JobState.FAILED, job_id)
    requests = world.calls("PATCH", "/messages/") + world.calls("POST", "/messages$")
    await world.restart()
    await world.settled()
    await world.env.advance_time(1300)
    assert world.calls("PATCH", "/messages/") + world.calls("POST", "/messages$") == requests
    (image,) = await world.studio.images(job_id)
    assert image.path.is_file()


async def test_what_was_not_drawn_yet_leaves_nothing(world: World) -> None:
    job_id = await ask(world)
    world.env.backend.delete_message(world.channel.id, world.message.id)
    world.worker.step()
    await world.settled()
    await world.env.advance_time(5)
    await world.until(lambda: world.worker.current is None, "the job goes on")
    await world.wait_for_state(JobState.FAILED, job_id)
    assert await world.studio.images(job_id) == []
    await world.until(lambda: not (world.folder / "images" / job_id).exists())


async def test_the_message_of_a_delivered_picture_can_be_deleted(world: World) -> None:
    job_id = await ask(world)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    world.env.backend.delete_message(world.channel.id, world.message.id)
    requests = len(world.env.http_requests)
    await world.restart()
    await world.env.advance_time(1300)
    assert world.messages() == []
    late = [r for r in world.env.http_requests[requests:] if "/messages" in r.path]
    assert late == []
    assert (await world.studio.job(job_id)).state is JobState.DELIVERED


async def test_a_reply_in_a_channel_that_cannot_be_answered_ends_its_job(world: World) -> None:
    """It was asked for by a message: there is no interaction to answer through."""
    world.env.inject_error("POST", "/channels/*/messages", status=403, code=50013, times=None)
    submitted = await world.studio.submit(
        ImageRequest(prompt="a red apple", seed=1),
        member_id=world.alice.id,
        guild_id=world.env.guild.id,
        channel_id=world.channel.id,
        interaction_id=world.env.backend.snowflake(),
    )
    assert await world.bot.delivery.publish(submitted.job, submitted.place, None) is False
    job = await world.wait_for_state(JobState.FAILED, submitted.job.id)
    assert job.error == "It could not be posted: I may not write in its channel any more."


async def test_a_first_message_that_can_never_be_sent_ends_the_job(world: World, errors_expected: None) -> None:
    """No place is left to say so; and what fails today fails in ten minutes, too."""
    job_id = await ask(world)
    world.env.inject_error("PATCH", EDITS, status=503, times=None)
    world.worker.finish()
    await world.wait_for_state(JobState.DONE, job_id)

    def forget() -> None:
        world.env.backend.faults.clear()
        world.env.backend.delete_message(world.channel.id, world.message.id)
        world.env.inject_error("POST", SENDS, status=400, code=50035, times=None)
        world.sql("UPDATE jobs SET message_id = NULL")

    await world.restart(meanwhile=forget)
    job = await world.wait_for_state(JobState.FAILED, job_id)
    assert job.error is not None
    assert job.error.startswith("Something went wrong on my side")
    sent = world.calls("POST", r"/channels/\d+/messages$")
    await world.restart()
    await world.env.advance_time(1300)
    assert world.calls("POST", r"/channels/\d+/messages$") == sent


async def test_who_accepts_no_direct_messages_is_answered_where_they_asked(world: World) -> None:
    world.env.inject_error("POST", SENDS, status=403, code=50007, times=None)
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    world.worker.finish()
    await world.until(lambda: any(message.attachments for message in world.messages()))
    assert world.calls("POST", r"/channels/\d+/messages$") == 1


async def test_a_follow_up_that_fails_in_passing_is_tried_again(world: World) -> None:
    world.env.inject_error("POST", SENDS, status=403, code=50013, times=None)
    world.env.inject_error("POST", "/webhooks/*", status=503, times=2)
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.env.advance_time(5)
    await world.drawing()
    world.worker.finish()
    await world.until(lambda: any(message.attachments for message in world.messages()))
    assert len(world.messages()) == 1
