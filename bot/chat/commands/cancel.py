"""/cancel: stop one of your own pictures or trainings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from bot.chat import actions, wording
from bot.chat.answers import answer, answering, in_time

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient

_JOB_ID: Final = re.compile(r"[a-z0-9]{1,20}")
_MOST_CHOICES: Final = 25


@app_commands.command(name="cancel", description="Stop one of your pictures, or your training.")
@app_commands.describe(job="Which one; without it, the only one that you have on the way")
async def cancel(interaction: discord.Interaction[AtelierClient], job: str | None = None) -> None:
    async with answering(interaction):
        if job is not None:
            if _JOB_ID.fullmatch(job) is None:
                await answer(interaction, wording.UNKNOWN_JOB)
                return
            await actions.cancel(interaction, job)
            return
        jobs = await in_time(interaction, interaction.client.studio.open_jobs(interaction.user.id))
        if len(jobs) == 1:
            await actions.cancel(interaction, jobs[0].id)
        else:
            await answer(interaction, wording.WHICH_TO_CANCEL if jobs else wording.NOTHING_TO_CANCEL)


@cancel.autocomplete("job")
async def _own_jobs(  # pyright: ignore[reportUnusedFunction]  (the decorator uses it)
    interaction: discord.Interaction[AtelierClient], current: str
) -> list[app_commands.Choice[str]]:
    jobs = await interaction.client.studio.open_jobs(interaction.user.id)
    choices = [app_commands.Choice(name=wording.job_choice(job), value=job.id) for job in jobs]
    typed = current.strip().lower()
    return [choice for choice in choices if typed in choice.name.lower() or typed == choice.value][:_MOST_CHOICES]
