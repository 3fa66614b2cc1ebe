"""The whole way in a real browser: typed in the page, drawn by the bundled model, seen in the page.

`make screenshots` keeps what these tests see (the README's picture is one of them).
"""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Locator, Page, ViewportSize, async_playwright, expect

from tests.acceptance.house import PATIENCE, House

pytestmark = pytest.mark.browser

LAPTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 375, "height": 812}
KEEP = os.environ.get("SCREENSHOTS")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(params=[LAPTOP, PHONE], ids=["laptop", "phone"])
async def page(request: pytest.FixtureRequest, chromium: str, house: House) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = await browser.new_page(viewport=request.param)
        page.set_default_timeout(PATIENCE * 1000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        await page.goto(house.url)
        await expect(page.locator("#status")).to_have_text("Atelier is online", timeout=PATIENCE * 1000)
        yield page
        await browser.close()
        assert not problems, f"errors in the page's scripts: {problems}"


async def type_line(page: Page, line: str) -> None:
    box = page.get_by_role("textbox", name="Message #studio")
    await box.fill(line)
    await box.press("Enter")


def finished(page: Page) -> Locator:
    """Messages that have ended with pictures: only these have a recipe to show."""
    return page.get_by_role("listitem").filter(has=page.get_by_role("button", name="Recipe"))


async def keep(page: Page, name: str) -> None:
    if KEEP:
        size = page.viewport_size
        assert size is not None
        kind = "phone" if size["width"] < 600 else "laptop"
        await page.screenshot(path=Path(KEEP) / f"{name}-{kind}.png")


async def colour_at_centre(picture: Locator, folder: Path) -> tuple[int, int, int]:
    """What can be seen in the middle of the picture, as the browser shows it."""
    path = folder / "seen.png"
    await picture.screenshot(path=path)
    seen = Image.open(path).convert("RGB")
    pixel = seen.getpixel((seen.width // 2, seen.height // 2))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


async def test_a_typed_line_becomes_a_picture(page: Page, tmp_path: Path) -> None:
    await type_line(page, "/imagine prompt: a red apple on a white background seed: 7")
    message = finished(page)
    await expect(message).to_have_count(1, timeout=PATIENCE * 1000)
    picture = message.get_by_role("img", name="a red apple")
    await expect(picture).to_be_visible()
    red, green, blue = await colour_at_centre(picture, tmp_path)
    assert red > 130, "the middle of a red apple is red"
    assert red > 2 * max(green, blue), "the middle of a red apple is red"
    await keep(page, "apple")


async def test_options_count_and_start_image(page: Page, tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    Image.new("RGB", (96, 96), (40, 90, 220)).save(start)
    await type_line(page, "/imagine prompt: a fox negative_prompt: white background guidance: 3 count: 4 seed: 5")
    await expect(finished(page)).to_have_count(1, timeout=PATIENCE * 1000)
    await expect(finished(page).first.get_by_role("img", name="a fox")).to_have_count(4)
    await keep(page, "four")

    await page.get_by_role("textbox", name="Message #studio").fill("/imagine")
    await page.get_by_role("option", name="/imagine").click()
    card = page.get_by_role("group", name="Command /imagine")
    await card.get_by_label("prompt", exact=True).fill("a penguin on a blue background")
    await card.get_by_role("button", name="Add image").click()
    await card.locator("input[type=file]").set_input_files(start)
    await card.get_by_role("button", name="Add strength").click()
    await card.get_by_label("strength", exact=True).fill("0.9")
    await keep(page, "fields")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(finished(page)).to_have_count(2, timeout=PATIENCE * 1000)
    await keep(page, "from-image")


async def test_stop_again_and_recipe_buttons(page: Page) -> None:
    await type_line(page, "/imagine prompt: a castle steps: 150 count: 4")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_text("Stopped.").first).to_be_visible()
    await type_line(page, "/imagine prompt: a rocket steps: 6")
    await expect(finished(page)).to_have_count(1, timeout=PATIENCE * 1000)
    await finished(page).first.get_by_role("button", name="Recipe").click()
    await expect(page.get_by_text("Only you can see this").last).to_be_visible()
    await finished(page).first.get_by_role("button", name="Again").click()
    await expect(finished(page)).to_have_count(2, timeout=PATIENCE * 1000)
    await keep(page, "buttons")


async def test_several_requests_sharpen_at_the_same_time(page: Page) -> None:
    """One batch for everybody: nobody waits for the request before to end."""
    prompts = ("a fox on a blue background", "a rocket", "a green apple on a pink background")
    for prompt, other in zip(prompts, ("", " guidance: 3", " negative_prompt: white background"), strict=True):
        await type_line(page, f"/imagine prompt: {prompt} steps: 150 seed: 4{other}")
    for prompt in prompts:
        preview = page.get_by_role("img", name=re.compile(f"Preview after step .*{prompt}"))
        await expect(preview).to_have_count(1, timeout=PATIENCE * 1000)
    assert await finished(page).count() == 0, "all three are still being drawn"
    await keep(page, "together")
    await expect(finished(page)).to_have_count(3, timeout=PATIENCE * 1000)
