"""/info: which model draws, how busy it is, which version this is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat import wording
from bot.chat.answers import answer, answering
from bot.chat.wording import members
from generation.recipe import software_version

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient


@app_commands.command(name="info", description="About this studio: model, state, version, privacy.")
async def info(interaction: discord.Interaction[AtelierClient]) -> None:
    async with answering(interaction):
        client = interaction.client
        about = wording.info(client.studio.status(), software_version())
        kept = members.privacy(client.settings.keep_days, client.settings.disk_budget_gb)
        await answer(interaction, f"{about}\n-# {kept}")
