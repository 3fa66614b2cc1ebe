"""What a member waits for, with real processes: the page, the first picture, later ones, and an answer under load.

Times are from the start of `atelier playground` as a new user runs it, on a machine that is set up.
"""

import asyncio
import json
import re
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from tests.acceptance.house import House, Process

LATER = 5
WAITING = 10
ASKED_WHILE_BUSY = 20


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder)))
    table = Table("what", "measured")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    Console().print(table)
    print(json.dumps({"benchmark": "chat", **figures}))


async def measure(folder: Path) -> dict[str, float]:
    house = House(folder)
    start = time.perf_counter()
    studio = Process(["bot", "playground", "--port", "0"], folder, PYTHONUNBUFFERED="1")
    await studio.start()
    try:
        house.url = await _printed_url(studio)
        async with aiohttp.ClientSession() as house.http:
            figures = {"page_answers_s": await _page(house, start)}
            await house.until_connected(studio)
            figures["bot_connected_s"] = time.perf_counter() - start
            await house.imagine("a red apple")
            await house.until_pictures(1)
            figures["first_picture_s"] = time.perf_counter() - start
            figures["later_picture_s"] = statistics.median([await _one_more(house, n) for n in range(LATER)])
            figures |= await _acknowledgements(house)
    finally:
        await studio.end()
    stall = re.search(r"longest stall of the event loop was (\d+) ms", studio.log.read_text())
    assert stall is not None
    return {**figures, "longest_stall_ms": float(stall[1])}


async def _printed_url(studio: Process) -> str:
    while True:
        found = re.search(r"http://\S+", await studio.line())
        if found:
            return found[0]


async def _page(house: House, start: float) -> float:
    async with house.http.get(house.url) as answer:
        assert answer.status == 200
        await answer.read()
    return time.perf_counter() - start


async def _one_more(house: House, number: int) -> float:
    before = len(await house.pictures())
    start = time.perf_counter()
    await house.imagine(f"a fox number {number}")
    await house.until_pictures(before + 1)
    return time.perf_counter() - start


async def _acknowledgements(house: House) -> dict[str, float]:
    """Milliseconds from the interaction to the bot's answer, while the worker draws and ten jobs wait."""
    for number in range(WAITING):
        await house.imagine(f"a castle number {number}", steps=150, user=number % 3)
    times: list[float] = []
    for number in range(ASKED_WHILE_BUSY):
        answer = await house.imagine(f"a cat number {number}", steps=1, user=number % 3)
        times.append(answer["answered_ms"])
    return {"acknowledged_median_ms": statistics.median(times), "acknowledged_longest_ms": max(times)}
