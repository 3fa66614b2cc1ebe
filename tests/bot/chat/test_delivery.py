"""Every picture arrives, once: restarts, lost workers, lost permissions, errors of Discord."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import aiohttp
import discord
import pytest
from PIL import Image
from simcord.backend.serializers import channel_payload

from bot.chat.delivery import FOLLOW_UP_SECONDS, REMIND_SECONDS
from bot.chat.edits import FINAL_ATTEMPTS
from bot.job import JobState

if TYPE_CHECKING:
    from conftest import World

EDITS = "/channels/*/messages/*"
SENDS = "/channels/*/messages"


def delivered(world: World) -> bool:
    return any(" seed" in text for text in world.texts())


async def ask(world: World, prompt: str = "a red apple", **options: object) -> None:
    await world.alice.slash(world.channel, "imagine", prompt=prompt, **options)
    await world.drawing()


def restrict_by_age(world: World) -> None:
    """simcord knows no age-restricted channels, so the gateway's event says it."""
    backend = world.env.backend
    payload = dict(channel_payload(backend, backend.get_channel(world.channel.id)))
    backend.emit("CHANNEL_UPDATE", {**payload, "nsfw": True})


def take_away_sending(world: World) -> None:
    assert world.bot.user is not None
    nothing = discord.PermissionOverwrite(send_messages=False)
    world.channel = world.env.guild.create_text_channel("read-only", overwrites={world.bot.user: nothing})


# ── restarts ──


async def test_done_but_not_shown_is_shown_after_a_restart_in_the_same_message(world: World) -> None:
    await ask(world)
    before = world.message.id
    world.env.inject_error("PATCH", EDITS, status=503, times=None)
    world.worker.finish()
    await world.wait_for_state(JobState.DONE)
    await world.settled()
    await world.restart(meanwhile=world.env.backend.faults.clear)
    job = await world.wait_for_state(JobState.DELIVERED)

    assert world.message.id == before == job.message_id
    assert len(world.message.attachments) == 1
    patches = world.calls("PATCH", "/messages/")
    await world.restart()
    await world.settled()
    await world.env.advance_time(60)
    assert world.calls("PATCH", "/messages/") == patches, "told once"


async def test_a_message_whose_id_was_not_stored_is_found_by_its_buttons(world: World) -> None:
    """The bot was killed between sending the message and storing its id."""
    await ask(world)
    before = world.message.id
    job_id = world.job_id()

    def forget() -> None:
        world.sql("UPDATE jobs SET message_id = NULL")

    await world.restart(meanwhile=forget)
    await world.drawing()
    await world.until(lambda: world.env.backend.get_message(world.channel.id, before))
    world.worker.finish()
    job = await world.wait_for_state(JobState.DELIVERED, job_id)
    assert world.message.id == before == job.message_id
    assert world.calls("POST", r"/channels/\d+/messages$") == 1


async def test_a_job_without_a_message_gets_one_after_a_restart(world: World) -> None:
    """The bot was killed before it sent the message."""
    await ask(world)
    job_id = world.job_id()

    def forget() -> None:
        world.sql("UPDATE jobs SET message_id = NULL")
        world.env.backend.delete_message(world.channel.id, world.message.id)

    await world.restart(meanwhile=forget)
    await world.drawing()
    world.worker.finish()
    job = await world.wait_for_state(JobState.DELIVERED, job_id)
    assert world.message.id == job.message_id
    sent = [r for r in world.env.http_requests if r.method == "POST" and r.path.endswith("/messages")]
    assert sent[-1].json["nonce"] == f"{job_id}:0"
    assert sent[-1].json["enforce_nonce"] is True


async def test_killed_while_drawing_is_drawn_again_into_the_same_message(world: World) -> None:
    await ask(world)
    before = world.message.id
    world.worker.step(2)
    await world.restart()
    await world.drawing()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    assert world.message.id == before
    assert "4 steps" in world.message.content


async def test_a_failure_is_told_after_a_restart_once(world: World) -> None:
    await ask(world)
    world.env.inject_error("PATCH", EDITS, status=503, times=None)
    world.worker.fail("The model drew nothing.")
    await world.wait_for_state(JobState.FAILED)
    await world.settled()
    await world.restart(meanwhile=world.env.backend.faults.clear)
    await world.until(lambda: "The model drew nothing." in world.message.content)
    assert (await world.job()).delivered_at is not None


