"""The server's process, and the whole way of a command through it, with a real bot process."""

import signal
import time
from typing import Any

import pytest

from tests.bot.playground.client import PlaygroundClient, PlaygroundError


async def test_bot_is_ready_and_its_commands_are_registered(playground: PlaygroundClient, bot: Any) -> None:
    state = await playground.state()
    assert state["bot_connected"]
    assert {"imagine", "cancel"} <= {command["name"] for command in state["commands"]}
    assert [command["name"] for command in state["message_commands"]] == ["Remix this"]
    assert [channel["nsfw"] for channel in state["channels"]] == [False, False, True]


async def test_command_ends_in_pictures(playground: PlaygroundClient, bot: Any, studio: str) -> None:
    answer = await playground.command(studio, "imagine", prompt="a red apple", count=2, steps=3)
    assert answer["state"] == "answered"
    assert answer["ephemeral"]

    async def finished() -> dict[str, Any] | None:
        return next((m for m in await playground.messages(studio) if m["components"]), None)

    message = await playground.until(finished)
    assert [a["filename"] for a in message["attachments"]] == ["image-0.png", "image-1.png"]
    assert message["attachments"][0]["description"] == "a red apple, drawn"
    assert (message["attachments"][0]["width"], message["attachments"][0]["height"]) == (64, 64)
    async with playground.session.get(message["attachments"][0]["url"]) as picture:
        assert picture.content_type == "image/png"
        assert (await picture.read()).startswith(b"\x89PNG")


async def test_attachment_option_reaches_the_bot(playground: PlaygroundClient, bot: Any, studio: str) -> None:
    files = {"image": ("my photo.png", b"x" * 1234)}
    await playground.command(studio, "imagine", files, prompt="a fox", steps=1)

    async def told() -> bool:
        return any("from my_photo.png (1234 bytes)" in m["content"] for m in await playground.messages(studio))

    await playground.until(told)


async def test_ephemeral_answer_is_only_for_its_member(playground: PlaygroundClient, bot: Any, studio: str) -> None:
    await playground.command(studio, "cancel", job="k1")
    robin = (await playground.state())["members"][1]["id"]
    assert [m["content"] for m in await playground.messages(studio)] == ["Cancelled k1."]
    assert await playground.messages(studio, robin) == []


async def test_same_nonce_makes_one_message(playground: PlaygroundClient, bot: Any, studio: str) -> None:
    await playground.command(studio, "twice")

    async def answered() -> list[str]:
        contents = [m["content"] for m in await playground.messages(studio)]
        return contents if len(contents) == 2 else []

    assert await playground.until(answered) == ["number 1", "True"]


async def test_file_over_ten_mebibytes_is_refused_with_discords_error(
    playground: PlaygroundClient, bot: Any, studio: str
) -> None:
    await playground.command(studio, "heavy", mebibytes=10)
    await playground.command(studio, "heavy", mebibytes=11)

    async def answered() -> list[str]:
        contents = [m["content"] for m in await playground.messages(studio) if m["content"]]
        return contents if len(contents) == 2 else []

    assert await playground.until(answered) == ["It fitted.", "413 40005 Request entity too large"]


async def test_unanswered_command_fails_after_three_seconds(
    playground: PlaygroundClient, bot: Any, studio: str
) -> None:
    started = time.monotonic()
    answer = await playground.command(studio, "silent")
    assert answer["state"] == "failed"
    assert time.monotonic() - started > 2.9
    assert await bot.line("late") == "late 10062"


async def test_deferred_answer_becomes_the_message(playground: PlaygroundClient, bot: Any, studio: str) -> None:
    answer = await playground.command(studio, "think", seconds=0.2)
    assert answer["answer"] == "deferred"
    (waiting,) = await playground.messages(studio)
    assert waiting["flags"] & 1 << 7

    async def finished() -> dict[str, Any] | None:
        (message,) = await playground.messages(studio)
        return message if message["embeds"] else None

    message = await playground.until(finished)
    assert message["id"] == waiting["id"] == answer["message"]
    assert message["embeds"][0]["fields"][0]["value"] == "2 jobs"


