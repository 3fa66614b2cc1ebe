"""What members can do with jobs, from a command or a button: ask, stop, ask again, read the recipe."""

from __future__ import annotations

import io
import logging
import secrets
from typing import TYPE_CHECKING

import discord
import msgspec

from bot.chat import wording
from bot.chat.answers import answer, in_time
from bot.errors import NotFound, NotYours
from bot.job import JobState
from bot.outlook import CancelOutcome

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient
    from generation.request import ImageRequest

log = logging.getLogger(__name__)


def new_seed() -> int:
    """Fits into 32 bits, as in most programs that read recipes."""
    return secrets.randbelow(2**32 - 16)


async def ask(
    interaction: discord.Interaction[AtelierClient], request: ImageRequest, *, init_image: bytes | None = None
) -> None:
    """Queue `request`, say so at once, and put the job's message into the channel.

    Raises what `Studio.submit` raises: all of it has a sentence.
    """
    client = interaction.client
    submitted = await in_time(
        interaction,
        client.studio.submit(
            request,
            member_id=interaction.user.id,
            guild_id=interaction.guild_id,
            channel_id=_channel_id(interaction),
            interaction_id=interaction.id,
            init_image=init_image,
        ),
    )
    try:
        await answer(interaction, wording.acknowledged(submitted.job.images, submitted.place))
    finally:
        if submitted.created:  # else the first delivery of the same interaction sends the message
            log.info("job %s: %s asked for", submitted.job.id, wording.images_count(submitted.job.images))
            elsewhere = await client.delivery.publish(submitted.job, submitted.place, interaction)
            if elsewhere:
                await answer(interaction, wording.TOLD_ELSEWHERE)


def _channel_id(interaction: discord.Interaction[AtelierClient]) -> int:
    if interaction.channel_id is None:
        raise NotFound(wording.NOT_ALLOWED_HERE)
    return interaction.channel_id


async def cancel(interaction: discord.Interaction[AtelierClient], job_id: str) -> None:
    """Stop a job: its owner may, and who manages messages in the job's server."""
    studio = interaction.client.studio
    job = await in_time(interaction, studio.job(job_id))
    in_its_server = job.guild_id is not None and job.guild_id == interaction.guild_id
    may_manage = in_its_server and interaction.permissions.manage_messages
    try:
        outcome = await in_time(interaction, studio.cancel(job_id, by=interaction.user.id, may_manage=may_manage))
    except NotYours:
        await answer(interaction, wording.NOT_YOURS)
        return
    if outcome is CancelOutcome.TOO_LATE:
        await answer(interaction, wording.ALREADY_ENDED)
    else:
        await answer(interaction, wording.STOPPING if job.state is JobState.RUNNING else wording.STOPPED)


async def again(interaction: discord.Interaction[AtelierClient], job_id: str) -> None:
    """The same request with a new seed, for the person who pressed."""
    job = await in_time(interaction, interaction.client.studio.job(job_id))
    await ask(interaction, msgspec.structs.replace(job.request, seed=new_seed()))


async def recipe(interaction: discord.Interaction[AtelierClient], job_id: str) -> None:
    """Everything that is needed to make the pictures again, as text to copy."""
    studio = interaction.client.studio
    job = await in_time(interaction, studio.job(job_id))
    text = wording.recipe_text(job, await in_time(interaction, studio.images(job_id)))
    block = "```\n" + text.replace("```", "`\u200b``") + "\n```"
    if len(block) <= wording.MESSAGE_LIMIT:
        await answer(interaction, block)
    else:
        file = discord.File(io.BytesIO(text.encode()), filename=f"recipe-{job.id}.txt")
        await answer(interaction, wording.RECIPE_ATTACHED, file=file)
