"""The whole way in a real browser: typed in the page, drawn by the bundled model, seen in the page."""

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.acceptance.browser import LAPTOP, PHONE, Visitor, expect

pytestmark = pytest.mark.browser
on_both = pytest.mark.parametrize(
    "visitor", [LAPTOP, pytest.param(PHONE, marks=pytest.mark.soak)], indirect=True, ids=["laptop", "phone"]
)


async def test_a_typed_line_becomes_a_picture(visitor: Visitor) -> None:
    message = await visitor.drawn(visitor.send("/imagine prompt: a red apple on a white background seed: 7"))
    red, green, blue = await visitor.colour(message.get_by_role("img", name="a red apple"))
    assert red > 130, "the middle of a red apple is red"
    assert red > 2 * max(green, blue), "the middle of a red apple is red"
    await visitor.keep("apple")


@on_both
async def test_options_count_and_start_image(visitor: Visitor, tmp_path: Path) -> None:
    start, page = tmp_path / "start.png", visitor.page
    Image.new("RGB", (96, 96), (40, 90, 220)).save(start)
    line = "/imagine prompt: a fox negative_prompt: white background guidance: 3 count: 4 seed: 5"
    four = await visitor.drawn(visitor.send(line))
    await expect(four.get_by_role("img", name="a fox")).to_have_count(4)
    await visitor.keep("four")

    await visitor.box.fill("/imagine")
    await page.get_by_role("option", name="/imagine").click()
    card = page.get_by_role("group", name="Command /imagine")
    await card.get_by_label("prompt", exact=True).fill("a penguin on a blue background")
    await card.get_by_role("button", name="Add image").click()
    await card.locator("input[type=file]").set_input_files(start)
    await card.get_by_role("button", name="Add strength").click()
    await card.get_by_label("strength", exact=True).fill("0.9")
    await visitor.keep("fields")
    await visitor.drawn(page.get_by_role("button", name="Send", exact=True).click())
    await visitor.keep("from-image")


async def test_stop_again_and_recipe_buttons(visitor: Visitor) -> None:
    await visitor.send("/imagine prompt: a castle steps: 150 count: 4")
    await visitor.page.get_by_role("button", name="Stop").click()
    await expect(visitor.page.get_by_text("Stopped.").first).to_be_visible()
    rocket = await visitor.drawn(visitor.send("/imagine prompt: a rocket steps: 6"))
    await visitor.press(rocket, "Recipe")
    await expect(visitor.private.locator("code")).to_contain_text("prompt: a rocket")
    await visitor.drawn(visitor.press(rocket, "Again"))
    await visitor.keep("buttons")


async def test_several_requests_sharpen_at_the_same_time(visitor: Visitor) -> None:
    """One batch for everybody: nobody waits for the request before to end."""
    prompts = ("a fox on a blue background", "a rocket", "a green apple on a pink background")
    for prompt, other in zip(prompts, ("", " guidance: 3", " negative_prompt: white background"), strict=True):
        await visitor.send(f"/imagine prompt: {prompt} steps: 150 seed: 4{other}")
    for prompt in prompts:
        preview = visitor.page.get_by_role("img", name=re.compile(f"Preview after step .*{prompt}"))
        await expect(preview).to_have_count(1)
    assert await visitor.results.count() == 0, "all three are still being drawn"
    await visitor.keep("together")
    await expect(visitor.results).to_have_count(3)
