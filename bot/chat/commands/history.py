"""/history: your own pictures, newest first. And the message command that deletes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat import deleting
from bot.chat.answers import acknowledge_later, answering
from bot.chat.history import show_page

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient


@app_commands.command(name="history", description="Your own pictures, newest first; only you see them.")
async def history(interaction: discord.Interaction[AtelierClient]) -> None:
    async with answering(interaction):
        await acknowledge_later(interaction)
        await show_page(interaction)


@app_commands.context_menu(name="Delete picture")
async def delete_picture(interaction: discord.Interaction[AtelierClient], message: discord.Message) -> None:
    async with answering(interaction):
        await deleting.delete_shown(interaction, message)
