"""What a member has made, what is kept about them, and what moderators do, in the page."""

import shutil

import pytest
from playwright.async_api import Locator

from tests.acceptance.browser import Visitor, expect
from tests.acceptance.house import House

pytestmark = pytest.mark.browser


async def test_history_moderation_and_being_forgotten(visitor: Visitor) -> None:
    await visitor.act_as("Robin")
    await pages_with_thumbnails_that_lead_to_the_pictures(visitor)
    await a_picture_that_could_not_be_posted_is_offered(visitor)
    await a_picture_of_which_nothing_is_left_is_drawn_again(visitor)
    await what_a_member_wishes(visitor)
    await a_report_reaches_the_operator(visitor)
    await a_moderator_deletes_and_blocks(visitor)
    await everything_of_a_member_is_forgotten(visitor)


async def pages_with_thumbnails_that_lead_to_the_pictures(visitor: Visitor) -> None:
    line = "/imagine prompt: a {red apple, rocket, fox} on a {white, blue} background --steps 8"
    last = await visitor.drawn(visitor.send(line), messages=2)
    listed = await visitor.told("/history", "Your pictures, newest first: 1–5 of 6")
    thumbnails = listed.locator(".embed img")
    await expect(thumbnails).to_have_count(5)
    await visitor.keep("history", at=listed)
    for number, ground in enumerate(("white", "blue", "white", "blue", "white")):
        red, _, blue = await visitor.colour(thumbnails.nth(number), 0.06, 0.06)
        assert (blue > 1.3 * red) == (ground == "blue"), f"{number + 1}: {red:.0f} {blue:.0f}"
    await visitor.press(listed, "Older")
    await expect(listed).to_contain_text("2–6 of 6")  # as many as a page holds
    red, _, blue = await visitor.colour(thumbnails.nth(4), 0.06, 0.06)
    assert blue > 1.3 * red, "the sixth is the fox on a blue background"
    await expect(listed.get_by_role("button", name="Older")).to_be_disabled()
    await listed.get_by_role("link", name="in the chat").last.click()
    await expect(last).to_be_focused()
    shown = await choose(visitor, listed, "a fox on a blue background")
    await visitor.press(listed, "Newer")
    await expect(listed).to_contain_text("1–5 of 6")
    await expect(shown.get_by_role("img", name="a fox on a blue background")).to_be_visible()
    await visitor.keep("history-picture", at=shown)
    varied = await visitor.drawn(visitor.press(shown, "Vary"))
    await expect(varied.get_by_role("img", name="a fox on a blue background")).to_have_count(1)


async def choose(visitor: Visitor, listed: Locator, prompt: str) -> Locator:
    """The answer with the picture that is chosen in the list."""
    await listed.get_by_role("combobox", name="Show a picture").click()
    await visitor.page.get_by_role("option", name=prompt).first.click()
    recipe = visitor.page.get_by_role("button", name="Recipe")
    shown = visitor.page.locator("#log .message.ephemeral").filter(has=recipe, has_text=prompt).last
    await expect(shown).to_be_visible()
    return await visitor.pinned(shown)


async def a_picture_that_could_not_be_posted_is_offered(visitor: Visitor) -> None:
    house = visitor.house
    await visitor.open("general")
    # Drawn while the first edit is under way: then the bot may not see the channel any more.
    path = f"/channels/{house.channel('general')}/messages/*"
    await house.post("faults", {"path": path, "method": "PATCH", "kind": "delay", "seconds": 3})
    await visitor.send("/imagine prompt: a penguin steps: 4")
    await expect(visitor.page.get_by_role("button", name="Stop")).to_be_visible()
    await permissions(house, deny=["view_channel"])
    await visitor.open("studio")

    async def given_up() -> bool:
        return "cannot be delivered: It could not be posted" in house.bot.log.read_text()

    await house.until(given_up, "the bot to notice that it may not post")
    await permissions(house, deny=[])
    listed = await visitor.told("/history", "could not be posted")
    await visitor.keep("not-posted", at=listed)
    shown = await choose(visitor, listed, "a penguin")
    await expect(shown.get_by_role("img", name="a penguin")).to_be_visible()


async def permissions(house: House, *, deny: list[str]) -> None:
    """What the bot may not do in #general."""
    await house.post(f"channels/{house.channel('general')}/permissions", {"deny": deny})


