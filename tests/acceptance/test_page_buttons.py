"""The buttons under a picture, pressed in the page: at once, after kill -9, minutes and days later."""

import io

import pytest
from PIL import Image
from playwright.async_api import Locator

from generation.recipe import from_parameters
from tests.acceptance.browser import Visitor, expect
from tests.acceptance.house import House

pytestmark = pytest.mark.browser

APPLE = "a red apple on a white background"


async def test_buttons_work_for_ever(visitor: Visitor) -> None:
    house = visitor.house
    apple = await visitor.drawn(visitor.send(f"/imagine prompt: {APPLE} steps: 8 seed: 7"))
    assert await is_red(visitor, apple)
    varied = await vary_upscale_again(visitor, apple)
    await remix(visitor, apple)
    await recipe(visitor, apple)
    await delete(visitor)

    await house.restart()
    await expect(visitor.page.locator("#status")).to_have_text("Atelier is online")
    await visitor.keep("after-restart")
    assert await is_red(visitor, await made_from_it(visitor, apple, "Vary"))

    await later(house, minutes=20)  # the token of the first interaction is long gone
    large = await made_from_it(visitor, apple, "Upscale")
    assert await size_of(visitor, large) == (512, 512)
    await visitor.press(apple, "Remix")
    await expect(visitor.form).to_be_visible()
    await later(house, minutes=2 * 24 * 60)  # every link that was given out before is dead
    await visitor.drawn(visitor.fill_form(prompt=f"{APPLE} --steps 6"))
    again = await visitor.drawn(visitor.press(apple, "Again"))
    assert await is_red(visitor, again)

    for picture in house.data.glob("images/*/*.png"):
        picture.unlink()
    # Nor could this one be drawn again, without the picture from which it began: its message has it still.
    assert await is_red(visitor, await made_from_it(visitor, varied, "Vary"))
    large = await made_from_it(visitor, apple, "Upscale")
    assert await size_of(visitor, large) == (512, 512)
    await visitor.keep("two-days-later", at=large.get_by_role("button", name="Delete"))


async def vary_upscale_again(visitor: Visitor, apple: Locator) -> Locator:
    varied = await made_from_it(visitor, apple, "Vary")
    assert await is_red(visitor, varied)
    await expect(varied.locator(".content")).to_contain_text("variation of this picture")
    large = await made_from_it(visitor, apple, "Upscale")
    assert await size_of(visitor, apple) == (256, 256)
    assert await size_of(visitor, large) == (512, 512)
    await expect(large.locator(".content")).to_contain_text("enlarged from this picture to 512×512")
    assert await visitor.colour(large.get_by_role("img")) == pytest.approx(
        await visitor.colour(apple.get_by_role("img")), abs=25
    )
    await visitor.keep("vary-upscale", at=large.get_by_role("button", name="Delete"))
    again = await visitor.drawn(visitor.press(apple, "Again"))
    await expect(again.locator(".content")).not_to_contain_text("seed 7 ")
    assert await is_red(visitor, again)
    return varied


async def made_from_it(visitor: Visitor, picture: Locator, button: str) -> Locator:
    made = await visitor.drawn(visitor.press(picture, button))
    await expect(made.get_by_role("img", name=APPLE)).to_have_count(1)
    await made.get_by_role("link", name="this picture").click()
    await expect(picture).to_be_focused()
    return made


async def remix(visitor: Visitor, apple: Locator) -> None:
    await visitor.press(apple, "Remix")
    for label, value in (("Prompt", APPLE), ("Negative prompt", ""), ("Guidance", "7.5"), ("Strength", "0.6")):
        await expect(visitor.field(label)).to_have_value(value)
    await visitor.keep("remix-form")
    prompt = "a green apple on a white background --strength 0.85 --steps 12"
    green = await visitor.drawn(visitor.fill_form(prompt=prompt))
    red, shade, _ = await visitor.colour(green.get_by_role("img"))
    assert shade > red, "what was typed is drawn"
    await expect(green.locator(".content")).to_contain_text("remix of this picture")


async def recipe(visitor: Visitor, apple: Locator) -> None:
    await visitor.press(apple, "Recipe")
    text = visitor.private.locator("code")
    for row in (f"prompt: {APPLE}", "steps: 8", "guidance: 7.5", "seed: 7", "size: 64x64"):
        await expect(text).to_contain_text(row)
    card = visitor.private.get_by_role("link", name="recipe-")
    answer = await visitor.page.request.get(f"{visitor.house.url}{await card.get_attribute('href')}")
    kept = from_parameters(await answer.text())
    assert (kept.prompt, kept.seed, kept.num_inference_steps) == (APPLE, 7, 8)
    await visitor.keep("recipe", at=visitor.private)


async def delete(visitor: Visitor) -> None:
    """Others may not; the owner is asked once, and the picture is gone from the chat and the disk."""
    doomed = await visitor.drawn(visitor.send("/imagine prompt: an owl steps: 3"))
    kept = await visitor.results.count()
    files = len(list(visitor.house.data.glob("images/*")))
    await visitor.act_as("Robin")
    await visitor.press(doomed, "Delete")
    await expect(visitor.private).to_contain_text("Only the person who asked for this picture")
    await visitor.act_as("You")
    await visitor.press(doomed, "Delete")
    await expect(visitor.private).to_contain_text("Delete this picture for good?")
    await visitor.keep("delete")
    await visitor.press(visitor.private, "Delete for good")
    await expect(visitor.private).to_contain_text("Deleted.")
    await expect(doomed).to_have_count(0)
    await expect(visitor.results).to_have_count(kept - 1)
    assert len(list(visitor.house.data.glob("images/*"))) == files - 1


async def is_red(visitor: Visitor, message: Locator) -> bool:
    red, green, blue = await visitor.colour(message.get_by_role("img", name=APPLE))
    return red > 1.5 * max(green, blue)


async def size_of(visitor: Visitor, message: Locator) -> tuple[int, int]:
    """Of the file that was posted."""
    source = await message.get_by_role("img").get_attribute("src")
    answer = await visitor.page.request.get(f"{visitor.house.url}{source}")
    assert answer.ok, answer.status
    return Image.open(io.BytesIO(await answer.body())).size


async def later(house: House, *, minutes: float) -> None:
    """By Discord's clock."""
    await house.post("clock", {"advance": minutes * 60})
