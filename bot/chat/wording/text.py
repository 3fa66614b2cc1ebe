"""Text of members, numbers and Discord's limits: what every other module of words is made with."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import discord

MESSAGE_LIMIT: Final = 2000
ALT_TEXT_LIMIT: Final = 1024
CHOICE_LIMIT: Final = 100
SHOWN_PROMPT: Final = 600
"""Characters of a prompt in a channel message, after escaping; the recipe button gives the whole."""
_BAR_CELLS: Final = 12
_ZERO_WIDTH: Final = "\u200b"
_DROPPED: Final = frozenset({"Cc", "Cf", "Cs"})
_KEPT: Final = frozenset("\n\t\u200c\u200d")
"""White space, and the joiners that emoji and several scripts need."""
_MARKS: Final = frozenset({"Mn", "Me"})
_HIGHEST_HEAP: Final = 4
"""Marks on one letter; no script has more."""
_MARKUP: Final = re.compile(r"[\\*_~|`<\[\]]|:(?=\w+:)|^[#>-]|(?<=^\d)[.)](?= )|(?<=^\d\d)[.)](?= )")
"""Formatting, links, everything in angle brackets, emoji by name; at the start headings, quotes and lists."""
_LINK: Final = re.compile(r"(:|\.\w+)/")
"""`https://…`, and `discord.gg/…`, of which Discord makes an invitation."""


def plain(text: str) -> str:
    """Member text on one line, for where Discord reads no markup: nothing invisible, nothing that turns the writing,
    no letters that reach into the lines above."""
    kept: list[str] = []
    heap = 0
    for char in text:
        category = unicodedata.category(char)
        heap = heap + 1 if category in _MARKS else 0
        if heap <= _HIGHEST_HEAP and (category not in _DROPPED or char in _KEPT):
            kept.append(char)
    return " ".join("".join(kept).split())


def escaped(text: str) -> str:
    """Member text as it was typed: no formatting, no mentions, no links, on one line."""
    marked = _MARKUP.sub(r"\\\g<0>", plain(text))
    return discord.utils.escape_mentions(_LINK.sub(rf"\1{_ZERO_WIDTH}/", marked))


def shortened(text: str, length: int) -> str:
    """At most `length` characters, the last one `…` if any were cut."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def shown_prompt(prompt: str | list[str], length: int = SHOWN_PROMPT) -> str:
    """The prompt, escaped, in at most `length` characters."""
    plain = prompt if isinstance(prompt, str) else " · ".join(prompt)
    cut = min(len(plain), length)
    while len(text := escaped(shortened(plain, cut))) > length:
        cut -= max(1, (len(text) - length) // 2)  # escaping makes at most two characters of one
    return text or "(no words, only a picture)"


def duration(seconds: float) -> str:
    if seconds < 5:
        return "a few seconds"
    if seconds < 55:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    if seconds < 90 * 60:
        return f"about {max(1, round(seconds / 60))} min"
    return f"about {seconds / 3600:.1f} h"


def bar(step: int, total: int) -> str:
    filled = min(_BAR_CELLS, _BAR_CELLS * step // max(1, total))
    return "▰" * filled + "▱" * (_BAR_CELLS - filled)


def images_count(images: int) -> str:
    return "1 picture" if images == 1 else f"{images} pictures"
