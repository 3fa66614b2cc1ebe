"""The page in a real browser, for its tests: one server, one bot and one browser for all of them.

Every test has a channel and a browser profile of its own, so they do not see each other.
"""

import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, Locator, Page, async_playwright, expect

from tests.bot.playground.client import PlaygroundClient
from tests.bot.playground.process import Process

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cf500f0003820180"
    "5c1b6f520000000049454e44ae426082"
)
DEMO_BOT = Path(__file__).parent / "demo_bot.py"


class Town:
    """The processes behind the pages. `errors` holds what the browser's console called an error."""

    def __init__(self, client: PlaygroundClient, browser: Browser) -> None:
        self.client = client
        self.browser = browser
        self.errors: list[str] = []
        self.bot: Process

    async def start_bot(self) -> None:
        self.bot = await Process.start(sys.executable, str(DEMO_BOT), self.client.url)
        await self.bot.line("ready")

    async def new_room(self, name: str = "studio", **more: Any) -> str:
        """The id of a new channel."""
        made = await self.client.call("POST", "/channels", json={"name": name, **more})
        return made[0]["id"]

    async def open(
        self, room: str, *, user: str = "you", size: tuple[int, int] = (1280, 800), **context: Any
    ) -> Page:
        """A browser of its own with the page in that channel, connected."""
        width, height = size
        profile = await self.browser.new_context(viewport={"width": width, "height": height}, **context)
        profile.set_default_timeout(8000)
        page = await profile.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda told: self.errors.append(told.text) if told.type == "error" else None)
        await page.goto(f"{self.client.url}/?user={user}&channel={room}")
        await expect(page.get_by_text("Atelier is online")).to_be_visible()
        await expect(page.locator(f"#channel-{room}")).to_have_attribute("aria-current", "page")
        return page

    async def close_pages(self) -> None:
        for profile in self.browser.contexts:
            await profile.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def town() -> AsyncIterator[Town]:
    """A server with the demo bot, and a browser."""
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs Chromium for the browser tests.")
        pytest.skip("no Chromium on this machine")
    server = await Process.start(sys.executable, "-m", "bot.playground.server", "--port", "0")
    url = (await server.line("listening ")).removeprefix("listening ")
    async with aiohttp.ClientSession() as session, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        opened = Town(PlaygroundClient(url, session), browser)
        await opened.start_bot()
        yield opened
        await browser.close()
        await opened.bot.stop()
    await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def room(town: Town) -> str:
    """The id of a new channel, called #studio."""
    return await town.new_room()


@pytest_asyncio.fixture(loop_scope="session", params=[(1280, 800)], ids=["laptop"])
async def page(request: Any, town: Town, room: str) -> AsyncIterator[Page]:
    """The page in a channel of its own. Whatever the browser's console calls an error fails the test."""
    town.errors.clear()
    yield await town.open(room, size=request.param)
    await town.close_pages()
    assert town.errors == []


def box(page: Page) -> Locator:
    """A text box, or a combobox while commands are listed."""
    return page.get_by_label("Message #studio", exact=True)


def log(page: Page) -> Locator:
    return page.get_by_role("log")


def messages(page: Page) -> Locator:
    return log(page).locator(".message")


def png(name: str) -> FilePayload:
    """A picture of one pixel, to be chosen in a file field."""
    return {"name": name, "mimeType": "image/png", "buffer": PNG}


async def send(page: Page, line: str) -> None:
    """Type a line into the box and press Enter."""
    await page.locator("#composer-input").fill(line)
    await page.locator("#composer-input").press("Enter")
