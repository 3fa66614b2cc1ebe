"""/queue: who waits, in order, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat import wording
from bot.chat.answers import answer, answering
from bot.chat.wording import members
from bot.job import JobKind

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient


@app_commands.command(name="queue", description="See what is waiting and how long it takes.")
async def queue(interaction: discord.Interaction[AtelierClient]) -> None:
    async with answering(interaction):
        view = interaction.client.studio.queue_view()
        text = wording.queue(view.lines, view.seconds, member_id=interaction.user.id, guild_id=interaction.guild_id)
        lines = [line for line in view.lines if line.job.kind is not JobKind.TRAIN]
        own = sum(line.job.images for line in lines if line.job.member_id == interaction.user.id)
        if own:
            text = f"{text}\n-# {members.own_limit(own, interaction.client.settings.queue_per_member)}"
        note = wording.waiting_note(view.worker)
        await answer(interaction, text if note is None else f"{note}\n{text}")
