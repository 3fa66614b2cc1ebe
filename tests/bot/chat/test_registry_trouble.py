"""While the records can't be used, pictures come all the same, and what is to be stored is stored later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bot.chat.chores import REGISTRY_SECONDS
from bot.chat.delivery import REMIND_SECONDS
from bot.errors import DiskFull, NotFound, RegistryBusy, RegistryTrouble, RegistryUnwritable
from bot.job import JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World


def delivered(world: World) -> bool:
    return any(" seed" in text for text in world.texts())


async def ask(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()


def break_registry(world: World, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception) -> Callable[[], int]:
    """`Studio.method` fails with `error` until `monkeypatch.undo()`. Returns how often it was tried."""
    tries = 0

    async def broken(*_: object, **__: object) -> Any:
        nonlocal tries
        tries += 1
        raise error

    monkeypatch.setattr(world.studio, method, broken)
    return lambda: tries


@pytest.mark.parametrize("trouble", [RegistryBusy, DiskFull, RegistryUnwritable])
async def test_what_is_shown_stays_shown_though_that_cannot_be_stored(
    world: World, monkeypatch: pytest.MonkeyPatch, trouble: type[RegistryTrouble]
) -> None:
    await ask(world)
    with monkeypatch.context() as patched:
        tries = break_registry(world, patched, "mark_delivered", trouble())
        world.worker.finish()
        await world.until(lambda: delivered(world))
        await world.env.advance_time(60)
        assert tries() > 3
    before = world.calls("PATCH", "/messages/")
    await world.env.advance_time(REGISTRY_SECONDS)
    await world.wait_for_state(JobState.DELIVERED)
    assert len(world.message.attachments) == 1
    assert world.calls("PATCH", "/messages/") == before, "uploaded once"


async def test_a_message_whose_id_cannot_be_stored_yet_is_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        tries = break_registry(world, patched, "attach_message", RegistryBusy())
        result = await world.alice.slash(world.channel, "imagine", prompt="a red apple")
        assert tries() > 0
    assert result.response is not None
    assert "try again" not in result.response.content
    assert result.followups == []
    await world.env.advance_time(REGISTRY_SECONDS)
    await world.drawing()
    assert (await world.job()).message_id == world.message.id
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)


async def test_a_done_job_gets_its_message_though_its_id_cannot_be_stored(world: World) -> None:
    await ask(world)
    world.worker.finish()
    job_id = (await world.wait_for_state(JobState.DELIVERED)).id

    await world.settled()
    await world.close_studio()
    world.sql("UPDATE jobs SET message_id = NULL, delivered_at = NULL, state = 'done'")
    world.sql("UPDATE images SET message_id = NULL")
    world.env.backend.delete_message(world.channel.id, world.message.id)
    forgotten = await world.open_studio()
    patched = pytest.MonkeyPatch()
    break_registry(world, patched, "attach_message", RegistryBusy())
    await world.env.restart_bot(forgotten)
    await world.until(lambda: delivered(world))
    patched.undo()
    await world.env.advance_time(REGISTRY_SECONDS)
    job = await world.wait_for_state(JobState.DELIVERED, job_id)
    assert len(world.message.attachments) == 1
    assert [job.message_id] == [image.message_id for image in await world.studio.images(job_id)] == [world.message.id]


async def test_a_job_that_cannot_be_looked_up_gets_its_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        tries = break_registry(world, patched, "job", RegistryBusy())
        result = await world.alice.slash(world.channel, "imagine", prompt="a red apple")
        assert tries() == 1
    assert result.followups == []
    assert world.message.content.startswith("**a red apple**")


async def test_a_deleted_message_ends_the_job_when_the_registry_can(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(world)
    job_id = world.job_id()
    world.env.backend.delete_message(world.channel.id, world.message.id)
    with monkeypatch.context() as patched:
        tries = break_registry(world, patched, "mark_undeliverable", RegistryBusy())
        world.worker.finish()
        await world.until(tries)
        assert not world.bot.is_closed()
    await world.env.advance_time(REGISTRY_SECONDS)
    await world.settled()
    assert (await world.studio.job(job_id)).delivered_at is not None


async def test_records_that_cannot_be_read_do_not_end_the_bot(
    world: World, monkeypatch: pytest.MonkeyPatch, errors_expected: None
) -> None:
    for error in (RegistryBusy(), ValueError("a row that can't be read")):
        with monkeypatch.context() as patched:
            tries = break_registry(world, patched, "replay", error)
            await world.env.advance_time(REMIND_SECONDS + 1)
            assert tries() == 1
    assert not world.bot.is_closed()
    await ask(world)


async def test_what_was_left_untold_is_taken_up_when_the_registry_can(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(world)
    job_id = world.job_id()
    await world.settled()
    await world.close_studio()
    world.sql("UPDATE jobs SET message_id = NULL")
    world.env.backend.delete_message(world.channel.id, world.message.id)
    again = await world.open_studio(hold=False)
    with monkeypatch.context() as patched:
        tries = break_registry(world, patched, "undelivered", RegistryBusy())
        await world.env.restart_bot(again)
        await world.until(tries)
        assert world.messages() == []
    await world.env.advance_time(REGISTRY_SECONDS)
    await world.wait_for_state(JobState.DELIVERED, job_id)
    assert len(world.message.attachments) == 1


async def test_a_message_of_a_job_that_was_deleted_meanwhile_goes_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its member was forgotten between asking and the message."""
    break_registry(world, monkeypatch, "attach_message", NotFound())
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.until(lambda: world.messages() == [])
