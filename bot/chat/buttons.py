"""Buttons that outlive restarts: the custom id says what to do with which job, so nothing is kept in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

import discord
from discord import ButtonStyle

from bot.chat import actions
from bot.chat.answers import answering

if TYPE_CHECKING:
    import re

    from bot.chat.client import AtelierClient

Action = Literal["cancel", "again", "recipe"]

_LOOKS: Final[dict[str, tuple[str, str, ButtonStyle]]] = {
    "cancel": ("Stop", "⏹️", ButtonStyle.secondary),
    "again": ("Again", "🎲", ButtonStyle.primary),
    "recipe": ("Recipe", "📋", ButtonStyle.secondary),
}


class JobButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"atelier:(?P<action>cancel|again|recipe):(?P<job>[a-z0-9]{1,20})",
):
    """One button under a job's message."""

    def __init__(self, action: Action, job_id: str) -> None:
        self.action: Action = action
        self.job_id = job_id
        label, emoji, style = _LOOKS[action]
        super().__init__(
            discord.ui.Button(label=label, emoji=emoji, style=style, custom_id=f"atelier:{action}:{job_id}")
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(cast("Action", match["action"]), match["job"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        asked = cast("discord.Interaction[AtelierClient]", interaction)
        async with answering(asked, reference=self.job_id):
            match self.action:
                case "cancel":
                    await actions.cancel(asked, self.job_id)
                case "again":
                    await actions.again(asked, self.job_id)
                case "recipe":
                    await actions.recipe(asked, self.job_id)


def controls(job_id: str, *names: Action) -> discord.ui.View:
    """The buttons of a message. They never time out."""
    view = discord.ui.View(timeout=None)
    for name in names:
        view.add_item(JobButton(name, job_id))
    return view
