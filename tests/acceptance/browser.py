"""One person at the playground's page, for the tests of the whole way.

`make screenshots` keeps what they see (the README's picture is one of them).
"""

import io
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from PIL import Image, ImageStat
from playwright.async_api import Expect, FilePayload, Locator, Page, ViewportSize, async_playwright

from tests.acceptance.house import PATIENCE, House

LAPTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 375, "height": 812}
KEEP = os.environ.get("SCREENSHOTS")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
expect = Expect()
expect.set_options(timeout=PATIENCE * 1000)

Colour = tuple[float, float, float]


def png(name: str, colour: tuple[int, int, int], size: tuple[int, int] = (96, 96)) -> FilePayload:
    """A picture of one colour, to be chosen in a file field."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": out.getvalue()}


class Visitor:
    """What a member does and sees in the page."""

    def __init__(self, page: Page, house: House) -> None:
        self.page = page
        self.house = house

    # ── what is there ──

    @property
    def box(self) -> Locator:
        """Where lines are typed: a text box, or a combobox while commands are listed."""
        return self.page.locator("#composer-input")

    @property
    def messages(self) -> Locator:
        return self.page.locator("#log .message")

    @property
    def results(self) -> Locator:
        """Messages in the channel that ended with pictures: only these have a recipe to show."""
        recipe = self.page.get_by_role("button", name="Recipe")
        return self.page.locator("#log .message:not(.ephemeral)").filter(has=recipe)

    @property
    def private(self) -> Locator:
        """The newest answer that only this person sees."""
        return self.page.locator("#log .message.ephemeral").last

    @property
    def form(self) -> Locator:
        return self.page.locator("#form-dialog")

    @property
    def phone(self) -> bool:
        size = self.page.viewport_size
        assert size is not None
        return size["width"] < 600

    async def pinned(self, message: Locator) -> Locator:
        """The message that is there now, wherever it stands later."""
        return self.page.locator(f"#{await message.get_attribute('id')}")

    async def drawn(self, doing: Awaitable[object], messages: int = 1) -> Locator:
        """Do it, wait for so many more messages with pictures, and return the newest."""
        before = await self.results.count()
        await doing
        await expect(self.results).to_have_count(before + messages)
        return await self.pinned(self.results.last)

    # ── what is done ──

    async def send(self, line: str, files: Sequence[FilePayload] = ()) -> None:
        if files:
            await self.page.locator("#composer > input[type=file]").set_input_files(files)
        await self.box.fill(line)
        await self.box.press("Enter")
        await expect(self.page.locator("#composer")).to_have_attribute("aria-busy", "false")

    async def told(self, line: str, words: str) -> Locator:
        """Send a command and return its answer, which has these words and only this person sees."""
        await self.send(line)
        await expect(self.private).to_contain_text(words)
        return await self.pinned(self.private)

    async def post(self, words: str, more: str = "", files: Sequence[FilePayload] = ()) -> Locator:
        """A message of one's own that begins with `words`, as it is in the channel then."""
        await self.send(f"{words} {more}".strip(), files)
        posted = self.messages.filter(has_text=words).last
        await expect(posted).to_be_visible()
        return await self.pinned(posted)

    async def reply(self, message: Locator, text: str, files: Sequence[FilePayload] = ()) -> None:
        await message.hover(position={"x": 200, "y": 10})
        await message.get_by_role("button", name="Reply", exact=True).click()
        await self.send(text, files)

    async def press(self, message: Locator, name: str) -> None:
        await message.get_by_role("button", name=name, exact=True).click()

    async def app(self, message: Locator, name: str) -> None:
        """A message command."""
        await message.hover(position={"x": 200, "y": 10})
        await message.get_by_role("button", name="Apps").click()
        await self.page.get_by_role("menu", name="Apps").get_by_role("menuitem", name=name).click()

    async def fill_form(self, **fields: str) -> None:
        """Fill in fields by their labels (`_` stands for a space) and send the form."""
        for name, value in fields.items():
            await self.field(name.replace("_", " ").capitalize()).fill(value)
        await self.press(self.form, "Send")
        await expect(self.form).to_be_hidden()

    async def open(self, place: str) -> None:
        """A channel, a thread or direct messages, by its name at the side."""
        await self._side(True)
        await self.page.locator(".side .channel", has_text=place).first.click()
        await self.arrived(place)
        if self.phone:
            await expect(self.page.locator("#side")).not_to_be_in_viewport()

    async def arrived(self, place: str) -> None:
        """Until its messages are shown, or the question before them."""
        there = f"#gate:not([hidden]), #log-region[aria-label$='{place}']"
        await expect(self.page.locator(there)).to_be_visible()

    async def act_as(self, name: str) -> None:
        await self._side(True)
        async with self.page.expect_response(re.compile(r"/messages\?user=")):
            await self.page.get_by_role("radio", name=name).click()
        await expect(self.page.get_by_role("radio", name=name)).to_be_checked()
        await expect(self.page.locator("#log-region")).to_have_attribute("aria-busy", "false")
        await self._side(False)

    async def _side(self, shown: bool) -> None:
        """The drawer of a phone."""
        if self.phone:
            button = "#side-open" if shown else "#side-close"
            await self.page.locator(button).click()

    def field(self, label: str) -> Locator:
        """Of the form that is open; "optional" may follow its label."""
        return self.form.get_by_label(re.compile(f"^{label}"))

    # ── what is seen ──

    async def keep(self, name: str, at: Locator | None = None) -> None:
        """A screenshot, where they are asked for; with a message in it, where it is given."""
        if KEEP:
            if at is not None:
                await at.scroll_into_view_if_needed()
            kind = "phone" if self.phone else "laptop"
            await self.page.screenshot(path=Path(KEEP) / f"{name}-{kind}.png")

    async def colour(self, picture: Locator, x: float = 0.5, y: float = 0.5) -> Colour:
        """What is seen at a place of the picture (0 to 1), as the browser shows it: the mean of a small square."""
        await expect(picture).to_have_js_property("complete", True)
        seen = Image.open(io.BytesIO(await picture.screenshot())).convert("RGB")
        half = max(1, seen.width // 20)
        across, down = round(x * (seen.width - 1)), round(y * (seen.height - 1))
        red, green, blue = ImageStat.Stat(seen.crop((across - half, down - half, across + half, down + half))).mean
        return red, green, blue


@asynccontextmanager
async def visiting(house: House, chromium: str, size: ViewportSize = LAPTOP) -> AsyncGenerator[Visitor]:
    """A browser with the page, connected. An error in the page's scripts fails the test."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page(viewport=size)
        page.set_default_timeout(PATIENCE * 1000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        await page.goto(house.url)
        await expect(page.locator("#status")).to_have_text("Atelier is online")
        yield Visitor(page, house)
        await browser.close()
        assert not problems, f"errors in the page's scripts: {problems}"


def exactly(text: str) -> re.Pattern[str]:
    return re.compile(f"^{re.escape(text)}$")
