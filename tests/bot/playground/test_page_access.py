"""For every eye and hand: colours, motion, the keyboard alone, screen readers, and many messages."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.bot.playground.browser import Town, box, log, messages, send

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LOW_CONTRAST = """() => {
    // WCAG 2.2, 1.4.3: 4.5 to 1; 3 to 1 for large text. Disabled controls and text on pictures are left out.
    const pen = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    const rgba = (colour) => {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = colour;
        pen.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((part, i) => part * a + below[i] * (1 - a));
    const ground = (node) => {
        if (!node) return rgba(getComputedStyle(document.body).backgroundColor).slice(0, 3);
        const own = rgba(getComputedStyle(node).backgroundColor);
        return own[3] === 1 ? own.slice(0, 3) : over(own, ground(node.parentElement));
    };
    const light = (colour) => {
        const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = colour.map((part) => linear(part / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        const text = walker.currentNode.data.trim().slice(0, 30);
        if (!text || !node.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
        if (node.closest(":disabled, .tile, .visually-hidden, .skip, .spoiler[role]")) continue;
        const style = getComputedStyle(node);
        const below = ground(node);
        const [one, other] = [light(over(rgba(style.color), below)), light(below)].sort((a, b) => b - a);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        const ratio = (one + 0.05) / (other + 0.05);
        if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} ${node.className} ${text}`);
    }
    return [...new Set(found)];
}"""
NAMED = {
    *("button", "link", "textbox", "searchbox", "combobox", "radio", "checkbox", "menuitem", "option", "switch"),
    *("dialog", "listbox", "menu", "toolbar", "radiogroup", "image", "region", "log", "navigation", "form"),
}


async def test_light_and_dark_follow_the_system_or_the_switch(page: Page) -> None:
    await send(page, "/imagine a cat steps: 1")
    await expect(log(page).get_by_role("button", name="Delete")).to_be_visible(timeout=15000)
    for what in ("text", "embed", "menus", "private", "buttons"):
        await send(page, f"/show what: {what}")
        await page.wait_for_timeout(150)
    await send(page, "/silent")
    await expect(log(page).get_by_text("did not respond")).to_be_visible()
    await log(page).get_by_role("button", name="Spoiler, press to show").click()
    await page.locator("#composer-input").fill("/im")
    ground = "getComputedStyle(document.body).backgroundColor"
    for scheme, colour in (("light", "rgb(250, 249, 246)"), ("dark", "rgb(25, 24, 23)")):
        await page.emulate_media(color_scheme=scheme)  # pyright: ignore[reportArgumentType]
        assert await page.evaluate(ground) == colour
        assert await page.evaluate(LOW_CONTRAST) == []
    await page.get_by_role("radio", name="Light").check()
    assert await page.evaluate(ground) == "rgb(250, 249, 246)"
    await page.reload()
    await expect(page.get_by_role("radio", name="Light")).to_be_checked()
    assert await page.evaluate(ground) == "rgb(250, 249, 246)"
    await page.get_by_role("radio", name="System").check()
    assert await page.evaluate(ground) == "rgb(25, 24, 23)"
    await send(page, "/form")
    await page.get_by_role("dialog").get_by_role("button", name="Send").click()
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)  # pyright: ignore[reportArgumentType]
        assert await page.evaluate(LOW_CONTRAST) == []


async def test_less_motion_where_it_is_asked_for(page: Page) -> None:
    await page.emulate_media(reduced_motion="reduce")
    await send(page, "/think seconds: 2")
    await expect(log(page).get_by_text("Atelier is thinking")).to_be_visible()
    moving = "document.getAnimations().filter((one) => one.effect.getTiming().iterations > 1).length"
    assert await page.evaluate(moving) == 0
    await expect(log(page).get_by_text("Done.")).to_be_visible()


async def test_picture_button_and_form_by_keyboard_alone(page: Page) -> None:
    keys = page.keyboard
    await expect(box(page)).to_be_focused()
    await keys.type("/im")
    await keys.press("Tab")
    await keys.type("a rocket")
    await keys.press("Tab")  # past the fields that can be added, to "Add steps"
    for _ in range(12):
        if await page.evaluate("document.activeElement.getAttribute('aria-label')") == "Add steps":
            break
        await keys.press("Tab")
    await keys.press("Enter")
    await keys.type("1")
    await keys.press("Enter")
    await expect(log(page).get_by_role("img", name="a rocket, drawn")).to_be_visible(timeout=15000)
    await expect(box(page)).to_be_focused()
    for _ in range(8):  # backwards: the paper clip, then into the newest message
        await keys.press("Shift+Tab")
        if await page.evaluate("document.activeElement.textContent") == "Remix":
            break
    await expect(log(page).get_by_role("button", name="Remix", exact=True)).to_be_focused()
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await keys.press("Enter")
    form = page.get_by_role("dialog", name="Remix")
    await expect(form.get_by_label("Prompt")).to_be_focused()
    for _ in range(20):  # the focus stays in the dialog
        await keys.press("Tab")
        assert await page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    await form.get_by_label("Prompt").focus()
    await keys.press("Control+A")
    await keys.type("a blue rocket")
    await keys.press("Enter")
    await expect(log(page).get_by_text("Remix: a blue rocket")).to_be_visible()
    await expect(form).to_be_hidden()
    await expect(log(page).get_by_role("button", name="Remix", exact=True)).to_be_focused()
    await keys.press("Escape")  # from the button to its message
    await expect(messages(page).nth(1)).to_be_focused()
    await keys.press("ArrowDown")
    await expect(messages(page).last).to_be_focused()
    await keys.press("Home")
    await expect(messages(page).first).to_be_focused()
    await keys.press("ArrowDown")
    await keys.press("r")
    await expect(page.get_by_text("Replying to Atelier")).to_be_visible()
    await expect(box(page)).to_be_focused()
    await keys.press("Escape")
    await expect(page.get_by_text("Replying to Atelier")).to_be_hidden()


async def test_a_menu_gives_the_focus_back(page: Page, town: Town, room: str) -> None:
    await town.client.say(room, "a message")
    await messages(page).last.focus()
    await page.keyboard.press("Tab")
    tools = log(page).get_by_role("toolbar", name="Message actions")
    await expect(tools.get_by_role("button", name="Reply")).to_be_focused()
    await page.keyboard.press("End")
    await expect(tools.get_by_role("button", name="More")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menuitem", name="Reply")).to_be_focused()
    await expect(tools.get_by_role("button", name="More")).to_have_attribute("aria-expanded", "true")
    await page.keyboard.press("Escape")
    await expect(tools.get_by_role("button", name="More")).to_be_focused()
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("Tab")  # one stop for the whole toolbar
    await expect(page.get_by_role("button", name="Attach a file")).to_be_focused()


async def nameless(page: Page) -> list[str]:
    """Roles of what a screen reader meets without a name."""
    session = await page.context.new_cdp_session(page)
    tree: dict[str, Any] = await session.send("Accessibility.getFullAXTree")
    shown = [node for node in tree["nodes"] if not node["ignored"] and node["role"]["value"] in NAMED]
    assert len(shown) > 20
    return [node["role"]["value"] for node in shown if not node.get("name", {}).get("value", "").strip()]


async def test_everything_has_a_name_and_ids_are_unique(page: Page) -> None:
    for what in ("text", "embed", "menus", "private", "gallery"):
        await send(page, f"/show what: {what}")
        await page.wait_for_timeout(150)
    await expect(log(page).locator(".tile")).to_have_count(10)
    await messages(page).last.click(button="right", position={"x": 300, "y": 10})
    await page.get_by_role("menu").wait_for()
    assert await nameless(page) == []
    await page.keyboard.press("Escape")
    await send(page, "/form")
    await page.get_by_role("dialog").get_by_role("combobox").click()
    await page.get_by_role("listbox").wait_for()
    ids = await page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    session = await page.context.new_cdp_session(page)
    tree: dict[str, Any] = await session.send("Accessibility.getFullAXTree")
    roles = {node["role"]["value"] for node in tree["nodes"] if not node["ignored"]}
    assert {"dialog", "listbox", "option", "radiogroup", "checkbox"} <= roles


async def test_an_edit_among_hundreds_touches_its_own_message_only(page: Page, town: Town, room: str) -> None:
    await asyncio.gather(*[town.client.say(room, f"<https://example.com/{n}>") for n in range(320)])
    await expect(messages(page)).to_have_count(300)  # the oldest left the page; scrolling brings them back
    await send(page, "/imagine a cat")
    await page.evaluate("""() => {
        window.touched = new Set();
        const place = (node) => (node.closest ? node : node.parentElement).closest(".message") ?? node;
        const note = (records) => records.forEach(({target}) => window.touched.add(place(target).id));
        const all = {childList: true, subtree: true, characterData: true};
        new MutationObserver(note).observe(document.getElementById("log"), all);
    }""")
    await expect(log(page).get_by_role("img", name="a cat, drawn")).to_be_visible(timeout=15000)
    last = await messages(page).last.get_attribute("id")
    assert set(await page.evaluate("[...window.touched]")) <= {last, "log"}
    reach = "document.querySelectorAll('#log :is(a, button, [tabindex]):not([tabindex=\"-1\"])').length"
    assert await page.evaluate(reach) <= 8  # the current message and what is in it, not 300 stops
    before = await messages(page).first.get_attribute("id")
    await page.locator("#scroller").evaluate("(node) => { node.scrollTop = 0; }")
    await expect(log(page).get_by_role("link", name="https://example.com/0", exact=True)).to_be_attached()
    await expect(page.locator(f"#{before}")).to_be_in_viewport()  # what was read stays where it was
