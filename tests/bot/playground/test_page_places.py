"""Where and as whom: members, direct messages, threads, age-restricted channels, links to messages."""

import asyncio
import re

import pytest
from playwright.async_api import Page, expect

from tests.bot.playground.browser import Town, box, log, messages, send

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_two_tabs_are_two_people(page: Page, town: Town, room: str) -> None:
    other = await town.open(room, user="robin")
    await expect(other.get_by_role("radio", name="Robin")).to_be_checked()
    assert "user=robin" in other.url
    await send(page, "/show what: private")
    await expect(log(page).get_by_text("A secret for you alone.")).to_be_visible()
    await send(other, "hello from **Robin**")
    await expect(messages(page).filter(has_text="hello from Robin")).to_be_visible()
    await expect(log(other).get_by_text("A secret for you alone.")).to_have_count(0)
    # The same tab can change hands; what is private comes and goes with its owner.
    await page.get_by_role("radio", name="Robin").click()
    await expect(log(page).get_by_text("A secret for you alone.")).to_have_count(0)
    assert "user=robin" in page.url
    await page.get_by_role("radio", name="You").click()
    await log(page).get_by_role("button", name="Dismiss message").click()
    await expect(log(page).get_by_text("A secret for you alone.")).to_have_count(0)
    await page.reload()
    await expect(messages(page)).to_have_count(1)


async def test_direct_messages_have_marks_until_they_are_read(page: Page, town: Town, room: str) -> None:
    direct = page.get_by_role("navigation", name="Direct messages")
    await send(page, "/show what: direct")
    await expect(direct.get_by_role("button", name="Atelier (1 for you)")).to_be_visible()
    await expect(page).to_have_title(re.compile(r"^\(1\) #studio"))
    await expect(page.locator("#settled")).to_have_text("New direct message from Atelier")
    robin = await town.open(room, user="robin")
    await expect(robin.get_by_role("button", name="Atelier (", exact=False)).to_have_count(0)
    await direct.get_by_role("button", name="Atelier").click()
    await expect(messages(page).last).to_contain_text("A word in private.")
    await expect(direct.get_by_role("button", name="Atelier", exact=True)).to_be_visible()
    await expect(page).to_have_title(re.compile("^@Atelier"))
    # Somebody writes elsewhere: an ordinary mark. A reply that pings: a number.
    await robin.locator("#composer-input").fill("just talking")
    await robin.locator("#composer-input").press("Enter")
    channel = page.locator(f"#channel-{room}")
    await expect(channel).to_contain_text("(new messages)")
    mine = await town.client.say(room, "mine")
    await town.client.say(room, "yours", reply_to=mine["id"], user=(await town.client.state())["members"][1]["id"])
    await expect(channel).to_contain_text("(1 for you)")
    await page.get_by_role("textbox", name="Message @Atelier").fill("/imagine a cat steps: 1")
    await page.keyboard.press("Enter")
    await expect(log(page).get_by_role("img", name="a cat, drawn")).to_be_visible(timeout=15000)


async def test_a_thread_from_a_message_and_from_the_channel(page: Page) -> None:
    await send(page, "about **foxes**")
    await messages(page).last.hover()
    await log(page).get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Create thread").click()
    ask = page.get_by_role("dialog", name="New thread")
    await expect(ask.get_by_label("Name")).to_have_value("about foxes")
    await ask.get_by_label("Name").fill("")
    await page.keyboard.press("Enter")
    await expect(ask.get_by_role("alert")).to_have_text("A thread needs a name.")
    await ask.get_by_label("Name").fill("Fox <b>talk</b>")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Fox <b>talk</b>", level=1)).to_be_visible()
    await expect(page.get_by_role("textbox", name="Message Fox <b>talk</b>")).to_be_focused()
    await send(page, "in here")
    await expect(messages(page).last).to_contain_text("in here")
    await page.get_by_role("button", name="Archive the thread").click()
    await expect(page.locator("#banner")).to_have_text("This thread is archived. Writing in it opens it again.")
    await expect(page.get_by_role("button", name="Fox <b>talk</b> Archived")).to_be_visible()
    await send(page, "again")
    await expect(page.locator("#banner")).to_be_empty()
    await page.locator("#channel-topic a").click()
    await expect(page.get_by_role("heading", name="#studio", exact=True)).to_be_visible()
    await messages(page).first.get_by_role("link", name="Fox <b>talk</b>").click()
    await expect(messages(page).last).to_contain_text("again")
    await page.locator("#channel-topic a").click()
    await page.get_by_role("button", name="New thread").click()
    await page.keyboard.type("Loose ends")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Loose ends", level=1)).to_be_visible()


async def test_an_age_restricted_channel_asks_first(page: Page, town: Town) -> None:
    dark = await town.new_room("velvet", nsfw=True)
    await town.client.say(dark, "nothing for children")
    await page.locator(f"#channel-{dark}").click()
    await expect(page.get_by_role("heading", name="Age-restricted channel")).to_be_focused()
    await expect(page.get_by_text("nothing for children")).to_have_count(0)
    await town.client.say(dark, "nor this")  # news must not slip past the question
    await expect(page.get_by_role("textbox", name="Message")).to_be_hidden()
    await page.get_by_role("button", name="Go back").click()
    await expect(page.get_by_role("heading", name="Age-restricted channel")).to_be_hidden()
    await page.locator(f"#channel-{dark}").click()
    await page.get_by_role("button", name="Continue").click()
    await expect(messages(page)).to_have_count(2)
    await page.get_by_role("radio", name="Robin").click()  # the answer was not hers
    await expect(page.get_by_role("heading", name="Age-restricted channel")).to_be_visible()


async def test_links_to_messages_jump_there(page: Page, town: Town, room: str) -> None:
    far = await town.new_room("faraway")
    target = await town.client.say(far, "the one")
    await asyncio.gather(*[town.client.say(far, f"later {n}") for n in range(120)])  # more than two pages of the list
    state = await town.client.state()
    server, robin = state["server"]["id"], state["members"][1]["id"]
    await send(page, f"https://discord.com/channels/{server}/{far}/{target['id']}")
    await messages(page).last.get_by_role("link", name="#faraway, message").click()
    found = page.locator(f"#m-{target['id']}")
    await expect(found).to_be_focused()
    await expect(found).to_be_in_viewport(ratio=1)
    await expect(page.get_by_role("heading", name="#faraway", exact=True)).to_be_visible()
    # A reply leads to its original, and follows it.
    await town.client.say(far, "an answer", reply_to=target["id"], user=robin)
    await page.get_by_role("button", name="New messages").click()
    await messages(page).last.get_by_role("link").click()
    await expect(found).to_be_focused()
    await town.client.call("DELETE", f"/channels/{far}/messages/{target['id']}")
    await expect(messages(page).last).to_contain_text("The original message was deleted.")
    # An address opens a place; a message that is gone is said to be gone.
    await page.goto(f"{town.client.url}/?channel={room}&message={target['id']}")
    await expect(page.get_by_text("That message is not there any more.")).to_be_visible()
    await expect(box(page)).to_be_visible()
