"""The buttons under `/forget-me`. Their ids say what to do; whom it is about, the presser's id alone says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

import discord

from bot.chat.answers import answering, change, change_later
from bot.chat.wording import members as words

if TYPE_CHECKING:
    import re

    from bot.chat.client import AtelierClient

Choice = Literal["all", "rows", "keep"]

_LOOKS: Final[dict[Choice, tuple[str, discord.ButtonStyle]]] = {
    "all": (words.FORGET_WITH_MESSAGES, discord.ButtonStyle.danger),
    "rows": (words.FORGET_ONLY, discord.ButtonStyle.danger),
    "keep": (words.KEEP, discord.ButtonStyle.secondary),
}


class ForgetButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"atelier:forget-me:(?P<choice>all|rows|keep)",
):
    def __init__(self, choice: Choice) -> None:
        self.choice: Choice = choice
        label, style = _LOOKS[choice]
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=f"atelier:forget-me:{choice}"))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(cast("Choice", match["choice"]))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        async with answering(interaction):
            await change_later(interaction)
            if self.choice == "keep":
                await change(interaction, words.KEPT)
            else:
                await _forget(interaction, delete_messages=self.choice == "all")


async def _forget(interaction: discord.Interaction[AtelierClient], *, delete_messages: bool) -> None:
    done = await interaction.client.studio.members.forget(interaction.user.id, delete_messages=delete_messages)
    interaction.client.delivery.doomed_added()
    await change(interaction, words.forgotten(done, messages=delete_messages))


def forget_controls() -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for choice in _LOOKS:
        view.add_item(ForgetButton(choice))
    return view
