"""Apps → Remix: a message command for any message with a picture, also where the bot itself is no member."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat import remixing
from bot.chat.answers import answering

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient


@app_commands.context_menu(name="Remix")
async def remix(interaction: discord.Interaction[AtelierClient], message: discord.Message) -> None:
    async with answering(interaction):
        await remixing.remix_message(interaction, message)