async def a_picture_of_which_nothing_is_left_is_drawn_again(visitor: Visitor) -> None:
    """Its file is gone, and so is its message: the recipe is enough."""
    message = await visitor.drawn(visitor.send("/imagine prompt: a green frog steps: 8 seed: 2"))
    before = await visitor.colour(message.get_by_role("img"))
    await visitor.act_as("Sascha")
    await message.hover(position={"x": 200, "y": 10})
    await message.get_by_role("button", name="More").click()
    await visitor.page.get_by_role("menuitem", name="Delete message").click()
    await visitor.press(visitor.page.get_by_role("dialog"), "Delete")
    await expect(message).to_have_count(0)
    for folder in (visitor.house.data / "images").iterdir():
        shutil.rmtree(folder)
    await visitor.act_as("Robin")
    listed = await visitor.told("/history", "Its file is no longer kept; its buttons draw it again.")
    shown = await choose(visitor, listed, "a green frog")
    large = await visitor.drawn(visitor.press(shown, "Upscale"))
    assert await visitor.colour(large.get_by_role("img")) == pytest.approx(before, abs=30)


async def what_a_member_wishes(visitor: Visitor) -> None:
    await visitor.told("/preferences ping: false", "I don't mention you")
    await visitor.told("/preferences ping: true", "I mention you at its end")


async def a_report_reaches_the_operator(visitor: Visitor) -> None:
    await visitor.app(visitor.results.first, "Report to the operator")
    await visitor.keep("report")
    await visitor.field("What is wrong").fill("This is **not** @everyone's taste.")
    await visitor.press(visitor.form, "Send")
    await expect(visitor.private).to_contain_text("the operator of this bot has been told")
    await visitor.act_as("You")  # the playground's bot is theirs
    await visitor.open("Atelier")
    report = visitor.messages.last
    await expect(report).to_contain_text("This is **not** @everyone's taste.")
    await visitor.keep("report-told")
    await visitor.box.fill("/preferences ")  # half a command is no reason not to look at a picture
    await visitor.box.press("Tab")
    await report.get_by_role("link").first.click()
    await expect(visitor.results.first).to_be_focused()
    await visitor.page.get_by_role("button", name="Leave the command").click()


async def a_moderator_deletes_and_blocks(visitor: Visitor) -> None:
    await visitor.act_as("Sascha")
    doomed, its_other_part = [await visitor.pinned(visitor.results.nth(number)) for number in (0, 1)]
    await visitor.press(doomed, "Delete")
    await expect(visitor.private).to_contain_text("by @Robin for good?")
    await visitor.press(visitor.private, "Delete for good")
    await expect(doomed).to_have_count(0)
    await expect(its_other_part).to_have_count(0)
    await moderate(visitor, "block")
    await expect(visitor.private).to_contain_text("@Robin can't ask for pictures in this server any more.")
    await visitor.keep("blocked", at=visitor.private)
    await visitor.act_as("Robin")
    await visitor.told("/imagine prompt: a fox", "moderator")
    await visitor.send("/moderate blocked")
    problem = visitor.page.get_by_role("form", name="Write a message").get_by_role("alert")
    await expect(problem).to_have_text("There is no command /moderate.")
    await visitor.box.fill("")
    await visitor.act_as("Sascha")
    await moderate(visitor, "unblock")
    await expect(visitor.private).to_contain_text("@Robin may ask for pictures in this server again.")
    await visitor.act_as("Robin")
    await visitor.drawn(visitor.send("/imagine prompt: a fox steps: 4"))


async def moderate(visitor: Visitor, what: str) -> None:
    await visitor.box.fill(f"/moderate {what}")
    await visitor.box.press("Tab")
    await visitor.page.get_by_label("member", exact=True).select_option("Robin")
    await visitor.page.get_by_role("button", name="Send", exact=True).click()


async def everything_of_a_member_is_forgotten(visitor: Visitor) -> None:
    await visitor.act_as("You")
    others = await visitor.drawn(visitor.send("/imagine prompt: a cat steps: 4"))
    await visitor.act_as("Robin")
    question = await visitor.told("/forget-me", "Forget everything about you, for good?")
    await visitor.keep("forget-me", at=question)
    await visitor.press(question, "Forget me and delete my posted pictures")
    await expect(question).to_contain_text("You are forgotten.")
    await expect(visitor.results).to_have_count(1)
    await expect(others).to_be_visible()
    await visitor.told("/history", "You have no pictures yet")
    assert len(list((visitor.house.data / "images").iterdir())) == 1, "the other member's"
