"""The composition root: the only place that wires the parts together and owns their lifetimes."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from subprocess import PIPE, Popen, TimeoutExpired
from typing import IO

import aiohttp
import discord

from bot.chat.client import build_client
from bot.errors import UserError
from bot.health import Health, health_served, link_of
from bot.invite import invite_link
from bot.playground.connect import TOKEN, point_discord_at
from bot.pulse import Pulse
from bot.registry.registry import Registry
from bot.settings import Settings, SettingsError, load_settings
from bot.studio import Studio
from bot.worker.supervisor import ProcessWorker

log = logging.getLogger(__name__)

SERVER_STOP_SECONDS = 5
QUIET = {"discord": logging.WARNING, "discord.client": logging.ERROR, "alembic": logging.WARNING}
"""Libraries that say more than an operator wants to read (discord.client warns that voice is not there)."""
NO_MESSAGE_CONTENT = (
    "Discord doesn't let this bot read messages: switch on Message Content Intent on the application's Bot page, "
    "or set ATELIER_MESSAGE_CONTENT to off."
)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[tuple[Studio, discord.Client]]:
    """Everything that runs in the bot process, each part living inside the one that it needs."""
    async with (
        Registry(settings.data_dir) as registry,
        Studio(settings, registry, ProcessWorker(settings)) as studio,
        build_client(studio, settings) as client,
        health_served(_health(studio, client, settings), settings.health_port),
    ):
        yield studio, client


def _health(studio: Studio, client: discord.AutoShardedClient, settings: Settings) -> Health:
    return Health(studio.status, lambda: link_of(client), settings.data_dir / "images")


async def serve(settings: Settings, token: str) -> None:
    """Run until told to stop (SIGTERM, SIGINT) or until a part that must not die has died."""
    async with opened(settings) as (studio, client):
        parts = [
            asyncio.create_task(client.start(token), name="client"),
            asyncio.create_task(studio.watch(), name="studio"),
            asyncio.create_task(_told_to_stop(), name="signals"),
            asyncio.create_task(_say_where_to_invite(client), name="invite"),
            asyncio.create_task(Pulse().beat(), name="pulse"),
        ]
        try:
            await _first_end(parts[:3])
        finally:
            await client.close()
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)


async def _first_end(parts: list["asyncio.Task[None]"]) -> None:
    """Wait until one part ends; what killed it is raised."""
    done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    for part in done:
        part.result()


async def _told_to_stop() -> None:
    """Returns at the first SIGTERM or SIGINT; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def stop() -> None:
        if told.is_set():
            # Not sys.exit: unwinding would wait for what the first signal could not end. Everything that counts is
            # in the database already, and worker and playground server end with this process.
            os._exit(1)
        log.info("stopping; the picture that is being drawn is taken up again at the next start")
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        # Windows has no signal handlers in its event loop; there Ctrl-C ends asyncio.run.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop)
    await told.wait()


async def _say_where_to_invite(client: discord.Client) -> None:
    await client.wait_until_ready()
    if client.application_id is not None and client.http.token != TOKEN:
        print(f"Invite the bot: {invite_link(client.application_id)}", flush=True)  # noqa: T201


def main_run(playground_url: str | None = None) -> int:
    """`atelier run`. With `playground_url` the bot talks to a playground server that runs already."""

    def run(settings: Settings) -> None:
        if playground_url is None:
            asyncio.run(serve(settings, settings.token()))
        else:
            point_discord_at(playground_url)
            asyncio.run(serve(_apart(settings), TOKEN))

    return _reporting(run)


def main_playground(port: int | None) -> int:
    """`atelier playground`: the server as a process of its own, and the bot here."""

    def run(settings: Settings) -> None:
        with _server(settings.playground_port if port is None else port) as url:
            print(f"\n  Atelier playground: {url}\n  Ctrl-C ends it.\n", flush=True)  # noqa: T201
            point_discord_at(url)
            asyncio.run(serve(_apart(settings), TOKEN))

    return _reporting(run)


def _apart(settings: Settings) -> Settings:
    """The playground's members are made up: they don't belong into the registry of a real server."""
    return settings.with_changes(data_dir=settings.data_dir / "playground")


def _reporting(run: Callable[[Settings], None]) -> int:
    """Turn what stops a start into one sentence; returns the exit code."""
    try:
        settings = load_settings()
        logging.basicConfig(
            level=settings.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
        )
        for library, level in QUIET.items():
            logging.getLogger(library).setLevel(level)
        run(settings)
    except (SettingsError, UserError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except discord.LoginFailure:
        print("Discord refused the token: check ATELIER_DISCORD_TOKEN.", file=sys.stderr)  # noqa: T201
        return 2
    except discord.PrivilegedIntentsRequired:
        print(NO_MESSAGE_CONTENT, file=sys.stderr)  # noqa: T201
        return 2
    except (aiohttp.ClientError, discord.DiscordServerError, discord.GatewayNotFound) as error:
        reason = f"Discord could not be reached ({type(error).__name__}): check this machine's network connection."
        print(reason, file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def _server(port: int) -> Generator[str]:
    """The playground's server process; yields its address.

    Raises:
        UserError: it did not start (for example because the port is taken).
    """
    command = [sys.executable, "-m", "bot.playground.server", "--port", str(port), "--until-stdin-closes"]
    # A session of its own: Ctrl-C ends the bot first, which says goodbye to the server.
    process = Popen(command, stdin=PIPE, stdout=PIPE, text=True, start_new_session=True)  # noqa: S603 - our own module
    try:
        assert process.stdout is not None
        yield _listening(process.stdout, port)
    finally:
        process.terminate()
        try:
            process.wait(SERVER_STOP_SECONDS)
        except TimeoutExpired:
            process.kill()
            process.wait()


def _listening(output: IO[str], port: int) -> str:
    line = output.readline().strip()
    word, _, url = line.partition(" ")
    if word != "listening":
        raise UserError(
            f"The playground could not start on port {port} (is it taken?): set ATELIER_PLAYGROUND_PORT to "
            "another one, or to 0 for any free one."
        )
    return url
