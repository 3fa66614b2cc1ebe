"""`/healthz` on loopback, for whatever watches the bot: can it take work?

It answers 200 (`ok`) exactly when every connection to Discord is open, the worker has its model loaded, and the disk
has room for new pictures. Otherwise it answers 503: `starting` until Discord and the model were there for the first
time, `degraded` afterwards, or where the model cannot be loaded. `problems` says in words what is missing.

A 503 does not ask for a restart: jobs are kept and go on when what was lost is back. No prompts, names or ids.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import discord
import msgspec
from aiohttp import web

from bot.keeping import REFUSED_FREE, disk_free
from bot.outlook import StudioStatus, WorkerState
from bot.studio import utc_now

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
NAMES = {HOST, "localhost"}
DISK_SECONDS = 1.0
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Link(StrEnum):
    """To Discord."""

    CONNECTING = "connecting"  # for the first time
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"  # discord.py is trying again


class Report(msgspec.Struct, frozen=True):
    """What is answered, as JSON. Sizes are bytes; null = not known, or not yet."""

    status: Literal["ok", "degraded", "starting"]
    problems: list[str]
    version: str
    uptime_seconds: int
    discord: Link
    worker: WorkerState
    model: str | None
    running: int
    waiting: int
    images_waiting: int
    trainings_running: int
    trainings_waiting: int
    last_result_seconds: int | None
    kept_bytes: int | None
    disk_free_bytes: int | None


def link_of(client: discord.AutoShardedClient) -> Link:
    if not client.is_ready():
        return Link.CONNECTING
    closed = any(shard.is_closed() for shard in client.shards.values())
    return Link.DISCONNECTED if closed else Link.CONNECTED


class Health:
    """`folder`: where pictures go."""

    def __init__(
        self,
        status: Callable[[], StudioStatus],
        link: Callable[[], Link],
        folder: Path,
        clock: Callable[[], datetime] = utc_now,
        free: Callable[[Path], int] = disk_free,
    ) -> None:
        self._status, self._link, self._folder = status, link, folder
        self._clock, self._free = clock, free
        self._version = version("atelier-studio")
        self._asking: asyncio.Task[int | None] | None = None

    async def report(self) -> Report:
        free = await self._free_bytes()
        status, link, now = self._status(), self._link(), self._clock()
        problems = list(_problems(status, link, free))
        return Report(
            status=_word(status, link) if problems else "ok",
            problems=problems,
            version=self._version,
            uptime_seconds=int((now - status.started_at).total_seconds()),
            discord=link,
            worker=status.worker.state,
            model=None if status.worker.model is None else status.worker.model.name,
            running=status.running,
            waiting=status.queued,
            images_waiting=status.images_waiting,
            trainings_running=status.trainings_running,
            trainings_waiting=status.trainings_queued,
            last_result_seconds=(
                None if status.last_result_at is None else int((now - status.last_result_at).total_seconds())
            ),
            kept_bytes=status.kept_bytes,
            disk_free_bytes=free,
        )

    async def _free_bytes(self) -> int | None:
        """None where the disk does not say so in time; it is not asked again until it has answered."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_disk())
        done, _ = await asyncio.wait({self._asking}, timeout=DISK_SECONDS)
        return self._asking.result() if done else None

    async def _ask_disk(self) -> int | None:
        try:
            return await asyncio.to_thread(self._free, self._folder)
        except OSError as error:
            log.warning("the free space of the disk cannot be measured: %s", error)
            return None


def _problems(status: StudioStatus, link: Link, free: int | None) -> Iterator[str]:
    if link is not Link.CONNECTED:
        yield "not connected to Discord"
    match status.worker.state:
        case WorkerState.READY:
            pass
        case WorkerState.LOAD_FAILED:
            yield "the model cannot be loaded: the log says why"
        case WorkerState.LOST:
            yield "the worker is being started again"
        case _:
            yield "the model is being loaded"
    if free is None:
        yield "the disk does not answer"
    elif free < REFUSED_FREE:
        yield "the disk is full"


def _word(status: StudioStatus, link: Link) -> Literal["degraded", "starting"]:
    loading = status.worker.model is None and status.worker.state is not WorkerState.LOAD_FAILED
    return "starting" if loading or link is Link.CONNECTING else "degraded"


def health_app(health: Health) -> web.Application:
    """One route, `GET /healthz`."""

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        # A page elsewhere can resolve its own name to 127.0.0.1 and read what answers there (DNS rebinding).
        if request.headers.get("Host", "").partition(":")[0].lower() not in NAMES:
            raise web.HTTPForbidden(text="This answers only to 127.0.0.1 and localhost.\n")
        return await handler(request)

    async def healthz(_request: web.Request) -> web.Response:
        report = await health.report()
        body = msgspec.json.format(msgspec.json.encode(report), indent=2)
        return web.Response(
            body=body + b"\n", status=200 if report.status == "ok" else 503, content_type="application/json"
        )

    async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)

    app = web.Application(middlewares=[guard])
    app.on_response_prepare.append(add_headers)
    app.add_routes([web.get("/healthz", healthz)])
    return app


@asynccontextmanager
async def health_served(health: Health, port: int) -> AsyncGenerator[None]:
    """Answers on this machine's loopback meanwhile; port 0 = not at all. A taken port is only a warning: the bot is
    worth more than its being watched, and two may live on one machine."""
    if port == 0:
        yield
        return
    runner = web.AppRunner(health_app(health), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            why = error.strerror or str(error)
            log.warning("no /healthz: port %d cannot be used (%s); set ATELIER_HEALTH_PORT to another one", port, why)
        else:
            log.info("health: http://%s:%d/healthz", HOST, port)
        yield
    finally:
        await runner.cleanup()
