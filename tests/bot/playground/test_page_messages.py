"""What messages hold, and what can be done with them."""

import base64
import re

import pytest
from playwright.async_api import Page, expect

from tests.bot.playground.browser import PNG, Town, box, log, messages, send

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PNG_64 = base64.b64encode(PNG).decode()

DROP = """([selector, name, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, {type: "image/png"}));
    const node = document.querySelector(selector);
    for (const type of ["dragenter", "dragover", "drop"])
        node.dispatchEvent(new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""
PASTE = """([name, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, {type: "image/png"}));
    const options = {clipboardData: data, bubbles: true, cancelable: true};
    document.activeElement.dispatchEvent(new ClipboardEvent("paste", options));
}"""

TOO_WIDE = """(width) => [...document.querySelectorAll("#log *")]
    .filter((node) => node.getBoundingClientRect().right > width).map((node) => node.outerHTML.slice(0, 80))"""


async def test_ten_pictures_one_of_them_hidden(page: Page) -> None:
    await send(page, "/show what: gallery")
    await expect(log(page).locator(".tile")).to_have_count(10)
    first = log(page).get_by_role("img", name="Tile number 1, of one colour")
    await expect(first).to_be_visible()
    badges = log(page).get_by_role("button", name="ALT: description of the picture")
    await badges.first.click()
    await expect(log(page).get_by_text("Tile number 1, of one colour")).to_be_visible()
    # The hidden one: no picture for the eye, the Tab key or a screen reader until it is pressed.
    hidden = log(page).get_by_role("button", name="Open picture: Tile number 3")
    await expect(hidden).to_have_js_property("inert", True)
    await log(page).get_by_role("button", name="Spoiler: show the picture").click()
    await expect(hidden).to_be_focused()
    await expect(log(page).locator(".hidden-picture")).to_have_count(0)
    widths = "[...document.querySelectorAll('.tile')].map((tile) => Math.round(tile.getBoundingClientRect().width))"
    wide, *others = await page.evaluate(widths)  # one wide, then three rows of three
    assert wide > 2.5 * max(others)
    assert max(others) - min(others) <= 1


async def test_rows_of_buttons_and_menus(page: Page) -> None:
    await send(page, "/show what: buttons")
    rows = log(page).locator(".component-row")
    await expect(rows).to_have_count(5)
    await expect(log(page).get_by_role("button", name="V5", exact=True)).to_be_disabled()
    await log(page).get_by_role("button", name="V23").click()
    await expect(log(page).get_by_text("You pressed V23.")).to_be_visible()
    await send(page, "/show what: menus")
    await log(page).get_by_role("combobox", name="Which subject?").click()
    await expect(page.get_by_role("option", name="A fox Quick and brown")).to_be_focused()
    await page.keyboard.press("End")
    await page.keyboard.press("Enter")
    await expect(log(page).get_by_text("Chosen: A rocket.")).to_be_visible()
    two = log(page).get_by_role("combobox", name="Which two?")
    await two.press("ArrowDown")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")  # one is not two: nothing is chosen
    await expect(two).to_be_focused()
    await two.press("Enter")
    for name in ("A fox", "A cat", "A rocket"):
        await page.get_by_role("option", name=name).click()
    await expect(page.get_by_role("status").filter(has_text="At most 2")).to_be_visible()
    await page.get_by_role("button", name="Done").click()
    await expect(log(page).get_by_text("Chosen: A fox, A cat.")).to_be_visible()


async def test_cards_show_their_pictures(page: Page) -> None:
    await send(page, "/show what: embed")
    card = log(page).get_by_role("article", name="Card: A fox")
    await expect(card.get_by_role("link", name="A fox")).to_have_attribute("href", "https://example.com/fox")
    await expect(card.locator("dt")).to_have_text(["Seed", "Steps", "Size"])
    await expect(card.get_by_role("img", name="Tile number 1, of one colour")).to_be_visible()
    await expect(card.locator(".embed-thumbnail img")).to_have_attribute("alt", "Tile number 2, of one colour")
    await expect(log(page).locator(".gallery")).to_have_count(0)  # shown in the card, not a second time
    await send(page, "/show what: pages")
    pages = log(page).get_by_role("article", name="Card: Your pictures")
    await expect(pages.get_by_role("img")).to_have_count(4)
    await pages.get_by_role("button", name="Open picture").nth(2).click()
    await expect(page.get_by_role("dialog", name="Picture").get_by_text("3 of 4")).to_be_visible()


async def test_marks_in_text(page: Page, town: Town, room: str) -> None:
    target = await town.client.say(room, "what it was made from")
    await send(page, f"/show what: text target: {target['id']}")
    text = messages(page).last.locator(".content")
    words = "in 5 minutes, before 3 days ago, long ago 1 year ago, at"
    await expect(text).to_contain_text(words)
    await expect(text.locator(".mention").first).to_have_text("@You")
    await expect(text).to_contain_text("used /imagine")
    await expect(text.get_by_role("link", name="#studio", exact=True)).to_be_visible()
    await expect(text.get_by_role("link", name="the manual")).to_have_attribute("href", "https://example.com/manual")
    await expect(text.locator("ol li")).to_have_text(["first", "second"])
    await expect(text.locator("p.subtext")).to_have_text("8 steps · seed 7")
    spoiler = text.get_by_role("button", name="Spoiler, press to show")
    await spoiler.press("Enter")
    await expect(spoiler).to_have_count(0)
    await expect(text.get_by_text("hidden word")).to_be_visible()
    await text.get_by_role("link", name="this one").click()
    await expect(page.locator(f"#m-{target['id']}")).to_be_focused()
    # A mention that `allowed_mentions` keeps quiet is shown, and calls nobody.
    await expect(messages(page).last).not_to_have_class(re.compile("for-me"))


async def test_a_reply_with_files_told_or_not(page: Page, town: Town, room: str) -> None:
    robin = (await town.client.state())["members"][1]["id"]
    await town.client.say(room, "draw me", user=robin)
    for told in (True, False):
        await messages(page).first.hover()
        await log(page).get_by_role("button", name="Reply").click()
        bar = page.get_by_role("group", name="Reply")
        notify = bar.get_by_role("switch", name="Notify Robin")
        await expect(notify).to_be_checked()
        if not told:
            await notify.click()
            await expect(notify).not_to_be_checked()
        await box(page).focus()
        await page.evaluate(PASTE, ["pasted.png", PNG_64])
        await page.evaluate(DROP, ["#log-region", "dropped.png", PNG_64])
        await expect(page.locator("#drop")).to_be_hidden()
        await page.get_by_role("button", name="Spoiler: dropped.png").click()
        await page.get_by_label("Description of pasted.png").fill("One pixel")
        await send(page, "here")
        await expect(bar).to_be_hidden()
        await expect(messages(page).last.get_by_role("img", name="One pixel")).to_be_visible()
        await expect(messages(page).last.get_by_role("button", name="Spoiler: show")).to_be_visible()
    seen = (await town.client.messages(room))[1:]
    assert [one["pings"] for one in seen] == [[robin], []]
    assert seen[0]["attachments"][1]["filename"] == "SPOILER_dropped.png"


async def test_forwarding_to_another_channel(page: Page, town: Town, room: str) -> None:
    other = await town.new_room("gallery-wall")
    await town.client.say(room, "a **picture**", files={"cat.png": PNG})
    await messages(page).last.hover()
    await log(page).get_by_role("button", name="Forward").click()
    dialog = page.get_by_role("dialog", name="Forward")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_have_text("Choose where the message goes.")
    await dialog.get_by_label("Search channels").fill("gallery-w")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await dialog.get_by_role("button", name="Forward").click()
    await expect(dialog).to_be_hidden()
    await page.locator(f"#channel-{other}").click()
    forward = messages(page).last.locator(".forward")
    await expect(forward).to_contain_text("Forwarded")
    await expect(forward.locator("strong")).to_have_text("picture")
    await expect(forward.get_by_role("button", name="Open picture cat.png")).to_be_visible()
    await forward.get_by_role("link", name=re.compile("#studio")).click()
    await expect(messages(page).last).to_be_focused()
    await expect(messages(page).last.locator(".forward")).to_have_count(0)


async def test_message_commands_by_pointer_touch_and_keyboard(page: Page, town: Town, room: str) -> None:
    await town.client.say(room, "by pointer")
    await messages(page).last.hover()
    await log(page).get_by_role("button", name="Apps").click()
    await page.get_by_role("menu", name="Apps").get_by_role("menuitem", name="Remix this").click()
    await expect(messages(page).last).to_contain_text("by pointer 0")
    await town.client.say(room, "by right click")
    await expect(messages(page).last).to_contain_text("by right click")
    await messages(page).last.click(button="right", position={"x": 300, "y": 10})
    await page.get_by_role("menuitem", name="Remix this").click()
    await expect(messages(page).last).to_contain_text("by right click 0")
    await town.client.say(room, "by keyboard")
    await expect(messages(page).last).to_contain_text("by keyboard")
    await messages(page).last.focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("R")  # by the first letter: from Reply to Remix this
    await page.keyboard.press("Enter")
    await expect(messages(page).last).to_contain_text("by keyboard 0")
    phone = await town.open(room, size=(390, 800), has_touch=True, is_mobile=True)
    await expect(log(phone)).to_have_accessible_name("Messages in #studio")  # loaded: no message is made anew
    await town.client.say(room, "by touch")
    last = messages(phone).last
    await expect(last).to_contain_text("by touch")
    place = await last.bounding_box()
    assert place
    touch = await phone.context.new_cdp_session(phone)
    points = [{"x": place["x"] + 150, "y": place["y"] + place["height"] - 12}]
    await touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points})
    await expect(last).to_have_class(re.compile("held"))
    await touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    await phone.get_by_role("menuitem", name="Remix this").tap()
    await expect(messages(phone).last).to_contain_text("by touch 0")


async def test_deleting_ones_own_and_others(page: Page, town: Town, room: str) -> None:
    robin = await town.open(room, user="robin")
    await town.client.say(room, "of the owner")
    await expect(messages(robin)).to_have_count(1)
    await messages(robin).last.click(button="right", position={"x": 300, "y": 10})
    await expect(robin.get_by_role("menuitem", name="Copy text")).to_be_visible()
    await expect(robin.get_by_role("menuitem", name="Delete message")).to_have_count(0)
    await messages(page).last.click(button="right", position={"x": 300, "y": 10})
    await page.get_by_role("menuitem", name="Delete message").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(messages(robin)).to_have_count(0)
    await expect(box(page)).to_be_focused()


async def test_hostile_names_and_texts_stay_text(page: Page, town: Town, room: str) -> None:
    await send(page, "/show what: hostile")
    await expect(messages(page)).to_have_count(1)
    reply = await town.client.say(
        room,
        "\u202e" + "\u0301" * 200 + "||[**a**](javascript:alert(1))||" + "<@0>" * 50 + "x" * 900,
        files={"\u202egnp.<img src=x>" + "n" * 300 + ".exe": b"MZ", "../../etc/passwd": b"root"},
        reply_to=(await town.client.messages(room))[0]["id"],
    )
    await expect(page.locator(f"#m-{reply['id']}")).to_be_visible()
    await send(page, "/imagine prompt: " + "**_~|`<b>@everyone\u202e" * 40 + " steps: 1")
    await expect(log(page).get_by_role("img").last).to_be_visible(timeout=15000)
    assert (
        await page.evaluate("document.querySelectorAll('#log script, #log img[onerror], a[href^=javascript]').length")
        == 0
    )
    await send(page, "**@everyone** " * 430)  # 6,020 characters
    await expect(page.get_by_text("A message has at most 2000 characters; this one has 6019.")).to_be_visible()
    for width in (1280, 390):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        assert await page.evaluate(TOO_WIDE, width) == []
        scroller = "(({scrollWidth, clientWidth}) => scrollWidth - clientWidth)(document.getElementById('scroller'))"
        assert await page.evaluate(scroller) == 0
