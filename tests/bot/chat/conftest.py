"""A studio with the fake worker and a real registry, behind the real client, in simcord's Discord."""

import asyncio
import logging
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest
import simcord
from simcord.actors import MemberActor
from simcord.builders import ChannelHandle

from bot.chat.client import AtelierClient, build_client
from bot.job import Job, JobState
from bot.registry.registry import DATABASE, Registry
from bot.settings import Settings
from bot.studio import Studio
from bot.worker.fake import FakeWorker

BUTTON = re.compile(r"atelier:(\w+):(\w+)(?::(\d+))?")


class World:
    """Everything that a test touches. `env`, `channel`, `alice` and `bob` are simcord's."""

    env: simcord.Env
    bot: AtelierClient
    studio: Studio
    registry: Registry
    worker: FakeWorker
    channel: ChannelHandle
    alice: MemberActor
    bob: MemberActor

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(data_dir=folder, message_wait_seconds=20, nsfw_threshold=0.7, jobs_at_once=1)
        self._parts = AsyncExitStack()

    async def open_studio(self, *, hold: bool = True) -> AtelierClient:
        """A new life of the bot on the same folder."""
        self.registry = registry = await self._parts.enter_async_context(Registry(self.folder))
        self.worker = FakeWorker()
        if hold:
            self.worker.hold()
        self.studio = await self._parts.enter_async_context(Studio(self.settings, registry, self.worker))
        self.bot = build_client(
            self.studio,
            self.settings,
            wait=self._wait,
            sleep=self._sleep,
            clock=lambda: self.env.backend.clock.elapsed,
            shard_count=1,
            shard_ids=[0],
        )
        return self.bot

    async def close_studio(self) -> None:
        await self._parts.aclose()
        self._parts = AsyncExitStack()

    async def restart(self, *, meanwhile: Callable[[], None] | None = None, hold: bool = True) -> None:
        """The bot stops and comes back; Discord and the data folder stay. `meanwhile` runs between."""
        await self.settled()
        await self.close_studio()
        if meanwhile is not None:
            meanwhile()
        await self.env.restart_bot(await self.open_studio(hold=hold))

    async def _wait(self, awaitable: Awaitable[Any], *, reason: str) -> Any:
        return await self.env.external_wait(awaitable, reason=reason)

    async def _sleep(self, seconds: float) -> None:
        await self.env.external_wait(asyncio.sleep(seconds), reason="spacing of edits")

    async def until(self, true: Callable[[], object], what: str = "") -> None:
        """Studio's own tasks are not the bot's to simcord: let both work until `true`."""
        end = time.perf_counter() + 5
        while not true():
            assert time.perf_counter() < end, what or f"not in 5 s; the channel has {self.texts()}"
            await asyncio.sleep(0.002)
            await self.env.settle()

    async def settled(self) -> None:
        """Nothing more comes of what has been said so far."""
        for _ in range(5):
            await asyncio.sleep(0.01)
            await self.env.settle()

    # ── looking ──

    def texts(self) -> list[str]:
        return [message.content for message in self.messages()]

    def messages(self) -> list[discord.Message]:
        """What the bot said in the channel, ephemeral answers left out."""
        bot = self.env.backend.bot_user.id
        return [m for m in self.channel.history() if m.author.id == bot and not m.flags.ephemeral]

    @property
    def message(self) -> discord.Message:
        """The one message in the channel."""
        messages = self.messages()
        assert len(messages) == 1, [m.content for m in messages]
        return messages[0]

    def buttons(self, message: discord.Message | None = None) -> dict[str, str]:
        """Action → custom id, of the first picture where each has such a button."""
        shown = self.message if message is None else message
        ids = [
            child.custom_id
            for row in shown.components
            if isinstance(row, discord.ActionRow)
            for child in row.children
        ]
        return {match[1]: match[0] for match in map(BUTTON.fullmatch, filter(None, reversed(ids))) if match}

    def job_id(self, message: discord.Message | None = None) -> str:
        return next(iter(self.buttons(message).values())).split(":")[2]

    async def job(self) -> Job:
        return await self.studio.job(self.job_id())

    def calls(self, method: str, pattern: str) -> int:
        found = [r for r in self.env.http_requests if r.method == method and re.search(pattern, r.path)]
        return len(found)

    # ── doing ──

    async def drawing(self) -> None:
        """The worker has a job."""
        await self.until(lambda: self.worker.current is not None, "no job reached the worker")

    async def wait_for_state(self, state: JobState, job_id: str | None = None) -> Job:
        found: list[Job] = []
        wanted = job_id or self.job_id()
        end = time.perf_counter() + 5
        while not found:
            assert time.perf_counter() < end, f"job {wanted} did not become {state}"
            await self.env.settle()
            job = await self.studio.job(wanted)
            if job.state is state:
                found.append(job)
            await asyncio.sleep(0.002)
        return found[0]

    def sql(self, statement: str, *values: object) -> None:
        """Change the records of a stopped bot, as a crash at the wrong moment would have left them."""
        with sqlite3.connect(self.folder / DATABASE) as connection:
            connection.execute(statement, values)
        connection.close()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    # In tasks of the bot simcord moves `time.monotonic`; the studio also works outside of them, and must not
    # subtract one clock from the other.
    real = SimpleNamespace(monotonic=time.perf_counter)
    monkeypatch.setattr("bot.waiting.time", real)
    monkeypatch.setattr("bot.dispatcher.time", real)
    world = World(tmp_path)
    bot = await world.open_studio()
    world.env = simcord.Env(bot, settle_timeout=10)
    await world.env.start()
    guild = world.env.create_guild()
    world.channel = guild.create_text_channel("studio")
    world.alice = guild.add_member(world.env.create_user("alice"))
    world.bob = guild.add_member(world.env.create_user("bob"))
    try:
        yield world
    finally:
        # simcord cancels every task of the bot, also those that SQLAlchemy shields while it closes a connection;
        # aiosqlite then waits for ever. So nothing may be under way.
        await world.env.settle()
        await world.env.shutdown()
        await world.close_studio()
    world.env.raise_errors()


@pytest.fixture(autouse=True)
def no_errors_logged(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A test that expects an error in the log is marked with the fixture `errors_expected`."""
    yield
    if "errors_expected" in request.fixturenames:
        return
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    bad = [record.getMessage() for record in records if record.levelno >= logging.ERROR]
    assert not bad, bad


@pytest.fixture
def errors_expected() -> None:
    """The test makes something fail that is rightly logged as an error."""
