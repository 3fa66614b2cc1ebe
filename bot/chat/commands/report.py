"""Two ways to bring a picture before the operator: a message command with a form, and /report with a link."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat import reporting
from bot.chat.answers import answering
from bot.chat.wording import members as words
from bot.members import REASON_LENGTH

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient


@app_commands.command(name="report", description="Tell the operator of this bot about a picture.")
@app_commands.describe(link="The picture's message: “Copy Message Link” in its menu", reason="What is wrong with it")
async def report(
    interaction: discord.Interaction[AtelierClient],
    link: str,
    reason: app_commands.Range[str, 0, REASON_LENGTH] = "",
) -> None:
    async with answering(interaction):
        await reporting.report_link(interaction, link, reason)


@app_commands.context_menu(name=words.REPORT)
async def report_message(interaction: discord.Interaction[AtelierClient], message: discord.Message) -> None:
    async with answering(interaction):
        await reporting.open_report(interaction, message)
