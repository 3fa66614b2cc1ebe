"""/forget-me: what would go and what remains, and the buttons that do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat.answers import answer, answering
from bot.chat.forgetting import forget_controls
from bot.chat.wording import members as words

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient


@app_commands.command(name="forget-me", description="Remove everything that this studio keeps about you.")
async def forget_me(interaction: discord.Interaction[AtelierClient]) -> None:
    async with answering(interaction):
        question = words.really_forget(interaction.client.settings.keep_days)
        await answer(interaction, question, view=forget_controls())
