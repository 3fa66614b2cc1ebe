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


async def test_a_form_with_a_text_to_agree_to_and_many_photos(page: Page) -> None:
    await send(page, "/photos note: mine")
    form = page.get_by_role("dialog", name="Teach me a new word")
    await expect(form.locator("strong")).to_have_text("What you agree to")
    photos = form.get_by_label("Photos *", exact=True)
    await expect(photos).to_be_focused()
    await expect(form.get_by_text("Choose up to 10 files, paste or drop them")).to_be_visible()
    await photos.set_input_files([png(f"{number}.png") for number in range(12)])
    await expect(form.get_by_text("At most 10 files, please.")).to_be_visible()
    await expect(form.get_by_role("list", name="Files of Photos").get_by_role("listitem")).to_have_count(10)
    for number in range(2, 10):
        await form.get_by_role("button", name=f"Remove {number}.png").press("Enter")
        await expect(photos).to_be_focused()
    await form.get_by_role("button", name="Send").click()
    await expect(photos).to_have_accessible_description("At least 3 files, please.")
    await photos.set_input_files(png("last.png"))
    # What is left by keyboard: the choice and the box that has to be ticked.
    await form.get_by_role("radiogroup", name="What it is").get_by_role("radio").first.focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Control+Enter")
    agree = form.get_by_role("checkbox", name="I agree")
    await expect(form.get_by_text("Consent is needed.")).to_be_visible()
    await expect(agree).to_be_focused()
    await page.keyboard.press("Space")
    await page.keyboard.press("Control+Enter")
    await expect(form).to_be_hidden()
    await expect(log(page).locator("code")).to_have_text("3 of self")


async def test_a_long_text_with_suggestions(page: Page) -> None:
    """As a prompt is typed: nothing is said until something fits, and Enter chooses only then."""
    await page.locator("#composer-input").fill("/photos")
    await page.keyboard.press("Tab")
    await page.get_by_role("button", name="Add note").click()
    note = page.get_by_label("note", exact=True)
    await page.keyboard.type("a photo of a cat")
    await page.wait_for_timeout(400)
    await expect(page.get_by_text("Nothing fits.")).to_have_count(0)
    await page.keyboard.type(" and <my-")
    await expect(page.get_by_role("option")).to_have_count(2)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(note).to_have_value("a photo of a cat and <my-mug>")
    await page.keyboard.type(" on a table")
    await expect(note).to_have_value("a photo of a cat and <my-mug> on a table")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog", name="Teach me a new word")).to_be_visible()
