"""The one way from an interaction to a job, and who may make something of which picture."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bot.chat import wording
from bot.chat.answers import answer, in_time
from bot.chat.buttons import EACH, PART_SIZE, buttons_of
from bot.chat.explicit import is_withheld_in
from bot.chat.wording import remixing as words
from bot.errors import NotFound, UserError
from bot.job import JobKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    import discord

    from bot.chat.client import AtelierClient
    from bot.chat.starts import Start
    from bot.job import Job, JobImage
    from bot.outlook import Submitted
    from bot.studio import Studio
    from generation.recipe import Recipe
    from generation.request import ImageRequest

log = logging.getLogger(__name__)


def new_seed() -> int:
    """Fits into 32 bits, as in most programs that read recipes."""
    return secrets.randbelow(2**32 - 16)


async def ask(
    interaction: discord.Interaction[AtelierClient],
    request: ImageRequest,
    *,
    start: Start | None = None,
    kind: JobKind = JobKind.IMAGINE,
    recipe: Recipe | None = None,
) -> None:
    """Queue `request`, say so at once, and put the job's message into the channel.

    `start` is the start image of `request`; `recipe` that of the picture which a `RESAMPLE` enlarges. Raises what
    `Studio.submit` raises: all of it has a sentence.
    """
    client = interaction.client
    if start is not None:
        request = msgspec.structs.replace(request, init_image=start.path)
    submitted = await in_time(
        interaction,
        client.studio.submit(
            request,
            member_id=interaction.user.id,
            guild_id=interaction.guild_id,
            channel_id=channel_of(interaction),
            interaction_id=interaction.id,
            init_image=None if start is None else start.data,
            kind=kind,
            origin=None if start is None else start.origin,
            foreign_start=start is not None and start.foreign,
            redraw=None if start is None else start.redraw,
            recipe=recipe,
            file_limit=interaction.filesize_limit,
        ),
    )
    await publish(
        interaction,
        submitted,
        answer(interaction, wording.acknowledged(submitted.job.images, submitted.place)),
    )


async def publish(
    interaction: discord.Interaction[AtelierClient], submitted: Submitted, saying: Awaitable[None]
) -> None:
    """Await `saying`, which tells the person who asked, then put the job's message into the channel."""
    job = submitted.job
    try:
        await saying
    finally:
        if submitted.created:  # else the first delivery of the same interaction sends the message
            what = "a training" if job.kind is JobKind.TRAIN else wording.images_count(job.images)
            log.info("job %s: %s asked for", job.id, what)
            elsewhere = await interaction.client.delivery.publish(job, submitted.place, interaction)
            if elsewhere:
                await answer(interaction, wording.TOLD_ELSEWHERE)


def channel_of(interaction: discord.Interaction[AtelierClient]) -> int:
    if interaction.channel_id is None:
        raise NotFound(wording.NOT_ALLOWED_HERE)
    return interaction.channel_id


def may_manage(interaction: discord.Interaction[AtelierClient], job: Job) -> bool:
    """Whether they manage messages where the job's are: in that channel, which says nothing about others."""
    in_its_channel = job.guild_id is not None and job.channel_id == interaction.channel_id
    return in_its_channel and interaction.permissions.manage_messages


async def allowed_to_remix(studio: Studio, job_member_id: int, presser_id: int, guild_id: int | None) -> None:
    """Raises UserError where the server doesn't let members make something of each other's pictures."""
    if guild_id is None or job_member_id == presser_id:
        return
    if not (await studio.guilds.settings(guild_id)).remix_others:
        raise UserError(words.NOT_OTHERS)


async def here(interaction: discord.Interaction[AtelierClient], job_id: str) -> Job:
    """A job of the channel where it is pressed, or one's own: a custom id can be forged.

    Raises NotFound, as for a job that doesn't exist, and RegistryTrouble.
    """
    job = await interaction.client.studio.job(job_id)
    if job.channel_id != interaction.channel_id and job.member_id != interaction.user.id:
        raise NotFound
    return job


@dataclass(frozen=True, slots=True)
class Chosen:
    """One finished picture that somebody pointed at."""

    job: Job
    image: JobImage
    together: Sequence[JobImage]
    """Those that the message shows, itself among them."""


async def chosen(interaction: discord.Interaction[AtelierClient], job_id: str, index: int) -> Chosen:
    """Raises NotFound, RegistryTrouble. UserError: the picture is withheld here."""
    job = await here(interaction, job_id)
    images = await interaction.client.studio.images(job_id)
    part = [image for image in images if image.index // PART_SIZE == index // PART_SIZE]
    for image in part:
        if image.index == index:
            if is_withheld_in(interaction.channel, interaction.client, job, image):
                raise UserError(words.WITHHELD)
            message = interaction.message
            return Chosen(job, image, part if message is None else _shown(part, message, image))
    raise NotFound


def _shown(part: Sequence[JobImage], message: discord.Message, image: JobImage) -> list[JobImage]:
    """Those of a part whose buttons are under the pressed message: /history shows one of several."""
    under = {index for action, job_id, index in buttons_of(message) if job_id == image.job_id and action in EACH}
    return [other for other in part if other is image or other.index in under]
