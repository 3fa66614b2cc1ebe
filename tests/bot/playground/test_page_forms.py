"""Forms that the bot shows, and the fields of commands."""

import base64

import pytest
from playwright.async_api import Page, expect

from tests.bot.playground.browser import PNG, log, png, send

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DROP = """([id, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
    const node = document.querySelector(id);
    node.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


async def test_every_kind_of_field_says_what_is_wrong(page: Page) -> None:
    await send(page, "/form")
    form = page.get_by_role("dialog", name="Everything in one form")
    prompt = form.get_by_label("Prompt")
    await expect(prompt).to_have_value("a red apple")
    await expect(prompt).to_be_focused()
    await expect(prompt).to_have_accessible_description("What to draw.")
    await expect(form.get_by_text("11 / 60")).to_be_visible()
    await prompt.fill("fox")
    await form.get_by_role("button", name="Send").click()
    await expect(prompt).to_be_focused()
    await expect(prompt).to_have_attribute("aria-invalid", "true")
    await expect(prompt).to_have_accessible_description("What to draw. At least 5 characters, please; this has 3.")
    for sentence in ("Kind is needed.", "Consent is needed.", "Photos is needed."):
        await expect(form.get_by_text(sentence)).to_be_visible()
    await prompt.fill("a fox " * 11)
    await expect(form.get_by_text("66 / 60")).to_have_class("counter over")
    await expect(form.get_by_text("At least 5 characters")).to_have_count(0)
    await form.get_by_role("button", name="Send").click()
    await expect(form.get_by_text("At most 60 characters, please; this has 66.")).to_be_visible()
    await prompt.fill("a fox in snow")
    # The rest by keyboard: the form keeps the focus inside.
    await page.keyboard.press("Tab")
    await page.keyboard.press("ArrowDown")
    await expect(form.get_by_role("radio", name="Myself")).to_be_checked()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await expect(form.get_by_role("checkbox", name="The photos are mine")).to_be_checked()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Escape")  # closes the list, not the form
    await expect(form.get_by_role("combobox", name="Size")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(form.get_by_role("combobox", name="Size: Large")).to_be_focused()
    photos = form.get_by_label("Photos *", exact=True)
    await photos.set_input_files(png("one.png"))
    await page.evaluate(DROP, ["#form-dialog .upload", base64.b64encode(PNG).decode()])
    await expect(form.get_by_role("button", name="Remove dropped.png")).to_be_visible()
    await form.get_by_role("button", name="Remove one.png").click()
    await form.get_by_role("button", name="Send").click()
    await expect(form.get_by_text("At least 2 files, please.")).to_be_visible()
    await photos.set_input_files(png("two.png"))
    await page.keyboard.press("Control+Enter")
    await expect(form).to_be_hidden()
    answer = "['a fox in snow', 'me', ['mine'], ['l'], ['dropped.png', 'two.png']]"
    await expect(log(page).locator("code")).to_have_text(answer)
    await expect(page.get_by_role("textbox", name="Message #studio")).to_be_focused()
