"""On a phone: age-restricted channels, people's own pictures, threads and direct messages."""

import pytest
from playwright.async_api import Locator

from tests.acceptance.browser import PHONE, Visitor, expect, png, visiting
from tests.acceptance.house import House

pytestmark = pytest.mark.browser

STRICT = {"ATELIER_NSFW_THRESHOLD": "0.0000001"}
"""Every picture counts as one that may be explicit."""


@pytest.mark.soak
async def test_age_restricted_channels_threads_and_direct_messages(open_house: House, chromium: str) -> None:
    await open_house.open(**STRICT)
    async with visiting(open_house, chromium, PHONE) as visitor:
        await explicit_pictures_are_withheld(visitor)
        await behind_the_gate_they_are_spoilers(visitor)
        await what_began_as_somebodys_picture_never_is(visitor)
        await open_house.restart(ATELIER_NSFW_THRESHOLD="0.7")
        await expect(visitor.page.locator("#status")).to_have_text("Atelier is online")
        await a_members_own_picture_becomes_a_remix(visitor)
        await in_a_thread(visitor)
        await in_direct_messages_every_reply_counts(visitor)
        await among_friends_without_the_bot(visitor)


async def explicit_pictures_are_withheld(visitor: Visitor) -> None:
    message = await visitor.drawn(visitor.send("/imagine prompt: a red apple steps: 4"))
    await expect(message).to_contain_text("The picture may be explicit, so it is not shown here.")
    await expect(message.get_by_role("img")).to_have_count(0)
    await expect(message.get_by_role("button", name="Vary")).to_have_count(0)
    await visitor.keep("withheld")


async def behind_the_gate_they_are_spoilers(visitor: Visitor) -> None:
    await visitor.open("after-dark")
    await expect(visitor.page.get_by_role("heading", name="Age-restricted channel")).to_be_visible()
    await visitor.keep("gate")
    await visitor.page.get_by_role("button", name="Continue").click()
    message = await visitor.drawn(visitor.send("/imagine prompt: a red apple steps: 12 seed: 7"))
    await visitor.keep("spoiler")
    await message.get_by_role("button", name="Spoiler: show the picture").click()
    red, green, _ = await visitor.colour(message.get_by_role("img", name="a red apple"))
    assert red > 1.5 * green
    varied = await visitor.drawn(visitor.press(message, "Vary"))
    await expect(varied.get_by_role("button", name="Spoiler: show the picture")).to_be_visible()


async def what_began_as_somebodys_picture_never_is(visitor: Visitor) -> None:
    mine = await visitor.post("mine", files=[png("mine.png", (220, 60, 40))])
    message = await remixed(visitor, mine, "a tomato --steps 6")
    await expect(message).to_contain_text("The picture may be explicit, so it is not shown here.")
    await expect(message.get_by_role("img")).to_have_count(0)


async def remixed(visitor: Visitor, message: Locator, prompt: str) -> Locator:
    """By Apps → Remix."""
    await visitor.app(message, "Remix")
    await expect(visitor.form).to_be_visible()
    return await visitor.drawn(visitor.fill_form(prompt=prompt))


async def a_members_own_picture_becomes_a_remix(visitor: Visitor) -> None:
    await visitor.open("general")
    picture = png("wall.png", (30, 90, 220), (160, 96))
    wall = await visitor.post("my wall", visitor.house.mention(), [picture])
    await visitor.app(wall, "Remix")
    await expect(visitor.form).to_be_visible()
    await visitor.house.post("clock", {"advance": 2 * 24 * 3600})  # the link that came with the command is dead
    prompt = "a cat on a blue background --steps 12 --strength 0.7"
    message = await visitor.drawn(visitor.fill_form(prompt=prompt))
    red, _, blue = await visitor.colour(message.get_by_role("img", name="a cat on a blue background"), 0.05, 0.05)
    assert blue > 1.3 * red
    await visitor.keep("remix-of-own", at=message)
    await message.get_by_role("link", name="this picture").click()
    await expect(wall).to_be_focused()


async def in_a_thread(visitor: Visitor) -> None:
    await visitor.page.get_by_role("button", name="New thread").click()
    await visitor.page.keyboard.type("Foxes")
    await visitor.page.keyboard.press("Enter")
    await visitor.arrived("Foxes")
    fox = await visitor.drawn(visitor.send("/imagine prompt: a fox steps: 8"))
    remix = await visitor.drawn(visitor.reply(fox, f"{visitor.house.mention()} on a blue background"))
    await expect(remix.locator(".context")).to_contain_text("on a blue background")
    await visitor.page.get_by_role("button", name="Archive the thread").click()
    await expect(visitor.page.locator("#banner")).to_contain_text("archived")
    again = await visitor.drawn(visitor.press(fox, "Again"))
    await expect(again.get_by_role("img", name="a fox")).to_be_visible()
    await visitor.keep("thread")


async def in_direct_messages_every_reply_counts(visitor: Visitor) -> None:
    await visitor.open("Atelier")
    penguin = await visitor.drawn(visitor.send("/imagine prompt: a penguin steps: 8"))
    remix = await visitor.drawn(visitor.reply(penguin, "a snowman on a blue background --steps 12"))
    await expect(remix.get_by_role("img", name="a snowman")).to_be_visible()
    await remix.get_by_role("link", name="this picture").click()
    await expect(penguin).to_be_focused()
    await visitor.keep("direct")


async def among_friends_without_the_bot(visitor: Visitor) -> None:
    """Only commands reach it there, and its answers go through them."""
    await visitor.open("Robin")
    message = await visitor.drawn(visitor.send("/imagine prompt: a house steps: 8"))
    await expect(message.get_by_role("img", name="a house")).to_be_visible()
    mine = await visitor.post("look", files=[png("mine.png", (220, 60, 40))])
    await remixed(visitor, mine, "a red apple --steps 12")
    await visitor.keep("friends")