async def test_autocomplete_offers_choices(playground: PlaygroundClient, bot: Any, studio: str) -> None:
    asked = {"type": "autocomplete", "channel": studio, "name": "cancel", "focused": "job"}
    answer = await playground.act(**asked, value="rock")
    assert answer["choices"] == [{"name": "a rocket", "value": "k2"}]


async def test_buttons_and_form(playground: PlaygroundClient, bot: Any, studio: str) -> None:
    await playground.command(studio, "imagine", prompt="a cat", steps=1)

    async def finished() -> dict[str, Any] | None:
        return next((m for m in await playground.messages(studio) if m["components"]), None)

    message = await playground.until(finished)
    again = await playground.press(message, "demo:again")
    assert again["ephemeral"]
    shown = await playground.press(message, "demo:remix")
    fields = [row["components"][0]["custom_id"] for row in shown["modal"]["components"]]
    values = {fields[0]: "a blue cat", fields[1]: "larger"}
    await playground.act(type="modal", interaction=shown["id"], values=values)
    assert (await playground.messages(studio))[-1]["content"] == "Remix: a blue cat / larger"
    await playground.press(message, "demo:delete")

    async def gone() -> bool:
        return message["id"] not in [m["id"] for m in await playground.messages(studio)]

    await playground.until(gone)


async def test_message_command_reads_the_message(playground: PlaygroundClient, bot: Any, studio: str) -> None:
    message = await playground.say(studio, "make it blue", files={"a.png": b"x"})
    await playground.act(type="context", channel=studio, name="Remix this", message=message["id"])
    assert (await playground.messages(studio))[-1]["content"] == "make it blue 1"


async def test_message_content_is_hidden_without_the_intent(
    playground: PlaygroundClient, bot: Any, studio: str
) -> None:
    await playground.say(studio, "hello", files={"a.png": b"x"})
    assert await bot.line("message") == "message '' 0"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prompt": "x", "guidance": 99}, "guidance"),
        ({}, "prompt"),
        ({"prompt": "x", "colour": "red"}, "colour"),
        ({"prompt": "x", "size": "1x1"}, "size"),
    ],
)
async def test_option_that_discord_would_refuse(
    playground: PlaygroundClient, bot: Any, studio: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(PlaygroundError, match=sentence):
        await playground.command(studio, "imagine", **options)


async def test_redelivered_interaction_arrives_again(playground: PlaygroundClient, bot: Any, studio: str) -> None:
    answer = await playground.command(studio, "imagine", prompt="a cat", steps=1)
    await playground.call("POST", f"/interactions/{answer['id']}/redeliver")

    async def finished() -> list[str]:
        log: list[dict[str, Any]] = await playground.call("GET", "/log")
        callbacks = [str(entry["status"]) for entry in log if entry["path"].endswith("/callback")]
        return callbacks if len(callbacks) == 2 else []

    assert await playground.until(finished) == ["200", "400"]  # 40060: already acknowledged


async def test_killed_bot_comes_back_to_the_same_world(
    playground: PlaygroundClient, start_bot: Any, studio: str
) -> None:
    first = await start_bot()
    await playground.command(studio, "twice")
    before = await playground.state()
    await first.stop(signal.SIGKILL)

    async def offline() -> bool:
        return not (await playground.state())["bot_connected"]

    await playground.until(offline)
    await start_bot()
    assert await playground.state() == before
    assert (await playground.command(studio, "cancel", job="k1"))["state"] == "answered"


async def test_interaction_during_a_broken_connection_arrives_after_resume(
    playground: PlaygroundClient, bot: Any, studio: str
) -> None:
    await playground.call("POST", "/gateway", json={"do": "drop"})
    answer = await playground.command(studio, "cancel", job="k1")
    assert answer["state"] == "answered"
    await bot.line("resumed")


async def test_invalidated_session_identifies_anew(playground: PlaygroundClient, bot: Any, studio: str) -> None:
    await playground.call("POST", "/gateway", json={"do": "invalidate"})
    await bot.line("ready")
    assert (await playground.command(studio, "cancel", job="k1"))["state"] == "answered"


async def test_sigterm_ends_the_server_with_bot_and_page_connected(
    playground: PlaygroundClient, bot: Any, server: Any
) -> None:
    async with playground.session.get(f"{playground.url}/playground/api/events") as stream:
        assert stream.status == 200
        assert await server.stop(signal.SIGTERM) == 0
