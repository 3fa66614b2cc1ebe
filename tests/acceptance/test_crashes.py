"""Nothing is lost and nothing comes twice when a process is killed with -9 in the middle of an image."""

import asyncio
import signal
import sqlite3

import pytest

from tests.acceptance.house import House, has_button


async def drawing(house: House) -> None:
    """Wait until the steps of a picture are being done: its message shows a preview and can be stopped."""

    async def preview() -> bool:
        return any(m["attachments"] and has_button(m, "stop") for m in await house.public())

    await house.until(preview, "a live preview")


async def exactly_one_at_the_second_attempt(house: House) -> None:
    """One finished message, also after a while in which a second one could have come."""
    [message] = await house.until_pictures(1)
    assert len(message["attachments"]) == 2
    await asyncio.sleep(2)
    [after] = await house.pictures()
    assert after["id"] == message["id"]
    assert [a["id"] for a in after["attachments"]] == [a["id"] for a in message["attachments"]]
    [database] = house.databases()
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT attempt, state FROM jobs").fetchall()
    connection.close()
    assert rows == [(2, "delivered")], "the first attempt was not in the middle of its image when it was ended"


@pytest.mark.soak
async def test_kill_the_worker_in_mid_image(house: House) -> None:
    await house.imagine("an owl", steps=150, count=2)
    await drawing(house)
    worker = house.worker()
    assert worker is not None
    worker.kill()
    await exactly_one_at_the_second_attempt(house)


async def test_kill_the_bot_in_mid_image_and_start_it_again(house: House) -> None:
    await house.imagine("an owl", steps=150, count=2)
    await drawing(house)
    worker = house.worker()
    await house.bot.end(signal.SIGKILL)

    async def worker_gone() -> bool:
        return worker is None or not worker.is_running()

    await house.until(worker_gone, "the worker to end with its bot")
    await house.start_bot()
    await exactly_one_at_the_second_attempt(house)


@pytest.mark.soak
async def test_stop_politely_in_mid_image_and_start_again(house: House) -> None:
    await house.imagine("an owl", steps=150, count=2)
    await drawing(house)
    assert await house.bot.end(signal.SIGTERM) == 0
    await house.start_bot()
    await exactly_one_at_the_second_attempt(house)
