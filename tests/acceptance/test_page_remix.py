"""Remixes asked for by a reply, and several pictures from one line, as a member does it in the page."""

import re

import pytest
from playwright.async_api import Locator

from tests.acceptance.browser import Visitor, exactly, expect, png

pytestmark = pytest.mark.browser

NEAREST = "is not a flag: did you mean --steps?"


async def test_pictures_from_choices_and_remixes_by_replies(visitor: Visitor) -> None:
    apples = await choices_in_braces_make_one_of_each(visitor)
    await eight_pictures_are_two_messages(visitor)
    await the_words_of_a_reply_are_the_new_prompt(visitor, apples)
    await the_picture_of_a_reply_is_the_start(visitor, apples)
    await no_words_are_the_same_words_with_a_new_seed(visitor, apples)
    await praise_costs_nobody_anything(visitor, apples)
    await in_a_studio_every_reply_is_a_remix(visitor, apples)
    await the_server_decides_about_the_pictures_of_others(visitor, apples)
    await a_forwarded_picture_is_one_as_well(visitor, apples)


async def choices_in_braces_make_one_of_each(visitor: Visitor) -> Locator:
    line = "/imagine prompt: a {red, green} apple on a {white, blue} background --no tree --steps 8 --seed 3"
    message = await visitor.drawn(visitor.send(line))
    await expect(message.get_by_role("img")).to_have_count(4)
    await expect(message.locator(".content")).to_contain_text("seeds 3–6")
    for apple in ("red", "green"):
        for ground in ("white", "blue"):
            picture = message.get_by_role("img", name=f"a {apple} apple on a {ground} background")
            red, green, _ = await visitor.colour(picture)
            assert (red > 1.3 * green) == (apple == "red"), f"{apple} apple: {red:.0f} {green:.0f}"
            red, _, blue = await visitor.colour(picture, 0.06, 0.06)
            assert (blue > 1.3 * red) == (ground == "blue"), f"{ground} background: {red:.0f} {blue:.0f}"
    await visitor.keep("choices")
    await visitor.press(message, "Recipe")
    await expect(visitor.private).to_contain_text("negative prompt: tree")
    return message


async def eight_pictures_are_two_messages(visitor: Visitor) -> None:
    line = "/imagine prompt: a {red, green} {apple, fish} on a {white, pink} background --steps 3"
    second = await visitor.drawn(visitor.send(line), messages=2)
    first = visitor.results.nth(1)
    await expect(first.locator(".content")).to_contain_text("1–4 of 8")
    await expect(second.locator(".content")).to_contain_text("5–8 of 8")
    for message, numbers in ((first, range(1, 5)), (second, range(5, 9))):
        await expect(message.get_by_role("img")).to_have_count(4)
        for number in numbers:
            await expect(message.get_by_role("button", name=exactly(f"Vary {number}"))).to_be_visible()
    await visitor.keep("eight")
    for line, sentence in (
        ("/imagine prompt: a {red, green, blue} {fox, cat, owl} --steps 3", "make 9 pictures: 8 are the most"),
        ("/imagine prompt: a fox --stpes 6", NEAREST),
    ):
        await visitor.told(line, sentence)


async def the_words_of_a_reply_are_the_new_prompt(visitor: Visitor, apples: Locator) -> None:
    bot = visitor.house.mention()
    text = f"{bot} a blue fish on a white background --steps 10 --seed 3 --strength 0.9"
    remix = await visitor.drawn(visitor.reply(apples, text))
    await expect(remix.get_by_role("img", name="a blue fish")).to_have_count(1)
    await expect(remix.locator(".content")).to_contain_text("seed 3")
    await expect(remix.locator(".context")).to_contain_text("a blue fish")  # it answers the member's reply
    await visitor.keep("reply")
    await remix.get_by_role("link", name="this picture").click()
    await expect(apples).to_be_focused()

    await visitor.reply(apples, f"{bot} a cat --stpes 6")
    await expect(visitor.messages.last).to_contain_text(NEAREST)
    await visitor.keep("unknown-flag")


