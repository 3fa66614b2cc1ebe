"""`make soak`: a fifth of all calls fails, the gateway drops every ten seconds, the bot is killed every twenty.

Every job that the bot took ends delivered exactly once, or failed with its member told.
"""

import asyncio
import random
import signal
import sqlite3
import time
from collections import Counter
from typing import Any

import pytest

from tests.acceptance.house import House, buttons, has_button

pytestmark = pytest.mark.soak

SECONDS = 180.0
ASK_EVERY = 3.0
DROP_EVERY = 10.0
KILL_EVERY = 20.0
SHARE = 0.2
KINDS = ["429", "500", "503", "reset", "reset_after"]
SETTLE_SECONDS = 600.0
"""For what is still on the way when the killing stops; the faults go on."""


async def test_every_job_ends_once_while_discord_fails(house: House) -> None:
    await house.post("faults", {"chaos": {"share": SHARE, "seed": 5, "kinds": KINDS}})
    end = time.monotonic() + SECONDS
    troubles = [
        asyncio.create_task(every(DROP_EVERY, end, lambda: house.post("gateway", {"do": "drop"}))),
        asyncio.create_task(every(KILL_EVERY, end, lambda: kill(house))),
    ]
    await ask_until(house, end)
    await asyncio.gather(*troubles)
    await settle(house)

    jobs = registry(house)
    injected = (await house.get("faults"))["injected"]
    print(f"\n{len(jobs)} jobs, {Counter(job['state'] for job in jobs)}; faults {injected}")
    messages = await house.public()
    assert len(jobs) >= SECONDS / ASK_EVERY / 2, "too few were taken for this run to say anything"
    assert sum(injected.values()) > SECONDS / 6
    for job in jobs:
        about = [m for m in messages if any(job["id"] in str(part.get("custom_id")) for part in buttons(m))]
        assert len(about) == 1, f"{job['id']} ({job['state']}): {len(about)} messages"
        assert not has_button(about[0], "stop"), job
        assert job["delivered_at"] is not None, job
        if job["state"] == "delivered":
            assert len(about[0]["attachments"]) == job["image_count"]
        else:
            assert job["state"] == "failed", job
            assert "⚠️" in about[0]["content"], about[0]["content"]
    told = [m for m in messages if not buttons(m)]  # that a job is ready, where it took more than a minute
    answered = Counter(m["message_reference"]["message_id"] for m in told)
    assert set(answered) <= {m["id"] for m in messages if buttons(m)}
    assert set(answered.values()) <= {1}, "told twice"


async def every(seconds: float, end: float, do: Any) -> None:
    while time.monotonic() + seconds < end:
        await asyncio.sleep(seconds)
        await do()


async def kill(house: House) -> None:
    await house.bot.end(signal.SIGKILL)
    await house.start_bot(wait=False)


async def ask_until(house: House, end: float) -> None:
    """Whether the bot is there or not: a command that it never saw is no job."""
    chance = random.Random(6)
    asking: set[asyncio.Task[Any]] = set()
    number = 0
    while time.monotonic() < end:
        number += 1
        steps, count = chance.randint(2, 40), chance.randint(1, 2)
        ask = house.imagine(f"number {number}", steps=steps, count=count, user=number % 3)
        asking.add(asyncio.create_task(ask))
        await asyncio.sleep(ASK_EVERY)
    await asyncio.gather(*asking)


async def settle(house: House) -> None:
    end = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end:
        if all(job["delivered_at"] is not None for job in registry(house)):
            await asyncio.sleep(5)  # a second message would come now
            return
        await asyncio.sleep(2)


def registry(house: House) -> list[dict[str, Any]]:
    [database] = house.databases()
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("SELECT id, state, image_count, delivered_at, error FROM jobs").fetchall()
    connection.close()
    return [dict(row) for row in rows]