# ── the worker ──


async def test_a_lost_worker_is_said_and_then_the_picture_comes(world: World) -> None:
    await ask(world, steps=10)
    world.worker.step(5)
    await world.settled()
    await world.env.advance_time(5)
    assert "step 5/10" in world.message.content
    world.worker.die(back=False)
    await world.settled()
    await world.env.advance_time(5)
    assert "The drawing process stopped and is being started again" in world.message.content
    assert world.message.attachments == [], "the half-drawn preview is gone"

    world.worker.come_back()
    await world.drawing()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    assert "10 steps" in world.message.content


async def test_a_model_that_cannot_be_loaded_is_said(world: World, errors_expected: None) -> None:
    world.worker.fail_to_load("there is no folder /models/nothing")
    await world.settled()
    result = await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    assert result.response is not None
    assert "The model can't be loaded: there is no folder /models/nothing." in result.response.content


async def test_a_failed_picture_says_why_and_offers_another_try(world: World) -> None:
    await ask(world)
    world.worker.fail("The picture could not be checked, so it is not shown.")
    await world.until(lambda: "could not be checked" in world.message.content)
    assert set(world.buttons()) == {"again", "delete"}
    assert world.message.attachments == []


# ── Discord's errors ──


@pytest.mark.parametrize("status", [500, 503])
async def test_a_final_edit_is_tried_again_without_a_second_message(world: World, status: int) -> None:
    await ask(world)
    world.env.inject_error("PATCH", EDITS, status=status, times=2)
    world.worker.finish()
    await world.wait_for_state(JobState.DONE)
    await world.settled()
    await world.env.advance_time(0.5)
    await world.settled()
    await world.env.advance_time(1)
    await world.wait_for_state(JobState.DELIVERED)
    assert len(world.messages()) == 1


async def test_the_first_message_is_tried_again(world: World) -> None:
    world.env.inject_error("POST", SENDS, status=503, times=2)
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    assert world.messages() == []
    await world.env.advance_time(1.5)
    await world.drawing()
    assert (await world.job()).message_id == world.message.id


async def test_without_permission_to_send_the_answer_is_a_follow_up(world: World) -> None:
    take_away_sending(world)
    result = await world.alice.slash(world.channel, "imagine", prompt="a red apple")

    assert [f.content.split("\n")[0] for f in result.followups if not f.ephemeral] == [
        f"**a red apple** – {world.alice.mention}"
    ]
    assert any("I can't write in this channel" in f.content for f in result.followups if f.ephemeral)
    await world.drawing()
    world.worker.finish()
    await world.until(lambda: "4 steps" in result.followups[0].content)
    assert len(result.followups[0].attachments) == 1
    assert world.calls("POST", r"/channels/\d+/messages$") == 0


async def test_a_follow_up_that_takes_too_long_is_ended_in_time(world: World) -> None:
    take_away_sending(world)
    result = await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    await world.env.advance_time(FOLLOW_UP_SECONDS + 1)
    await world.until(lambda: "longer than the 15 minutes" in result.followups[0].content)
    await world.until(lambda: world.worker.current is None, "the job goes on")


