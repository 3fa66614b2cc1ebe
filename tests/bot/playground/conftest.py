"""Real processes for the playground's tests: a server, and a bot that connects to it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.bot.playground.client import PlaygroundClient

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


class Process:
    """A child process whose output lines can be waited for."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    @classmethod
    async def start(cls, *command: str) -> "Process":
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, stdout=pipe, env=environment, cwd=ROOT))

    async def line(self, start: str, within: float = 20.0) -> str:
        """The next line that starts like this."""
        assert self.process.stdout is not None
        async with asyncio.timeout(within):
            while True:
                raw = await self.process.stdout.readline()
                if not raw:
                    raise AssertionError(f"The process ended before it said {start!r}: {self.lines}")
                self.lines.append(raw.decode().rstrip())
                if self.lines[-1].startswith(start):
                    return self.lines[-1]

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(how)
        async with asyncio.timeout(10):
            assert self.process.stdout is not None
            while await self.process.stdout.read(65536):
                pass
            return await self.process.wait()


StartBot = Callable[[], Awaitable[Process]]


@pytest.fixture
async def server() -> AsyncIterator[Process]:
    """The server's process; its first line has been read."""
    process = await Process.start(sys.executable, "-m", "bot.playground.server", "--port", "0")
    await process.line("listening ")
    yield process
    await process.stop()


@pytest.fixture
async def playground(server: Process) -> AsyncIterator[PlaygroundClient]:
    """A visitor of the server. No bot is connected yet."""
    async with aiohttp.ClientSession() as session:
        yield PlaygroundClient(server.lines[0].removeprefix("listening "), session)


@pytest.fixture
async def start_bot(playground: PlaygroundClient) -> AsyncIterator[StartBot]:
    """Starts a process of the demo bot and waits until it is ready."""
    bots: list[Process] = []

    async def start() -> Process:
        bots.append(await Process.start(sys.executable, str(HERE / "demo_bot.py"), playground.url))
        await bots[-1].line("ready")
        return bots[-1]

    yield start
    for bot in bots:
        await bot.stop()


@pytest.fixture
async def bot(start_bot: StartBot) -> Process:
    """The demo bot, ready."""
    return await start_bot()


@pytest.fixture
async def studio(playground: PlaygroundClient) -> str:
    """The id of #studio."""
    return await playground.channel("studio")
