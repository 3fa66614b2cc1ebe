"""`make soak`: a whole town at once. Two hundred members in twenty channels, five hundred `/imagine` in a minute.

The playground's server keeps Discord's rate limits; the bundled model draws two steps. What it measured is printed
(`pytest -s`) and goes into tests/benchmarks/RESULTS.md.
"""

import asyncio
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest

from tests.acceptance.fair import Asked, furthest_from_ideal
from tests.acceptance.house import House, has_button

pytestmark = pytest.mark.soak

MEMBERS = 200
CHANNELS = 20
COMMANDS = 500
SECONDS = 60.0
GREEDY = 10
"""Members who ask for a third of everything."""
BUCKET = 8
"""Jobs that are drawn together (`ATELIER_JOBS_AT_ONCE`): inside of it order has no meaning."""
ACKNOWLEDGED_SECONDS = 1.0
MOST_GROWTH = 0.10
"""Of a process' memory, from the time when a fifth of the pictures was delivered to the end."""
DELIVERY_SECONDS = 600.0
DISCORD_EPOCH = 1_420_070_400.0


async def test_two_hundred_members_five_hundred_pictures_in_a_minute(open_house: House) -> None:
    house = open_house
    await house.open(ATELIER_QUEUE_PER_MEMBER="100")
    members, channels = await furnish(house)
    await house.imagine("a warm fox", steps=2)
    await house.until_pictures(1)

    memory: dict[float, list[float]] = {}
    watcher = asyncio.create_task(watch(house, memory))
    answers = await ask_for_a_minute(house, members, channels)
    delivered = await until_all_delivered(house, channels)
    watcher.cancel()

    acknowledged = sorted(answer["answered_ms"] / 1000 for answer in answers)
    p99 = acknowledged[int(0.99 * len(acknowledged))]
    jobs = told_by_the_registry(house)
    far = furthest_from_ideal(jobs)
    growth = growth_of(memory)
    print(
        f"\nacknowledged p50 {acknowledged[COMMANDS // 2]:.3f} s, p99 {p99:.3f} s, worst {acknowledged[-1]:.3f} s; "
        f"furthest from ideal round-robin {far} images; memory grew by "
        + ", ".join(f"{name} {share:+.1%}" for name, share in growth.items())
    )
    assert {answer["state"] for answer in answers} == {"answered"}
    assert Counter(delivered) == Counter(f"number {number} of town" for number in range(COMMANDS))
    assert p99 < ACKNOWLEDGED_SECONDS
    assert far <= BUCKET
    assert max(growth.values()) < MOST_GROWTH, growth


async def furnish(house: House) -> tuple[list[str], list[str]]:
    """Members and channels of the town."""
    await house.post("members", {"count": MEMBERS})
    await house.post("channels", {"count": CHANNELS})
    state = await house.get("state")
    here = {str(channel["id"]) for channel in house.state["channels"]}
    channels = [str(channel["id"]) for channel in state["channels"] if str(channel["id"]) not in here]
    members = [str(member["id"]) for member in state["members"]][-MEMBERS:]
    assert (len(members), len(channels)) == (MEMBERS, CHANNELS)
    return members, channels


async def ask_for_a_minute(house: House, members: Sequence[str], channels: Sequence[str]) -> list[dict[str, Any]]:
    chance = random.Random(5)
    start = time.monotonic()

    async def ask(number: int, at: float) -> dict[str, Any]:
        await asyncio.sleep(max(0.0, start + at - time.monotonic()))
        greedy = chance.random() < 1 / 3
        return await house.post(
            "interactions",
            {
                "type": "command",
                "user": chance.choice(members[:GREEDY] if greedy else members),
                "channel": channels[number % CHANNELS],
                "name": "imagine",
                "options": {"prompt": f"number {number} of town", "steps": 2, "count": chance.choice((1, 1, 2))},
            },
        )

    times = sorted(chance.uniform(0, SECONDS) for _ in range(COMMANDS))
    return list(await asyncio.gather(*(ask(number, at) for number, at in enumerate(times))))


async def until_all_delivered(house: House, channels: Sequence[str]) -> list[str]:
    """The prompts of all finished messages, as often as they are there."""
    end = time.monotonic() + DELIVERY_SECONDS
    while True:
        finished: list[str] = []
        for channel in channels:
            messages = await house.get(f"channels/{channel}/messages", limit="100")
            public = [m for m in messages if not m.get("flags", 0) & 64]
            done = [m for m in public if m["attachments"] and not has_button(m, "stop")]
            finished += [m["content"].split("**")[1] for m in done]
        if len(finished) >= COMMANDS or time.monotonic() > end:
            return finished
        await asyncio.sleep(2)


def told_by_the_registry(house: House) -> list[Asked]:
    """Every job of the town: ready when its message was there (nothing is drawn before), started when claimed."""
    [database] = house.databases()
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "SELECT member_id, image_count, message_id, started_at, attempt FROM jobs WHERE request LIKE '%of town%'"
        ).fetchall()
    connection.close()
    assert all(attempt == 1 for *_, attempt in rows)
    return [
        Asked(member, images, (message >> 22) / 1000 + DISCORD_EPOCH, seconds(started))
        for member, images, message, started, _ in rows
    ]


def seconds(kept: str) -> float:
    return datetime.fromisoformat(kept).replace(tzinfo=UTC).timestamp()


async def watch(house: House, memory: dict[float, list[float]]) -> None:
    """Resident bytes of server, bot and worker, twice a second."""
    assert house.bot.process is not None
    assert house.server.process is not None
    worker = house.worker()
    assert worker is not None
    processes = [psutil.Process(house.server.process.pid), psutil.Process(house.bot.process.pid), worker]
    while True:
        memory[time.monotonic()] = [float(process.memory_info().rss) for process in processes]
        await asyncio.sleep(0.5)


def growth_of(memory: dict[float, list[float]]) -> dict[str, float]:
    """From a fifth of the run to its end, as a share of what was used then. The server keeps what Discord keeps:
    messages and pictures, so only bot and worker are asked."""
    times = sorted(memory)
    early, late = memory[times[len(times) // 5]], memory[times[-1]]
    return {name: late[k] / early[k] - 1 for k, name in ((1, "bot"), (2, "worker"))}
