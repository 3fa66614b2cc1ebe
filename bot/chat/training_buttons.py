"""*Start* and *Don't* under what is said of photos, which only their member sees; the id says of which form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

import discord

from bot.chat.answers import answering
from bot.chat.wording import training as words

if TYPE_CHECKING:
    import re

    from bot.chat.client import AtelierClient

Choice = Literal["start", "discard"]

_LOOKS: Final[dict[Choice, tuple[str, discord.ButtonStyle]]] = {
    "start": (words.START, discord.ButtonStyle.primary),
    "discard": (words.DISCARD, discord.ButtonStyle.secondary),
}


class DraftButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"atelier:train-(?P<choice>start|discard):(?P<form>\d{1,20})",
):
    def __init__(self, choice: Choice, form: int) -> None:
        self.choice: Choice = choice
        self.form = form
        label, style = _LOOKS[choice]
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=f"atelier:train-{choice}:{form}"))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(cast("Choice", match["choice"]), int(match["form"]))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        from bot.chat import training  # noqa: PLC0415  it makes these buttons itself

        asked = cast("discord.Interaction[AtelierClient]", interaction)
        async with answering(asked):
            if self.choice == "start":
                await training.start(asked, self.form)
            else:
                await training.discard(asked, self.form)


def draft_controls(form: int) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for choice in _LOOKS:
        view.add_item(DraftButton(choice, form))
    return view
