"""The Delete button: asks once, then the job, its pictures and its messages go for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.chat.answers import answer, change, change_later, in_time
from bot.chat.asking import may_manage
from bot.chat.buttons import controls
from bot.chat.wording import history as words
from bot.errors import NotYours, UserError

if TYPE_CHECKING:
    import discord

    from bot.chat.client import AtelierClient


async def delete(interaction: discord.Interaction[AtelierClient], job_id: str) -> None:
    """Asks the owner, or who manages messages in the job's channel, whether they mean it.

    Raises NotFound, UserError, RegistryTrouble.
    """
    studio = interaction.client.studio
    job = await in_time(interaction, studio.job(job_id))
    if job.member_id != interaction.user.id and not may_manage(interaction, job):
        raise UserError(words.ONLY_OWNER_DELETES)
    question = words.really_delete(job.images, job.member_id, interaction.user.id)
    await answer(interaction, question, view=controls(job.id, "erase"))


async def erase(interaction: discord.Interaction[AtelierClient], job_id: str) -> None:
    """They mean it: the question becomes its answer."""
    studio = interaction.client.studio
    await change_later(interaction)
    job = await studio.job(job_id)
    try:
        await studio.delete(job_id, by=interaction.user.id, may_manage=may_manage(interaction, job))
    except NotYours:
        raise UserError(words.ONLY_OWNER_DELETES) from None
    interaction.client.delivery.doomed_added()
    await change(interaction, words.DELETED)


async def delete_shown(interaction: discord.Interaction[AtelierClient], message: discord.Message) -> None:
    """The Delete button for a message that has none, or whose buttons are out of reach."""
    found = await in_time(interaction, interaction.client.studio.of_message(message.id))
    if found is None:
        raise UserError(words.NOT_A_PICTURE)
    await delete(interaction, found[0].id)
