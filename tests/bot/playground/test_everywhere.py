"""discord.py, unmodified, in direct messages and threads, with menus, forms, replies and forwards."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.bot.playground.client import PlaygroundClient, PlaygroundError
from tests.bot.playground.process import Process


@pytest.fixture
async def guest(playground: PlaygroundClient) -> AsyncIterator[Process]:
    """The bot of `everywhere_bot.py`, ready."""
    process = await Process.start(sys.executable, str(Path(__file__).parent / "everywhere_bot.py"), playground.url)
    await process.line("ready")
    yield process
    await process.stop()


async def last(playground: PlaygroundClient, channel: str, user: str = "") -> dict[str, Any]:
    return (await playground.messages(channel, user))[-1]


async def test_direct_messages(playground: PlaygroundClient, guest: Process) -> None:
    robin = await playground.member("Robin")
    direct = await playground.direct(robin)
    await playground.say(direct, "hello", user=robin, files={"a.png": b"x"})
    assert await guest.line("message") == "message dm hello 1"
    await playground.act(type="command", user=robin, channel=direct, name="where")
    told = (await last(playground, direct, robin))["content"]
    assert "guild=False dm=True private=False" in told
    assert "channel=DMChannel" in told
    assert "app.attach_files=True" in told
    assert "by_user=False" in told
    await playground.act(type="command", user=robin, channel=direct, name="post")

    async def posted() -> bool:
        return {"Done.", "edited"} <= {m["content"] for m in await playground.messages(direct, robin)}

    await playground.until(posted)


async def test_between_members(playground: PlaygroundClient, guest: Process) -> None:
    private = (await playground.state())["dms"][1]["id"]
    await playground.command(private, "where")
    told = (await last(playground, private))["content"]
    assert "guild=False dm=False private=True" in told
    assert "by_guild=False by_user=True" in told
    await playground.command(private, "post")

    async def answered() -> bool:
        return (await last(playground, private))["content"] == "403 50001"

    await playground.until(answered)


async def test_whisper_opens_the_direct_message(playground: PlaygroundClient, guest: Process, studio: str) -> None:
    await playground.command(studio, "whisper")
    direct = await playground.direct()

    async def sent() -> bool:
        return (await last(playground, studio))["content"] == f"Sent in {direct}."

    await playground.until(sent)
    assert (await last(playground, direct))["content"] == "psst"


async def test_threads(playground: PlaygroundClient, guest: Process) -> None:
    dark = await playground.channel("after-dark")
    thread = await playground.thread(dark, "Late")
    assert await guest.line("thread") == "thread Late nsfw=True"
    await playground.command(thread, "where")
    told = (await last(playground, thread))["content"]
    assert "channel=Thread nsfw=True" in told
    assert "user.manage_messages=True" in told
    await playground.command(thread, "post")
    message = await playground.say(dark, "look")
    about = await playground.thread(dark, "About it", message=message["id"])
    assert await guest.line("thread") == "thread About it nsfw=True"
    await playground.say(about, "x")
    assert await guest.line("message Thread") == "message Thread - 0"


async def test_menus_and_forms(playground: PlaygroundClient, guest: Process, studio: str) -> None:
    await playground.command(studio, "menus")
    shown = await last(playground, studio)
    where = {"type": "component", "channel": studio, "message": shown["id"]}
    await playground.act(**where, custom_id="pick", values=["c", "a"])
    assert (await last(playground, studio))["content"] == "picked ['a', 'c']"
    with pytest.raises(PlaygroundError, match="1 to 2 choices"):
        await playground.act(**where, custom_id="pick", values=["a", "b", "c"])
    await playground.act(**where, custom_id="who", values=[await playground.member("Sascha")])
    assert (await last(playground, studio))["content"] == "who Sascha"
    form = await playground.act(**where, custom_id="form")
    assert [part["type"] for part in form["modal"]["components"]] == [18, 18, 18]
    with pytest.raises(PlaygroundError, match="at most 20 characters"):
        await playground.act(type="modal", interaction=form["id"], values={"prompt": "x" * 21, "size": ["96"]})
    files = {"photos": ("a.txt", b"one"), "photos[1]": ("b.txt", b"two")}
    await playground.submit(form["id"], {"size": ["96"]}, files)
    assert (await last(playground, studio))["content"] == "a red apple / ['96'] / ['one', 'two']"


async def test_replies_and_forwards(playground: PlaygroundClient, guest: Process, studio: str) -> None:
    await playground.command(studio, "post")

    async def posted() -> dict[str, Any] | None:
        return next((m for m in await playground.messages(studio) if m["content"] == "edited"), None)

    message = await playground.until(posted)
    await playground.say(studio, "quietly", reply_to=message["id"], ping=False)
    assert await guest.line("message") == "message TextChannel - to edited 0"
    await playground.say(studio, "aloud", reply_to=message["id"], files={"a.png": b"x"})
    assert await guest.line("message") == "message TextChannel aloud to edited 1"

    async def answered() -> bool:
        return (await last(playground, studio))["content"] == "heard"

    await playground.until(answered)
    await playground.forward(studio, await playground.say(await playground.direct(), "secret"))
    assert await guest.line("message dm") == "message dm secret 0"
    assert await guest.line("message") == "message TextChannel forward - 0"
    await playground.call("DELETE", f"/channels/{studio}/messages/{message['id']}")
    assert await guest.line("deleted") == f"deleted {message['id']}"


async def test_message_command_and_permissions(playground: PlaygroundClient, guest: Process, studio: str) -> None:
    robin = await playground.member("Robin")
    message = await playground.say(studio, "blue", files={"a.png": b"data"})
    await playground.act(type="context", user=robin, channel=studio, name="Remix", message=message["id"])
    assert (await last(playground, studio))["content"] == "blue data"
    with pytest.raises(PlaygroundError, match="/settings needs permissions"):
        await playground.act(type="command", user=robin, channel=studio, name="settings")
    assert (await playground.command(studio, "settings"))["state"] == "answered"
