"""The operator's side with real processes: `/healthz`, stopping, and a backup that takes the place of the data."""

import asyncio
import os
import shutil
import signal
import socket
import sqlite3
import sys
import time
from contextlib import closing
from typing import Any

import aiohttp
import pytest

from tests.acceptance.house import PATIENCE, ROOT, House
from tests.acceptance.test_crashes import drawing

STOP_SECONDS = 30
"""`TimeoutStopSec` of the unit in the README: whoever takes longer is killed."""


async def ask(house: House, port: int) -> tuple[int, dict[str, Any]]:
    try:
        async with house.http.get(f"http://127.0.0.1:{port}/healthz") as answer:
            return answer.status, await answer.json()
    except aiohttp.ClientConnectionError:
        return 0, {}


async def drawn_once_at_the_second_attempt(house: House) -> None:
    """Also after a while in which a second message could have come (a mention after a long job has no pictures)."""
    [message] = await house.until_pictures(1)
    assert len(message["attachments"]) == 2
    await asyncio.sleep(2)
    assert [m["id"] for m in await house.pictures()] == [message["id"]]
    [database] = house.databases()
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT attempt, state FROM jobs").fetchall() == [(2, "delivered")]


async def test_healthz_follows_discord_and_the_worker(open_house: House) -> None:
    house = open_house
    with socket.create_server(("127.0.0.1", 0)) as picked:
        port: int = picked.getsockname()[1]
    await house.open(ATELIER_HEALTH_PORT=str(port))

    async def ok() -> bool:
        return (await ask(house, port))[0] == 200

    await house.until(ok, "/healthz to say that all is well")
    await house.imagine("a red apple", steps=2)
    await house.until_pictures(1)
    _, said = await ask(house, port)
    assert (said["discord"], said["worker"], said["running"], said["waiting"]) == ("connected", "ready", 0, 0)
    assert said["last_result_seconds"] is not None

    async def counted() -> bool:
        return (await ask(house, port))[1]["kept_bytes"] > 1000

    await house.until(counted, "the picture's file to be counted")
    worker = house.worker()
    assert worker is not None
    worker.suspend()  # it is not known to be hung before its heartbeat is missing
    worker.kill()

    async def lost() -> bool:
        code, said = await ask(house, port)
        return code == 503 and said["worker"] in ("lost", "loading", "starting")

    await house.until(lost, "/healthz to notice the lost worker")
    await house.until(ok, "/healthz to say that all is well again")
    await house.server.end(signal.SIGKILL)

    async def cut_off() -> bool:
        code, said = await ask(house, port)
        return code == 503 and said["discord"] == "disconnected" and said["status"] == "degraded"

    await house.until(cut_off, "/healthz to notice that Discord is gone")
    assert await house.bot.end(signal.SIGTERM) == 0


async def test_a_polite_stop_in_mid_image_is_quick_and_without_complaints(house: House) -> None:
    await house.imagine("an owl", steps=150, count=2)
    await drawing(house)
    worker = house.worker()
    began = time.monotonic()
    assert await house.bot.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < STOP_SECONDS
    assert worker is None or not worker.is_running()
    log = house.bot.log.read_text()
    assert "stopping" in log
    for trouble in ("Traceback", "was destroyed", "never retrieved", "CRITICAL"):
        assert trouble not in log


@pytest.mark.soak
async def test_a_second_signal_ends_it_at_once(house: House) -> None:
    await house.imagine("an owl", steps=150, count=2)
    await drawing(house)
    worker = house.worker()
    assert worker is not None
    worker.suspend()  # so that a polite stop has to wait for it
    try:
        process = house.bot.process
        assert process is not None
        process.send_signal(signal.SIGTERM)

        async def stopping() -> bool:
            return "stopping" in house.bot.log.read_text()

        await house.until(stopping, "the first signal to be taken")
        assert house.bot.alive
        assert await house.bot.end(signal.SIGTERM) == 1
    finally:
        worker.kill()
    await house.start_bot()
    await drawn_once_at_the_second_attempt(house)


@pytest.mark.soak
async def test_a_backup_made_beside_the_bot_takes_the_place_of_its_data(house: House) -> None:
    await house.imagine("a red apple", steps=2, count=2)
    [message] = await house.until_pictures(1)
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "backup", "backups", "--playground", "--keep", "3"),
        cwd=house.folder,
        env={**{n: v for n, v in os.environ.items() if not n.startswith("ATELIER_")}, "PYTHONPATH": str(ROOT)},
    )
    assert await asyncio.wait_for(made.wait(), PATIENCE) == 0
    assert await house.bot.end(signal.SIGTERM) == 0

    data = house.folder / "atelier-data" / "playground"
    before = {path.name: path.read_bytes() for path in data.glob("images/*/*")}
    shutil.rmtree(data)
    [backup] = (house.folder / "backups").iterdir()
    shutil.copytree(backup, data)
    assert {path.name: path.read_bytes() for path in data.glob("images/*/*")} == before
    assert len(before) == 2

    await house.start_bot()
    answer = await house.press(message, "again")
    assert answer["state"] == "answered"
    first, second = await house.until_pictures(2)
    assert first["id"] == message["id"]
    assert len(second["attachments"]) == 2
