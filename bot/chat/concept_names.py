"""Names of concepts in what members type: completed while they do, and taken out where they aren't theirs to use."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from bot.chat.wording import CHOICE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import discord

    from bot.chat.requests import Basis
    from bot.studio import Studio

MOST_CHOICES: Final = 25
_OPEN: Final = re.compile(r"[<＜﹤]([^<>＜＞﹤﹥\s]{0,32})$")
"""A name that was begun at the end of a text."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose concepts count: of whoever presses or writes, where they do it. `guild_id` None: a direct message."""

    member_id: int
    guild_id: int | None

    @classmethod
    def of(cls, interaction: discord.Interaction[Any]) -> Self:
        return cls(interaction.user.id, interaction.guild_id)


def name_begun(typed: str) -> str | None:
    """`a photo of <my` → `my`; None where no name was begun at the end."""
    begun = _OPEN.search(typed)
    return None if begun is None else begun[1]


def completed(typed: str, own: Sequence[str], shared: Sequence[str] = ()) -> list[str]:
    """`a photo of <my` → `a photo of <my-cat>`: the text with each name that fits at its end, as `fitting` has them.
    Empty where no name was begun there, and where the whole would be longer than Discord's choices may be."""
    begun = name_begun(typed)
    if begun is None:
        return []
    before = typed[: len(typed) - len(begun) - 1]
    whole = [f"{before}<{name}>" for name in fitting(begun, own, shared)]
    return [text for text in whole if len(text) <= CHOICE_LIMIT][:MOST_CHOICES]


def fitting(typed: str, own: Iterable[str], shared: Iterable[str] = ()) -> list[str]:
    """The names that have in them what was typed: own ones first, and in each group those that begin like it."""
    part = unicodedata.normalize("NFKC", typed.strip()).casefold().strip("<>")
    groups = ([name for name in group if part in name] for group in (own, shared))
    return [name for group in groups for name in sorted(group, key=lambda name: not name.startswith(part))]


async def usable_words(studio: Studio, basis: Basis, asker: Asker) -> Basis:
    """`basis` without the names that stand for nothing this member may use: to go on from somebody else's words."""

    async def stripped(text: str) -> str:
        if "<" not in unicodedata.normalize("NFKC", text):
            return text
        return await studio.concepts.strip_unusable(text, member_id=asker.member_id, guild_id=asker.guild_id)

    return dataclasses.replace(
        basis, prompt=await stripped(basis.prompt), negative_prompt=await stripped(basis.negative_prompt)
    )
