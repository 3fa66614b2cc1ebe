"""Real processes: a playground server, a bot, its worker; driven over HTTP, as the page does it, and by Chromium."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90.0
"""Seconds that something may take on a loaded machine before a test calls it lost. Not a speed limit."""


class Process:
    """A child process whose output is kept for the failure message."""

    def __init__(self, arguments: Sequence[str], folder: Path, **environment: str) -> None:
        self._arguments = arguments
        self._folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
        self._environment = {**clean, "PYTHONPATH": str(ROOT), **environment}
        self.process: asyncio.subprocess.Process | None = None
        self.log: Path = folder / f"{arguments[0]}.log"

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self._arguments,
                cwd=self._folder,
                env=self._environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def line(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)).decode().strip()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; returns the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        await asyncio.wait_for(self.process.wait(), PATIENCE)
        transport = getattr(self.process, "_transport", None)
        if transport is not None:
            transport.close()
        return self.process.returncode or 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None


class House:
    """One playground with one bot. The data folder and the server outlive the bot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._settings: dict[str, str] = {}
        self._stack = AsyncExitStack()
        self.server = Process(["bot.playground.server", "--port", "0"], folder)
        self.bot: Process
        self.url = ""
        self.http: aiohttp.ClientSession
        self.state: dict[str, Any] = {}
        self.room = "studio"

    async def open(self, **settings: str) -> None:
        """Start everything; `settings` are environment variables of the bot."""
        # No health port, unless a test asks for one: several houses stand side by side.
        self._settings = {"ATELIER_HEALTH_PORT": "0", **settings}
        await self.server.start()
        word, _, self.url = (await self.server.line()).partition(" ")
        assert word == "listening", self.server.log.read_text()
        self.http = await self._stack.enter_async_context(aiohttp.ClientSession())
        await self.start_bot()

    async def close(self) -> None:
        await self._stack.aclose()
        for process in (self.bot, self.server):
            if process.alive:
                await process.end(signal.SIGKILL)

    async def start_bot(self, *, wait: bool = True) -> None:
        self.bot = Process(["bot", "run", "--playground-url", self.url], self.folder, **self._settings)
        await self.bot.start()
        if wait:
            await self.until_connected(self.bot)

    async def restart(self, **settings: str) -> None:
        """Kill the bot with -9 and start it again, with other settings where they are given."""
        await self.bot.end(signal.SIGKILL)
        self._settings = self._settings | settings
        await self.start_bot()

    async def until_connected(self, bot: Process) -> None:
        """Until `bot` has connected and its commands are known."""
        self.bot = bot
        await self.until(self._bot_is_there, "the bot to connect")

    async def _bot_is_there(self) -> bool:
        self.state = await self.get("state")
        return bool(self.state["bot_connected"] and self.state["commands"])

    def worker(self) -> psutil.Process | None:
        """The bot's worker process, while there is one."""
        assert self.bot.process is not None
        for child in psutil.Process(self.bot.process.pid).children():
            if "bot.worker" in " ".join(child.cmdline()):
                return child
        return None

    @property
    def data(self) -> Path:
        """The bot's data folder."""
        return self.folder / "atelier-data" / "playground"

    def databases(self) -> list[Path]:
        return list(self.data.glob("*.db"))

    # ── what a member does ──

    def member(self, index: int = 0) -> str:
        return str(self.state["members"][index]["id"])

    def mention(self) -> str:
        """The bot's, as it stands in a message."""
        return f"<@{self.state['bot']['id']}>"

    def channel(self, name: str | None = None) -> str:
        """The id of a channel, by default of the one where the test is."""
        wanted = name or self.room
        return next(str(channel["id"]) for channel in self.state["channels"] if channel["name"] == wanted)

    async def move(self, room: str) -> None:
        """Go on in a new channel, where nothing was said yet."""
        await self.post("channels", {"name": room})
        self.state = await self.get("state")
        self.room = room

    async def get(self, path: str, **query: str) -> Any:
        async with self.http.get(f"{self.url}/playground/api/{path}", params=query) as answer:
            return await answer.json()

    async def post(self, path: str, sent: dict[str, Any], files: dict[str, Path] | None = None) -> Any:
        address = f"{self.url}/playground/api/{path}"
        if not files:
            async with self.http.post(address, json=sent) as answer:
                return await answer.json()
        form = aiohttp.FormData()
        form.add_field("payload_json", json.dumps(sent), content_type="application/json")
        for field, file in files.items():
            form.add_field(field, file.read_bytes(), filename=file.name)
        async with self.http.post(address, data=form) as answer:
            return await answer.json()

    async def command(
        self,
        name: str,
        *,
        user: int = 0,
        files: dict[str, Path] | None = None,
        wait: bool = True,
        **options: Any,
    ) -> dict[str, Any]:
        sent = {
            "type": "command",
            "user": self.member(user),
            "channel": self.channel(),
            "name": name,
            "options": options,
        }
        return await self.post("interactions" if wait else "interactions?wait=0", sent, files)

    async def imagine(self, prompt: str, **options: Any) -> dict[str, Any]:
        return await self.command("imagine", prompt=prompt, **options)

    async def say(self, content: str, *, files: dict[str, bytes] | None = None, **more: Any) -> dict[str, Any]:
        """A message in #studio; `more` may hold `user` (an id), `reply_to` and `ping`. File names go as they are."""
        payload = json.dumps({"content": content, **more})
        form = aiohttp.FormData({"payload_json": payload}, quote_fields=False, default_to_multipart=True)
        for number, (name, data) in enumerate((files or {}).items()):
            form.add_field(f"files[{number}]", data, filename=name, content_type="image/png")
        address = f"{self.url}/playground/api/channels/{self.channel()}/messages"
        async with self.http.post(address, data=form) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def press(self, message: dict[str, Any], label: str, *, user: int = 0) -> dict[str, Any]:
        button = next(part for part in buttons(message) if label.lower() in str(part.get("label", "")).lower())
        return await self.post(
            "interactions",
            {
                "type": "component",
                "user": self.member(user),
                "channel": str(message["channel_id"]),
                "message": str(message["id"]),
                "custom_id": button["custom_id"],
            },
        )

    # ── what can be seen ──

    async def messages(self, user: int = 0, channel: str | None = None) -> list[dict[str, Any]]:
        return await self.get(f"channels/{self.channel(channel)}/messages", user=self.member(user), limit="100")

    async def public(self, channel: str | None = None) -> list[dict[str, Any]]:
        """The channel's messages that everybody sees (flag 64 marks the others)."""
        return [message for message in await self.messages(channel=channel) if not message.get("flags", 0) & 64]

    async def pictures(self) -> list[dict[str, Any]]:
        """Messages that are finished: with pictures, and without a button to stop."""
        return [m for m in await self.public() if m["attachments"] and not has_button(m, "stop")]

    async def until_pictures(self, count: int) -> list[dict[str, Any]]:
        async def there() -> bool:
            return len(await self.pictures()) >= count

        await self.until(there, f"{count} messages with pictures")
        return await self.pictures()

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until `await condition()` is true; the failure shows the end of the bot's log."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not await condition():  # noqa: ASYNC110 - it is other processes that change it
                    await asyncio.sleep(0.05)
        except TimeoutError:
            tail = self.bot.log.read_text(errors="replace")[-3000:] if self.bot.log.exists() else ""
            pytest.fail(f"waited {PATIENCE:.0f} s for {what}; the bot's log ends with:\n{tail}")

    async def download(self, attachment: dict[str, Any]) -> bytes:
        async with self.http.get(attachment["url"]) as answer:
            assert answer.status == 200
            return await answer.read()


def buttons(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for row in message.get("components", []) for part in row.get("components", [])]


def has_button(message: dict[str, Any], label: str) -> bool:
    return any(label in str(part.get("label", "")).lower() for part in buttons(message))
