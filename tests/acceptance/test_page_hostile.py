"""Words and file names that want to do harm: they stay what they are, text, and nothing leaves the data folder."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.browser import Visitor, expect, png
from tests.acceptance.house import House

pytestmark = pytest.mark.browser

MARKUP = (
    "**bold** ||hidden|| `code` [go](https://evil.example/x) https://evil.example/y @everyone @here <@&1> "
    "<#1> <:fox:1> </imagine:1> <t:0> __under__ ~~gone~~"
)
TURNED = (
    "# \u202egnp.exe\u202c \u2067hidden\u2069 \u0000 nul \ufeff z\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301"
)
NAMES = [
    "../../../../escape.png",
    "..\\..\\escape.png",
    "\u202egnp.exe <img src=x onerror=alert(1)>.png",
    "@everyone **now** `x` ||y||.png",
    "n" * 400 + ".png",
    "start.png",
]
"""A NUL is not among them: HTTP has no way to send one in a name."""
KEPT = re.compile(r"images(/[0-9a-z]{17}(/(start\.png|\d+-\d+\.png|preview\S*))?)?|atelier\.(db|lock)(-\w+)?")
"""What may be in the data folder."""


@pytest.mark.soak
async def test_hostile_words_and_names(visitor: Visitor) -> None:
    house = visitor.house
    outside = everything_outside(house)
    await hostile_prompts(visitor)
    await hostile_replies(visitor)
    await hostile_files(visitor)
    await hostile_forms(visitor)
    assert everything_outside(house) == outside
    inside = [path.relative_to(house.data).as_posix() for path in house.data.rglob("*")]
    assert [name for name in inside if not KEPT.fullmatch(name)] == []
    assert "evil" not in house.bot.log.read_text(), "no prompts in the log"
    await nothing_was_marked_up_or_pinged(visitor)


def everything_outside(house: House) -> set[Path]:
    """All files around the data folder, but for the logs."""
    around = house.folder.parent.rglob("*")
    return {path for path in around if house.data.parent not in (path, *path.parents) and path.suffix != ".log"}


async def hostile_prompts(visitor: Visitor) -> None:
    for prompt, shown in ((MARKUP, "||hidden|| `code` [go]"), (TURNED, "# gnp.exe hidden nul")):
        message = await visitor.drawn(asked(visitor.house, prompt))
        await expect(message.locator(".content")).to_contain_text(shown)
        alt = await message.get_by_role("img").get_attribute("alt")
        assert alt is not None
        assert not re.search(r"[\u202a-\u202e\u2066-\u2069\u0000]", alt)
    await visitor.keep("hostile")
    await visitor.send("/imagine prompt: " + "fox " * 1500)
    await expect(visitor.private).to_contain_text("2,000")
    longest = await visitor.drawn(asked(visitor.house, (MARKUP * 20)[:1900]))
    await expect(longest.locator(".content")).to_contain_text("not read:")
    await visitor.press(longest, "Recipe")
    await expect(visitor.private.get_by_role("link", name="recipe-")).to_be_visible()


async def asked(house: House, prompt: str) -> None:
    """As the page would, which leaves out what no keyboard can type."""
    answer = await house.imagine(prompt, steps=2)
    assert answer["state"] == "answered", answer


async def hostile_replies(visitor: Visitor) -> None:
    """Also the sentences that repeat what was typed."""
    bot, target = visitor.house.mention(), await visitor.pinned(visitor.results.first)
    await visitor.drawn(visitor.reply(target, f"{bot} {MARKUP} --steps 2"))
    before = await visitor.messages.count()
    await visitor.reply(target, f"{bot} x --y**@everyone**||<@&1>|| 3")
    await expect(visitor.messages).to_have_count(before + 2)
    await expect(visitor.messages.last).to_contain_text("is not a flag")
    await visitor.reply(target, f"{bot} x --seed [go](https://evil.example/z)")
    await expect(visitor.messages).to_have_count(before + 4)
    await expect(visitor.messages.last).to_contain_text("must be a whole number")


async def hostile_files(visitor: Visitor) -> None:
    house, target = visitor.house, await visitor.pinned(visitor.results.first)
    picture = png("", (200, 60, 60))["buffer"]
    number = str(await target.get_attribute("id")).removeprefix("m-")
    for name in NAMES:
        text = f"{house.mention()} a fox --steps 2"
        await visitor.drawn(house.say(text, files={name: picture}, reply_to=number))
    text = "text that calls itself a picture"
    before = await visitor.messages.count()
    await house.say(f"{house.mention()} a fox", files={"fox.png": text.encode()}, reply_to=number)
    await expect(visitor.messages).to_have_count(before + 2)
    await expect(visitor.messages.last).to_contain_text("PNG, JPEG")


async def hostile_forms(visitor: Visitor) -> None:
    await visitor.press(visitor.results.first, "Remix")
    await visitor.drawn(visitor.fill_form(prompt=f"{MARKUP} --steps 2", negative_prompt=MARKUP))
    await visitor.press(visitor.results.first, "Remix")
    await visitor.field("Guidance").fill("||@everyone||")
    await visitor.field("Prompt").fill("```\n@everyone\n```")
    await visitor.press(visitor.form, "Send")
    await expect(visitor.private).to_contain_text("guidance must be a number from 1 to 30, not “||@everyone||”.")
    await visitor.keep("hostile-form", at=visitor.private)


async def nothing_was_marked_up_or_pinged(visitor: Visitor) -> None:
    messages: list[dict[str, Any]] = await visitor.house.messages()
    ours = [message for message in messages if message["author"].get("bot")]
    assert len(ours) > 15
    for message in ours:
        assert message["pings"] == [], message["content"]
        assert not message["mention_everyone"]
        assert message["embeds"] == []
        assert len(message["content"]) <= 2000
        for attachment in message["attachments"]:
            assert re.fullmatch(r"(atelier|recipe)-[0-9a-z]{17}(-\d)?\.(png|webp|txt)", attachment["filename"])
            assert len(attachment.get("description", "")) <= 1024
    own = visitor.page.locator("#log .message:has(.badge) .content")
    for marked in (".spoiler", "a[href*=evil]", "s", "u", "h1", "h2", "h3", "ul", "blockquote"):
        await expect(own.locator(marked)).to_have_count(0)
    bold = await own.locator("strong").all_text_contents()
    assert len(bold) == await visitor.results.count(), "only each message's own title"
    assert await visitor.page.evaluate("document.querySelectorAll('#log script, #log img[onerror]').length") == 0
