"""The page in a real browser, with a real bot behind it."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from tests.bot.playground.browser import PNG, Town, box, log, png

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_typed_line_ends_in_a_picture(page: Page) -> None:
    await page.get_by_role("button", name="/imagine prompt: a red apple").click()
    await expect(box(page)).to_have_value("/imagine prompt: a red apple")
    await box(page).press("Enter")
    await expect(log(page).get_by_text("Only you can see this")).to_be_visible()
    await expect(log(page).get_by_text("Drawing, step")).to_be_visible()
    await expect(log(page).get_by_role("img", name="a red apple, drawn")).to_be_visible(timeout=15000)
    await expect(log(page).get_by_text("8 steps · guidance 7.5 · seed 1 · 64x64")).to_be_visible()
    await expect(box(page)).to_have_value("")
    picture = log(page).get_by_role("img", name="a red apple, drawn")
    assert await picture.evaluate("(node) => node.clientWidth") > 300  # 64 pixels wide, shown at a pleasant size


async def test_fields_of_a_command(page: Page) -> None:
    await box(page).fill("/im")
    await expect(page.get_by_role("option", name="/imagine")).to_have_attribute("aria-selected", "true")
    await box(page).press("Tab")
    await expect(page.get_by_label("prompt", exact=True)).to_be_focused()
    await page.keyboard.type("a fox")
    await page.get_by_role("button", name="Add guidance").click()
    await page.keyboard.type("99")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("guidance goes from 1 to 30; 99 is outside.")).to_be_visible()
    await page.get_by_label("guidance", exact=True).fill("3")
    await page.get_by_role("button", name="Add count").click()
    await page.keyboard.type("4")
    await page.get_by_role("button", name="Add size").click()
    await page.get_by_label("size", exact=True).select_option("96x64")
    await page.get_by_role("button", name="Add image").click()
    await page.get_by_label("image", exact=True).set_input_files(png("start.png"))
    await page.get_by_label("count", exact=True).press("Enter")
    await expect(log(page).get_by_text(f"from start.png ({len(PNG)} bytes)")).to_be_visible()
    await expect(log(page).get_by_role("img", name="a fox, drawn")).to_have_count(4, timeout=15000)
    await expect(log(page).get_by_text("guidance 3 · seed 1 · 96x64")).to_be_visible()


async def test_missing_option_unknown_command_and_wrong_number(page: Page) -> None:
    problem = page.get_by_role("form", name="Write a message").get_by_role("alert")
    await box(page).fill("/imagine guidance: 3")
    await box(page).press("Enter")
    await expect(problem).to_have_text("prompt is needed.")
    await box(page).fill("/imagine a cat count: many")
    await box(page).press("Enter")
    await expect(problem).to_have_text("count is a whole number, for example 1.")
    await box(page).fill("/nothing at all")
    await box(page).press("Enter")
    await expect(problem).to_have_text("There is no command /nothing.")


async def test_suggestions_while_typing(page: Page) -> None:
    await box(page).fill("/cancel")
    await box(page).press("Enter")
    await page.keyboard.type("rock")
    await page.get_by_role("option", name="a rocket").click()
    await expect(page.get_by_label("job", exact=True)).to_have_value("a rocket")
    await page.get_by_label("job", exact=True).press("Enter")
    await expect(log(page).get_by_text("Cancelled k2.")).to_be_visible()


async def test_unanswered_command_is_told(page: Page) -> None:
    await box(page).fill("/silent")
    await box(page).press("Enter")
    await expect(log(page).get_by_text("Sending /silent")).to_be_visible()
    await expect(log(page).get_by_text("/silent: The application did not respond.")).to_be_visible()


async def test_reply_with_attachment_and_markdown(page: Page, town: Town, room: str) -> None:
    await box(page).fill("first **one**")
    await box(page).press("Enter")
    first = log(page).locator(".message").first
    await first.hover()
    await first.get_by_role("button", name="Reply").click()
    await expect(page.get_by_text("Replying to You")).to_be_visible()
    await page.locator("#composer > input[type=file]").set_input_files(png("cat.png"))
    await expect(page.get_by_role("button", name="Remove cat.png")).to_be_visible()
    await box(page).fill("<img src=x onerror=alert(1)> <@1346000000000000000>")
    await box(page).press("Enter")
    reply = log(page).locator(".message").nth(1)
    await expect(reply.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible()
    await expect(reply.get_by_role("button", name="Open picture cat.png")).to_be_visible()
    await expect(reply.locator(".excerpt")).to_have_text("first one")
    await expect(first.locator("strong")).to_have_text("one")
    sent = (await town.client.messages(room))[1]
    assert sent["message_reference"]["message_id"]


async def test_buttons_form_and_lightbox(page: Page) -> None:
    await box(page).fill("/imagine a cat steps: 1 count: 2")
    await box(page).press("Enter")
    await log(page).get_by_role("button", name="Again").click()
    await expect(log(page).get_by_text("Once more!")).to_be_visible()
    await log(page).get_by_role("button", name="Remix", exact=True).click()
    form = page.get_by_role("dialog", name="Remix")
    await expect(form.get_by_label("Prompt")).to_have_value("a red apple")
    await form.get_by_label("Prompt").fill("a blue cat")
    await form.get_by_role("button", name="Send").click()
    await expect(log(page).get_by_text(re.compile("Remix: a blue cat"))).to_be_visible()
    await log(page).get_by_role("button", name="Open picture: a cat, drawn").first.click()
    lightbox = page.get_by_role("dialog", name="Picture")
    await expect(lightbox.get_by_text("64 × 64, 1 of 2")).to_be_visible()
    await page.keyboard.press("ArrowRight")
    await expect(lightbox.get_by_text("64 × 64, 2 of 2")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(lightbox).to_be_hidden()
    await log(page).get_by_role("button", name="Delete").click()
    await expect(log(page).get_by_role("img", name="a cat, drawn")).to_have_count(0)


async def test_another_member_does_not_see_private_answers(page: Page) -> None:
    await box(page).fill("/cancel k1")
    await box(page).press("Enter")
    await expect(log(page).get_by_text("Cancelled k1.")).to_be_visible()
    await page.get_by_role("radio", name="Robin").click()
    await expect(log(page).get_by_text("Cancelled k1.")).to_have_count(0)
    await box(page).fill("hello")
    await box(page).press("Enter")
    await expect(log(page).locator(".message").filter(has_text="Robin")).to_contain_text("hello")
    await page.get_by_role("radio", name="You").click()
    await expect(log(page).get_by_text("Cancelled k1.")).to_be_visible()


async def test_an_answer_that_comes_while_the_list_is_fetched_stays(page: Page) -> None:
    """The page opens; somebody is quick; the list, asked for before the answer, arrives after it."""

    answered = asyncio.Event()

    async def late(route: Route) -> None:
        response = await route.fetch()
        await answered.wait()
        await route.fulfill(response=response)

    await page.route(re.compile(r"/messages\?user="), late)
    await page.reload()
    await expect(page.get_by_text("Atelier is online")).to_be_visible()
    await box(page).fill("/cancel k1")
    await box(page).press("Enter")
    await expect(log(page).get_by_text("Cancelled k1.")).to_be_visible()
    answered.set()
    await expect(log(page)).to_have_accessible_name("Messages in #studio")  # the list is there
    await expect(log(page).get_by_text("Cancelled k1.")).to_be_visible()


async def test_live_edits_do_not_flicker(page: Page) -> None:
    """While a preview replaces the one before, there is a loaded picture at every moment."""
    await page.evaluate("""() => {
        window.flickers = 0;
        const look = () => {
            for (const image of document.querySelectorAll(".gallery img")) {
                const seen = image.closest(".message").dataset.seen;
                if (seen && !(image.complete && image.naturalWidth)) window.flickers += 1;
                if (image.complete && image.naturalWidth) image.closest(".message").dataset.seen = "yes";
            }
        };
        new MutationObserver(look).observe(document.body, {childList: true, subtree: true});
        setInterval(look, 5);
    }""")
    await box(page).fill("/imagine a cat")
    await box(page).press("Enter")
    await expect(log(page).get_by_role("img", name="a cat, drawn")).to_be_visible(timeout=15000)
    assert await page.evaluate("window.flickers") == 0


async def test_bot_goes_and_comes_back(page: Page, town: Town) -> None:
    await town.bot.stop()
    await expect(page.get_by_text("Atelier is offline")).to_be_visible()
    await town.start_bot()
    await expect(page.get_by_text("Atelier is online")).to_be_visible()


@pytest.mark.parametrize("page", [(360, 740)], indirect=True, ids=["phone"])
async def test_phone_has_a_drawer_and_nothing_overflows(page: Page) -> None:
    await expect(page.get_by_role("navigation", name="Channels")).to_be_hidden()
    await page.get_by_role("button", name="Open the menu").click()
    await page.get_by_role("button", name="general").click()
    await expect(page.get_by_role("heading", name="#general", exact=True)).to_be_visible()
    await page.get_by_role("textbox", name="Message #general").fill("/imagine a cat steps: 1 count: 4")
    await page.keyboard.press("Enter")
    await expect(log(page).get_by_role("img", name="a cat, drawn")).to_have_count(4, timeout=15000)
    assert await page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("page", [(360, 420), (740, 360)], indirect=True, ids=["keyboard up", "lying"])
async def test_all_fields_of_a_command_fit_above_a_phones_keyboard(page: Page) -> None:
    await box(page).fill("/imagine")
    await box(page).press("Tab")
    send = page.get_by_role("button", name="Send", exact=True)
    await expect(send).to_be_in_viewport(ratio=1)
    chips = page.get_by_role("group", name="Optional fields").get_by_role("button")
    while await chips.count():
        await chips.first.click()
    await expect(send).to_be_in_viewport(ratio=1)
    await expect(page.get_by_label("strength", exact=True)).to_be_in_viewport(ratio=1)  # the last one has the focus
    await expect(page.get_by_role("button", name="Leave the command")).to_be_in_viewport(ratio=1)
    overflow = "(({scrollWidth, scrollHeight}) => [scrollWidth - innerWidth, scrollHeight - innerHeight])"
    assert await page.evaluate(f"{overflow}(document.documentElement)") == [0, 0]
    assert await page.get_by_role("region", name="Messages").evaluate("(node) => node.clientHeight") > 40


async def test_the_side_keeps_the_focus(page: Page) -> None:
    await page.get_by_role("radio", name="You").focus()
    for name in ("Robin", "Sascha"):
        async with page.expect_response(re.compile(r"/state\?")):
            await page.keyboard.press("ArrowDown")
        await expect(page.get_by_role("radio", name=name)).to_be_checked()
        await expect(page.get_by_role("radio", name=name)).to_be_focused()
    await page.get_by_role("button", name="general").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="general")).to_have_attribute("aria-current", "page")
    await expect(page.get_by_role("button", name="general")).to_be_focused()


async def test_the_list_of_commands_says_what_it_is(page: Page) -> None:
    await box(page).fill("/")
    await expect(page.get_by_role("option").first).to_contain_text("/imagine")
    await expect(page.get_by_role("combobox", name="Message #studio", expanded=True)).to_be_focused()
    await expect(box(page)).to_have_attribute("aria-controls", "commands")
    await expect(box(page)).to_have_attribute("aria-activedescendant", "commands-0")
    await box(page).fill("/nothing")
    await expect(page.get_by_role("status").filter(has_text="There is no command /nothing.")).to_be_visible()
    await expect(page.get_by_role("listbox")).to_have_count(0)
    await expect(page.get_by_role("textbox", name="Message #studio")).to_be_focused()
    assert await box(page).get_attribute("aria-activedescendant") is None
    await box(page).press("Escape")
    await expect(page.get_by_text("There is no command")).to_have_count(0)


async def test_files_that_a_command_cannot_take_are_kept(page: Page) -> None:
    await box(page).fill("to reply to")
    await box(page).press("Enter")
    await log(page).locator(".message").first.hover()
    await log(page).get_by_role("button", name="Reply").click()
    problem = page.get_by_role("form", name="Write a message").get_by_role("alert")
    files = [png("1.png"), png("2.png")]
    await page.locator("#composer > input[type=file]").set_input_files(files)
    await box(page).fill("/cancel k1")
    await box(page).press("Enter")
    await expect(problem).to_have_text("/cancel takes no file.")
    await box(page).fill("/imagine a cat steps: 1")
    await box(page).press("Enter")
    await expect(problem).to_have_text("/imagine takes only one file.")
    await box(page).press("Tab")  # the first file goes into its field, the second waits
    await page.get_by_label("prompt", exact=True).press("Enter")
    await expect(problem).to_have_text("/imagine takes only one file.")
    await page.get_by_role("button", name="Remove 2.png").click()
    await page.get_by_label("prompt", exact=True).press("Enter")
    await expect(log(page).get_by_text(f"from 1.png ({len(PNG)} bytes)")).to_be_visible()
    await expect(page.get_by_text("Replying to You")).to_be_visible()  # a command is no reply


async def test_the_end_of_the_edits_is_announced_once(page: Page) -> None:
    await box(page).fill("/imagine a red apple")
    await box(page).press("Enter")
    await expect(page.locator("#settled")).to_have_text("Atelier: a red apple, 1 picture", timeout=15000)
    message = log(page).locator(".message").filter(has_text="8 steps")
    for part in (".content", ".attachments", ".rest"):
        await expect(message.locator(part).first).to_have_attribute("aria-live", "off")
    await expect(log(page)).to_have_attribute("aria-busy", "false")


async def test_page_has_no_markup_from_text() -> None:
    """User content becomes text nodes: nothing in the page parses HTML."""
    folder = Path(__file__).parents[3] / "bot/playground/page"
    source = "".join(re.sub(r"//.*", "", part.read_text()) for part in folder.glob("*.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(", source)