async def the_picture_of_a_reply_is_the_start(visitor: Visitor, apples: Locator) -> None:
    """Without a mention: a picture in a reply to a picture of the bot's says enough."""
    own = png("mine.png", (30, 60, 220))
    remix = await visitor.drawn(visitor.reply(apples, "a fox on a blue background --strength 0.5 --steps 12", [own]))
    red, _, blue = await visitor.colour(remix.get_by_role("img"), 0.06, 0.06)
    assert blue > 1.5 * red, "half of the blue start image is still there"
    await visitor.press(remix, "Recipe")
    await expect(visitor.private).to_contain_text("start image: somebody's own picture")


async def no_words_are_the_same_words_with_a_new_seed(visitor: Visitor, apples: Locator) -> None:
    remix = await visitor.drawn(visitor.reply(apples, f"#4 {visitor.house.mention()}"))
    await expect(remix.get_by_role("img", name="a green apple on a blue background")).to_have_count(1)
    await expect(remix.locator(".content")).to_contain_text(re.compile(r"seed \d+"))
    await expect(remix.locator(".content")).not_to_contain_text("seed 6 ")


async def praise_costs_nobody_anything(visitor: Visitor, apples: Locator) -> None:
    before = await visitor.messages.count()
    await visitor.reply(apples, "nice!")
    await visitor.send("/queue")  # by its answer the bot has also read what came before
    await expect(visitor.messages).to_have_count(before + 2)
    await expect(visitor.private).to_contain_text("nothing", ignore_case=True)


async def in_a_studio_every_reply_is_a_remix(visitor: Visitor, apples: Locator) -> None:
    await visitor.told("/server studio here: true", "This channel is a studio now")
    remix = await visitor.drawn(visitor.reply(apples, "a green frog --steps 6"))
    await expect(remix.get_by_role("img", name="a green frog")).to_have_count(1)
    await visitor.told("/server studio here: false", "This channel is no studio")


async def the_server_decides_about_the_pictures_of_others(visitor: Visitor, apples: Locator) -> None:
    await visitor.act_as("Robin")
    line = f"{visitor.house.mention()} a tomato --steps 12"
    await visitor.drawn(visitor.reply(apples, line))
    await visitor.act_as("You")
    await visitor.told("/server remix allowed: false", "only their own pictures")
    await visitor.act_as("Robin")
    await visitor.reply(apples, line)
    await expect(visitor.messages.last).to_contain_text("only the person who made a picture")
    await visitor.keep("not-others")
    await visitor.press(apples, "Vary 1")
    await expect(visitor.private).to_contain_text("only the person who made a picture")
    await visitor.send("/server remix allowed: true")
    problem = visitor.page.get_by_role("form", name="Write a message").get_by_role("alert")
    await expect(problem).to_have_text("There is no command /server.")
    await visitor.act_as("You")
    await visitor.drawn(visitor.reply(apples, line))


async def a_forwarded_picture_is_one_as_well(visitor: Visitor, apples: Locator) -> None:
    await apples.hover(position={"x": 200, "y": 10})
    await apples.get_by_role("button", name="Forward").click()
    dialog = visitor.page.get_by_role("dialog", name="Forward")
    await dialog.get_by_label("Search channels").fill("general")
    await dialog.get_by_role("radio", name="general").click()
    await dialog.get_by_role("button", name="Forward").click()
    await expect(dialog).to_be_hidden()
    await visitor.open("general")
    forwarded = await visitor.pinned(visitor.messages.last)
    remix = await visitor.drawn(
        visitor.reply(forwarded, f"{visitor.house.mention()} a pear on a white background --steps 12 --strength 0.8")
    )
    await expect(remix.get_by_role("img", name="a pear")).to_have_count(1)
    await visitor.keep("forwarded")