async def test_a_deleted_channel_ends_the_job_with_one_log_line(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await ask(world, steps=20)
    job_id = world.job_id()
    world.env.backend.delete_channel(world.channel.id)
    await world.settled()
    before = len(world.env.http_requests)
    world.worker.step()
    await world.settled()
    await world.env.advance_time(60)
    await world.until(lambda: world.worker.current is None, "the job goes on")
    await world.env.advance_time(600)

    assert len(world.env.http_requests) - before == 1, "one request told us; no more followed"
    lines = [r.getMessage() for r in caplog.records if job_id in r.getMessage() and r.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert (await world.studio.job(job_id)).state.ended


async def test_a_deleted_message_ends_the_job(world: World) -> None:
    await ask(world)
    job_id = world.job_id()
    world.env.backend.delete_message(world.channel.id, world.message.id)
    world.worker.finish()
    await world.settled()
    await world.env.advance_time(600)
    assert world.messages() == []
    assert await world.studio.undelivered() == []
    assert (await world.studio.job(job_id)).delivered_at is not None


async def test_a_file_that_discord_calls_too_large_is_sent_smaller(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.chat.results._MUCH_SMALLER", 1000)
    await ask(world)
    world.worker.step(4)
    await world.settled()
    await world.env.advance_time(5)
    world.env.inject_error("PATCH", EDITS, status=413, code=40005, times=1)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    (attachment,) = world.message.attachments
    assert attachment.filename == f"atelier-{world.job_id()}-1.webp"


async def test_a_bug_in_one_delivery_is_said_and_logged_and_the_next_works(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    errors_expected: None,
) -> None:
    await ask(world, "a secret wish")
    job_id = world.job_id()
    with monkeypatch.context() as patched:
        patched.setattr("bot.chat.attachments.picture", lambda *_, **__: 1 / 0)
        world.worker.finish()
        await world.until(lambda: "Something went wrong on my side" in world.message.content)
    assert f"(reference {job_id})" in world.message.content
    assert job_id in caplog.text
    assert "a secret wish" not in caplog.text
    await world.alice.slash(world.channel, "imagine", prompt="another")
    await world.drawing()
    world.worker.finish()
    await world.until(lambda: delivered(world))


async def test_a_dead_delivery_stops_the_client(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    errors_expected: None,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(world.bot.delivery, "_started", broken)
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.until(world.bot.is_closed)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.CRITICAL] == [
        "delivery died: ExceptionGroup"
    ]


async def test_what_was_given_up_in_an_outage_is_tried_again_later(world: World, errors_expected: None) -> None:
    await ask(world)
    world.env.inject_error("PATCH", EDITS, status=503, times=None)
    world.worker.finish()
    await world.wait_for_state(JobState.DONE)
    await world.settled()
    await world.env.advance_time(REMIND_SECONDS - 60)
    tried = world.calls("PATCH", "/messages/")
    assert tried >= FINAL_ATTEMPTS
    world.env.backend.faults.clear()
    await world.env.advance_time(61)
    await world.wait_for_state(JobState.DELIVERED)
    assert world.calls("PATCH", "/messages/") == tried + 1


@pytest.mark.parametrize("error", [aiohttp.ClientConnectionError("no route"), ConnectionResetError("reset")])
async def test_commands_that_cannot_be_sent_are_no_reason_not_to_start(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    errors_expected: None,
    error: Exception,
) -> None:
    async def sync(**_: object) -> None:
        raise error

    monkeypatch.setattr(world.bot.tree, "sync", sync)
    await world.bot._sync_commands()  # pyright: ignore[reportPrivateUsage]
    assert "the commands could not be sent to Discord" in caplog.text


# ── what may be shown ──


async def test_an_explicit_picture_is_withheld(world: World) -> None:
    world.worker.nsfw = 0.9
    await ask(world)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    assert world.message.attachments == []
    assert "may be explicit, so it is not shown here" in world.message.content


async def test_in_an_age_restricted_channel_it_is_a_spoiler(world: World) -> None:
    restrict_by_age(world)
    world.worker.nsfw = 0.7
    await ask(world)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    (attachment,) = world.message.attachments
    assert attachment.filename.startswith("SPOILER_")
    assert attachment.is_spoiler()


async def test_what_began_as_somebodys_picture_is_withheld_even_there(world: World) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(out, "PNG")
    restrict_by_age(world)
    world.worker.nsfw = 0.9
    await ask(world, image=("me.png", out.getvalue()))
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    assert world.message.attachments == []


async def test_one_picture_of_several_that_is_below_the_threshold_is_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = world.worker._draw  # pyright: ignore[reportPrivateUsage]

    def scored(request: object, index: int, path: object) -> object:
        world.worker.nsfw = 0.69 if index else 0.71
        return draw(request, index, path)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(world.worker, "_draw", scored)
    await ask(world, count=2)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    (attachment,) = world.message.attachments
    assert attachment.description == "A generated picture, 2 of 2: a red apple"
    assert "1 of 2 pictures may be explicit" in world.message.content
