"""/preferences: what a member wishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat.answers import answer, answering, in_time
from bot.chat.wording import members as words

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient


@app_commands.command(name="preferences", description="Whether I mention you when a picture took long.")
@app_commands.describe(ping="True: mention me at the end of a job of more than a minute; without it, see what is set")
async def preferences(interaction: discord.Interaction[AtelierClient], ping: bool | None = None) -> None:
    async with answering(interaction):
        members, member_id = interaction.client.studio.members, interaction.user.id
        if ping is None:
            ping = await in_time(interaction, members.ping(member_id))
        else:
            await in_time(interaction, members.set_ping(member_id, ping))
        await answer(interaction, words.preferences(ping=ping))
