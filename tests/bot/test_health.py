"""`/healthz` asked over real HTTP, with a real studio behind it."""

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import discord
import pytest

from bot import health
from bot.health import Health, Link, health_served, link_of
from bot.keeping import REFUSED_FREE
from bot.registry.registry import Registry
from bot.settings import Settings
from bot.studio import Studio
from bot.worker.fake import FakeWorker
from generation.request import ImageRequest

Until = Callable[..., Awaitable[None]]
SECRET = "a very private fox"
MEMBER, CHANNEL = 123456789012345678, 876543210987654321


class World:
    """What `/healthz` looks at, and asking it."""

    def __init__(self, registry: Registry, settings: Settings, now: datetime) -> None:
        self.worker = FakeWorker(ready=False)
        self.now = now
        self.link = Link.CONNECTING
        self.free = 10**12
        self.studio = Studio(settings, registry, self.worker, clock=lambda: self.now, free=lambda _: self.free)
        self.health = Health(
            self.studio.status, lambda: self.link, registry.folder, lambda: self.now, lambda _: self.free
        )
        with socket.create_server(("127.0.0.1", 0)) as picked:
            self.port: int = picked.getsockname()[1]

    async def ask(self, path: str = "/healthz", **headers: str) -> tuple[int, Any, aiohttp.ClientResponse]:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
        ):
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.text(), answer

    async def becomes(self, status: str) -> Any:
        """The answer, once it says so."""
        async with asyncio.timeout(5):
            while (said := (await self.ask())[1])["status"] != status:
                pass
            return said


@pytest.fixture
async def world(registry: Registry, settings: Settings, now: datetime) -> AsyncIterator[World]:
    made = World(registry, settings, now)
    async with made.studio, health_served(made.health, made.port):
        yield made


async def test_it_is_ok_when_it_can_take_work_and_says_what_is_missing_before(world: World, until: Until) -> None:
    code, said, _ = await world.ask()
    assert (code, said["status"], said["discord"]) == (503, "starting", "connecting")
    assert said["problems"] == ["not connected to Discord", "the model is being loaded"]
    world.link = Link.CONNECTED
    code, said, _ = await world.ask()
    assert (code, said["status"], said["problems"]) == (503, "starting", ["the model is being loaded"])
    world.worker.come_back()
    await world.becomes("ok")
    await until(lambda: world.studio.status().kept_bytes == 0, "the files to be measured")
    world.now += timedelta(seconds=90)
    code, said, answer = await world.ask()
    assert code == 200
    assert said == {
        "status": "ok",
        "problems": [],
        "version": version("atelier-studio"),
        "uptime_seconds": 90,
        "discord": "connected",
        "worker": "ready",
        "model": "fake",
        "running": 0,
        "waiting": 0,
        "images_waiting": 0,
        "trainings_running": 0,
        "trainings_waiting": 0,
        "last_result_seconds": None,
        "kept_bytes": 0,
        "disk_free_bytes": 10**12,
    }
    assert answer.headers["Cache-Control"] == "no-store"
    world.link = Link.CONNECTING
    assert (await world.ask())[1]["status"] == "starting", "the model alone is not enough"


async def test_what_is_lost_later_is_degraded(world: World, until: Until) -> None:
    world.link = Link.CONNECTED
    world.worker.come_back()
    await world.becomes("ok")

    world.link = Link.DISCONNECTED
    code, said, _ = await world.ask()
    assert (code, said["status"], said["problems"]) == (503, "degraded", ["not connected to Discord"])
    world.link = Link.CONNECTED

    world.worker.die(back=False)
    said = await world.becomes("degraded")
    assert (said["worker"], said["problems"]) == ("lost", ["the worker is being started again"])
    world.worker.fail_to_load("The model is not there.")
    await until(lambda: world.studio.status().worker.text == "The model is not there.", "the failure")
    assert (await world.ask())[1]["problems"] == ["the model cannot be loaded: the log says why"]
    world.worker.come_back()
    await world.becomes("ok")

    world.free = REFUSED_FREE - 1
    code, said, _ = await world.ask()
    assert (code, said["status"], said["problems"]) == (503, "degraded", ["the disk is full"])
    world.free = REFUSED_FREE
    assert (await world.ask())[0] == 200


async def test_a_model_that_cannot_be_loaded_is_not_starting(world: World) -> None:
    world.link = Link.CONNECTED
    world.worker.fail_to_load("The model is not there.")
    assert (await world.becomes("degraded"))["model"] is None


async def test_it_counts_jobs_and_tells_nothing_about_them(world: World, until: Until) -> None:
    world.worker.hold()
    world.worker.come_back()
    jobs = []
    for count in (1, 2, 3):
        request = ImageRequest(prompt=SECRET, seed=7, count=count)
        submitted = await world.studio.submit(request, member_id=MEMBER, guild_id=5, channel_id=CHANNEL)
        await world.studio.attach_message(submitted.job.id, 99)
        jobs.append(submitted.job)
    await until(lambda: world.worker.current, "the first job to start")
    _, said, answer = await world.ask()
    assert (said["running"], said["waiting"], said["images_waiting"]) == (1, 2, 5)
    text = await answer.text()
    for private in (SECRET, str(MEMBER), str(CHANNEL), *(job.id for job in jobs)):
        assert private not in text

    world.worker.finish()

    await until(lambda: world.studio.status().last_result_at, "the result")
    world.now += timedelta(seconds=12)
    assert (await world.ask())[1]["last_result_seconds"] == 12


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1", 503),
        ("localhost:9999", 503),
        ("LOCALHOST", 503),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:7861", 403),
        ("", 403),
    ],
)
async def test_only_this_machine_is_answered(world: World, host: str, code: int) -> None:
    answered, said, answer = await world.ask(Host=host)
    assert answered == code
    assert code != 403 or "disk_free_bytes" not in said
    assert answer.headers["Cache-Control"] == "no-store"


async def test_nothing_else_is_there(world: World) -> None:
    assert (await world.ask("/"))[0] == 404
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{world.port}/healthz", data="x") as answer,
    ):
        assert answer.status == 405


async def test_it_listens_on_loopback_only(world: World) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.2", world.port))  # on a server for all addresses this would be taken


async def test_a_disk_that_hangs_is_said_and_not_asked_again_and_again(
    registry: Registry, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "DISK_SECONDS", 0.05)
    answers = threading.Event()
    asked: list[Path] = []

    def hanging(folder: Path) -> int:
        asked.append(folder)
        answers.wait(10)
        return 5 * 10**9

    stuck = Health(world.studio.status, lambda: Link.CONNECTED, registry.folder, free=hanging)
    first, second = await asyncio.gather(stuck.report(), stuck.report())
    third = await stuck.report()
    for report in (first, second, third):
        assert "the disk does not answer" in report.problems
    assert asked == [registry.folder]
    answers.set()
    monkeypatch.setattr(health, "DISK_SECONDS", 5)
    assert (await stuck.report()).disk_free_bytes == 5 * 10**9


async def test_a_taken_port_is_a_warning_and_zero_is_off(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bot.health")
    async with health_served(world.health, world.port):
        (line,) = caplog.messages
    assert f"port {world.port} cannot be used" in line
    assert "ATELIER_HEALTH_PORT" in line
    assert (await world.ask())[0] == 503, "the first one still answers"
    caplog.clear()
    async with health_served(world.health, 0):
        assert caplog.messages == []


async def test_a_client_that_never_connected_is_connecting() -> None:
    async with discord.AutoShardedClient(intents=discord.Intents.none()) as client:
        assert link_of(client) is Link.CONNECTING
