"""Messages that have to go, go: through outages and restarts, and without holding up pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.chat.delivery import REMIND_SECONDS
from bot.chat.doomed import DELETE_SECONDS
from bot.job import JobState

if TYPE_CHECKING:
    from conftest import World

DELETES = "/channels/*/messages/*"


async def deliver(world: World, prompt: str = "a red apple") -> str:
    before = {message.id for message in world.messages()}
    await world.alice.slash(world.channel, "imagine", prompt=prompt)
    await world.drawing()
    (message,) = [m for m in world.messages() if m.id not in before]
    job_id = world.job_id(message)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    return job_id


async def doom(world: World, job_id: str) -> None:
    await world.studio.delete(job_id, by=world.alice.id)
    world.bot.delivery.doomed_added()


async def nothing_is_doomed(world: World) -> bool:
    await world.settled()
    return list(await world.studio.doomed()) == []


async def test_a_doomed_message_is_deleted(world: World) -> None:
    await doom(world, await deliver(world))
    await world.until(lambda: world.messages() == [])
    assert await nothing_is_doomed(world)


async def test_nobody_has_to_say_so(world: World) -> None:
    job_id = await deliver(world)
    await world.studio.delete(job_id, by=world.alice.id)
    await world.env.advance_time(REMIND_SECONDS + 1)
    await world.until(lambda: world.messages() == [])


async def test_all_messages_of_a_job_go(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a {red, green} apple", count=4)
    await world.drawing()
    job_id = world.job_id()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    assert len(world.messages()) == 2
    await doom(world, job_id)
    await world.settled()
    await world.env.advance_time(DELETE_SECONDS + 0.1)
    await world.until(lambda: world.messages() == [])
    assert await nothing_is_doomed(world)


async def test_a_crash_forgets_none(world: World) -> None:
    job_id = await deliver(world)
    world.env.inject_error("DELETE", DELETES, status=503, times=None)
    await doom(world, job_id)
    await world.settled()
    await world.restart(meanwhile=world.env.backend.faults.clear)
    await world.until(lambda: world.messages() == [])
    assert await nothing_is_doomed(world)


async def test_an_outage_forgets_none(world: World, caplog: pytest.LogCaptureFixture) -> None:
    job_id = await deliver(world)
    world.env.inject_error("DELETE", DELETES, status=503, times=None)
    await doom(world, job_id)
    await world.env.advance_time(REMIND_SECONDS)
    assert len(await world.studio.doomed()) == 1
    assert "could not be deleted yet" in caplog.text
    world.env.backend.faults.clear()
    await world.env.advance_time(REMIND_SECONDS)
    await world.until(lambda: world.messages() == [])
    assert await nothing_is_doomed(world)


@pytest.mark.parametrize(
    ("status", "code", "lines"), [(404, 10008, 0), (404, 10003, 0), (403, 50001, 1), (403, 50013, 1)]
)
async def test_what_is_gone_is_asked_for_once(
    world: World, caplog: pytest.LogCaptureFixture, status: int, code: int, lines: int
) -> None:
    job_id = await deliver(world)
    world.env.inject_error("DELETE", DELETES, status=status, code=code, times=None)
    await doom(world, job_id)
    assert await nothing_is_doomed(world)
    await world.env.advance_time(REMIND_SECONDS)
    assert world.calls("DELETE", "/messages/") == 1
    said = [r.getMessage() for r in caplog.records if "can't be deleted and stays" in r.getMessage()]
    assert len(said) == lines


async def test_many_go_one_after_another_and_a_picture_comes_between(world: World) -> None:
    jobs = [await deliver(world, f"number {number}") for number in range(4)]
    for job_id in jobs:
        await world.studio.delete(job_id, by=world.alice.id)
    world.bot.delivery.doomed_added()
    await world.settled()
    assert world.calls("DELETE", "/messages/") == 1
    await deliver(world, "in between")
    assert world.calls("DELETE", "/messages/") == 1
    await world.env.advance_time(4 * DELETE_SECONDS)
    await world.until(lambda: len(world.messages()) == 1)
    assert "in between" in world.message.content
