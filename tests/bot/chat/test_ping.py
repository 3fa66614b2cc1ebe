"""After a long wait the member is mentioned, once, and only they; who doesn't want that is not."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING

import discord
import pytest

from bot.errors import RegistryBusy
from bot.job import Job, JobState
from bot.registry.registry import DATABASE

if TYPE_CHECKING:
    from conftest import World

SENDS = "/channels/*/messages"


async def ask_and_wait(world: World, seconds: int = 61, **options: object) -> str:
    """A picture that will have taken so long. Returns the job's id."""
    await world.alice.slash(world.channel, "imagine", prompt="a red apple", **options)
    await world.drawing()
    job_id = world.job_id()
    await waited(world, job_id, seconds)
    return job_id


async def waited(world: World, job_id: str, seconds: int) -> None:
    """Both clocks: ours, in the records, and Discord's, in its ids."""
    world.sql(f"UPDATE jobs SET created_at = datetime(created_at, '-{seconds} seconds') WHERE id = ?", job_id)
    await world.env.advance_time(seconds)


def pings(world: World) -> list[discord.Message]:
    return [message for message in world.messages() if message.reference is not None]


async def test_a_long_job_ends_with_a_mention_of_its_member_only(world: World) -> None:
    job_id = await ask_and_wait(world)
    world.worker.finish()
    job = await world.wait_for_state(JobState.DELIVERED, job_id)

    (ping,) = pings(world)
    assert ping.content == f"{world.alice.mention} your picture is ready.\n-# /preferences turns this off"
    assert ping.reference is not None
    assert ping.reference.message_id == job.message_id
    (sent,) = [r for r in world.env.http_requests if r.method == "POST" and "is ready" in str(r.json)]
    assert sent.json["allowed_mentions"] == {"parse": [], "users": [world.alice.id]}
    assert (sent.json["nonce"], sent.json["enforce_nonce"]) == (f"{job_id}:p", True)


async def test_a_quick_job_ends_without(world: World) -> None:
    job_id = await ask_and_wait(world, 50)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    await world.settled()
    assert pings(world) == []


async def test_a_failure_is_worth_a_mention_too(world: World) -> None:
    job_id = await ask_and_wait(world, count=2)
    world.worker.fail("The model drew nothing.")
    await world.until(lambda: pings(world))
    assert pings(world)[0].content.startswith(f"{world.alice.mention} your pictures could not be made.")
    await world.wait_for_state(JobState.FAILED, job_id)


async def test_nobody_is_sent_to_a_picture_that_is_withheld(world: World) -> None:
    world.worker.nsfw = 0.9
    job_id = await ask_and_wait(world)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    (ping,) = pings(world)
    assert ping.content.startswith(f"{world.alice.mention} your picture is done, but can't be shown here.")


async def test_what_was_stopped_is_not(world: World) -> None:
    await ask_and_wait(world)
    await world.alice.click(world.message, custom_id=world.buttons()["cancel"])
    await world.until(lambda: "Stopped." in world.texts()[0])
    await world.settled()
    assert pings(world) == []


async def test_who_does_not_want_it_is_not_mentioned(world: World) -> None:
    await world.studio.members.set_ping(world.alice.id, False)
    job_id = await ask_and_wait(world)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    assert pings(world) == []


async def test_nor_is_anybody_while_their_wish_is_not_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(_: int) -> bool:
        raise RegistryBusy

    monkeypatch.setattr(world.studio.members, "ping", busy)
    job_id = await ask_and_wait(world)
    world.worker.finish()
    await world.until(lambda: world.messages()[0].attachments)
    await world.env.advance_time(10)
    await world.wait_for_state(JobState.DELIVERED, job_id)
    assert pings(world) == []


@pytest.mark.parametrize("pinged", [True, False])
async def test_a_restart_before_the_end_was_stored_mentions_once(world: World, pinged: bool) -> None:
    job_id = await ask_and_wait(world)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)

    def forget() -> None:
        world.sql("UPDATE jobs SET delivered_at = NULL, state = 'done'")
        if not pinged:
            world.env.backend.delete_message(world.channel.id, pings(world)[0].id)

    await world.restart(meanwhile=forget)
    await world.wait_for_state(JobState.DELIVERED, job_id)
    assert len(pings(world)) == 1


@pytest.mark.parametrize(("status", "code"), [(403, 50013), (400, 50035), (503, 0)])
async def test_a_mention_that_fails_does_not_hold_up_the_end(
    world: World, caplog: pytest.LogCaptureFixture, status: int, code: int
) -> None:
    caplog.set_level(logging.INFO)
    job_id = await ask_and_wait(world)
    world.env.inject_error("POST", SENDS, status=status, code=code, times=None)
    world.worker.finish()
    await world.until(lambda: world.message.attachments)
    await world.settled()
    await world.env.advance_time(10)
    await world.wait_for_state(JobState.DELIVERED, job_id)
    assert f"job {job_id}: its member could not be mentioned" in caplog.text
    told = [r for r in world.env.http_requests if r.method == "PATCH" and "seed" in str(r.json)]
    assert len(told) == 1


async def test_it_is_tried_again_where_that_helps(world: World) -> None:
    job_id = await ask_and_wait(world)
    world.env.inject_error("POST", SENDS, status=503, times=2)
    world.worker.finish()
    await world.until(lambda: world.messages()[0].attachments)
    await world.settled()
    await world.env.advance_time(5)
    await world.wait_for_state(JobState.DELIVERED, job_id)
    assert len(pings(world)) == 1


async def test_in_direct_messages_nobody_needs_it(world: World) -> None:
    dana = world.env.create_user("dana")
    await dana.slash("imagine", prompt="a red apple")
    await world.drawing()
    world.channel = dana.dm_channel
    job_id = world.job_id()
    await waited(world, job_id, 61)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    assert len(world.message.attachments) == 1, "the only message"


async def test_the_mention_is_deleted_with_its_job(world: World) -> None:
    job_id = await ask_and_wait(world)
    world.worker.finish()
    job = await world.wait_for_state(JobState.DELIVERED, job_id)
    (ping,) = pings(world)
    await world.until(lambda: doomable(world, job_id) == ping.id)
    await world.studio.delete(job_id, by=world.alice.id)
    assert {doomed.message_id for doomed in await world.studio.doomed()} == {job.message_id, ping.id}


async def test_a_mention_of_a_job_that_was_deleted_meanwhile_does_not_stay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await ask_and_wait(world)
    send = world.bot.delivery._results._messages.ping  # pyright: ignore[reportPrivateUsage]

    async def deleted_meanwhile(job: Job, message_id: int, text: str) -> discord.Message:
        sent = await send(job, message_id, text)
        world.sql("DELETE FROM jobs WHERE id = ?", job_id)
        return sent

    monkeypatch.setattr(world.bot.delivery._results._messages, "ping", deleted_meanwhile)  # pyright: ignore[reportPrivateUsage]
    world.worker.finish()
    await world.until(lambda: world.calls("DELETE", "/channels/.*/messages/") == 1)
    assert pings(world) == []


def doomable(world: World, job_id: str) -> int | None:
    """The mention that the records know."""
    with sqlite3.connect(world.folder / DATABASE) as connection:
        (known,) = connection.execute("SELECT mention_id FROM jobs WHERE id = ?", (job_id,)).fetchone()
    connection.close()
    return known
