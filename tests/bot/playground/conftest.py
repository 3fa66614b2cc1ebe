"""Real processes for the playground's tests: a server, and a bot that connects to it."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.bot.playground.browser import page, room, town
from tests.bot.playground.client import PlaygroundClient
from tests.bot.playground.process import Process
from tests.bot.playground.raw import Api

HERE = Path(__file__).parent
__all__ = ["page", "room", "town"]  # fixtures, found here by their names


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
def api(playground: PlaygroundClient) -> Api:
    """The REST API, without a bot library."""
    return Api(playground)


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
