"""Nothing is lost and nothing comes twice when a process is killed with -9 in the middle of an image."""

import asyncio
import signal

from tests.acceptance.house import House


async def drawing(house: House) -> None:
    """Wait until the steps of a picture are being done: its message shows a preview."""

    async def preview() -> bool:
        return any(m["attachments"] for m in await house.public())

    await house.until(preview, "a live preview")


async def exactly_one(house: House) -> None:
    """One finished message, also after a while in which a second one could have come."""
    [message] = await house.until_pictures(1)
    assert len(message["attachments"]) == 2
    await asyncio.sleep(2)
    assert [m["id"] for m in await house.public()] == [message["id"]]
    assert [a["id"] for a in (await house.pictures())[0]["attachments"]] == [a["id"] for a in message["attachments"]]


async def test_kill_the_worker_in_mid_image(house: House) -> None:
    await house.imagine("an owl", steps=120, count=2)
    await drawing(house)
    worker = house.worker()
    assert worker is not None
    worker.kill()
    await exactly_one(house)


async def test_kill_the_bot_in_mid_image_and_start_it_again(house: House) -> None:
    await house.imagine("an owl", steps=120, count=2)
    await drawing(house)
    worker = house.worker()
    await house.bot.end(signal.SIGKILL)

    async def worker_gone() -> bool:
        return worker is None or not worker.is_running()

    await house.until(worker_gone, "the worker to end with its bot")
    await house.start_bot()
    await exactly_one(house)


async def test_stop_politely_in_mid_image_and_start_again(house: House) -> None:
    await house.imagine("an owl", steps=120, count=2)
    await drawing(house)
    assert await house.bot.end(signal.SIGTERM) == 0
    await house.start_bot()
    await exactly_one(house)
