"""What the buttons and commands do with jobs: stop, ask again, vary, upscale, read the recipe."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import discord
import msgspec

from bot.chat import wording
from bot.chat.answers import answer, in_time
from bot.chat.asking import allowed_to_remix, ask, chosen, here, may_manage, new_seed
from bot.chat.attachments import SEEN_SIDE
from bot.chat.buttons import PART_SIZE
from bot.chat.concept_names import Asker
from bot.chat.requests import resampled, varied
from bot.chat.starts import start_again, start_of
from bot.chat.wording import remixing as words
from bot.errors import NotYours, UserError
from bot.job import JobKind, JobState
from bot.outlook import CancelOutcome
from generation import limits
from generation.upscale import FACTOR, upscale_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.chat.client import AtelierClient
    from bot.chat.starts import Start
    from bot.job import Job, JobImage
    from generation.recipe import Recipe
    from generation.request import ImageRequest


async def cancel(interaction: discord.Interaction[AtelierClient], job_id: str) -> None:
    """Stop a job: its owner may, and who manages messages in its channel."""
    studio = interaction.client.studio
    job = await in_time(interaction, studio.job(job_id))
    allowed = may_manage(interaction, job)
    try:
        outcome = await in_time(interaction, studio.cancel(job_id, by=interaction.user.id, may_manage=allowed))
    except NotYours:
        await answer(interaction, wording.NOT_YOURS)
        return
    if outcome is CancelOutcome.TOO_LATE:
        await answer(interaction, wording.ALREADY_ENDED)
    else:
        await answer(interaction, wording.STOPPING if job.state is JobState.RUNNING else wording.STOPPED)


# ── again ──


async def again(interaction: discord.Interaction[AtelierClient], job_id: str) -> None:
    """The same request with a new seed, for the person who pressed."""
    job, start = await in_time(interaction, _once_more(interaction, job_id))
    request = msgspec.structs.replace(job.request, seed=new_seed())
    kind = JobKind.IMAGINE if job.kind is JobKind.TRAIN else job.kind  # its samples, not the training
    await ask(interaction, request, start=start, kind=kind, recipe=job.recipe)


async def _once_more(interaction: discord.Interaction[AtelierClient], job_id: str) -> tuple[Job, Start | None]:
    client, presser = interaction.client, interaction.user.id
    job = await here(interaction, job_id)
    if job.request.init_image is None:
        return job, None
    await allowed_to_remix(client.studio, job.member_id, presser, interaction.guild_id)
    if job.origin is not None and job.origin.job_id is not None:
        earlier = await client.studio.job(job.origin.job_id)
        await allowed_to_remix(client.studio, earlier.member_id, presser, interaction.guild_id)
    return job, await start_again(client, job, Asker.of(interaction))


# ── from one picture ──


async def vary(interaction: discord.Interaction[AtelierClient], job_id: str, index: int) -> None:
    """As many pictures as the message shows, with the same words, from one of them."""
    request, start = await in_time(interaction, _variation(interaction, job_id, index))
    await ask(interaction, request, start=start, kind=JobKind.VARY)


async def _variation(
    interaction: discord.Interaction[AtelierClient], job_id: str, index: int
) -> tuple[ImageRequest, Start]:
    client = interaction.client
    picture = await chosen(interaction, job_id, index)
    await allowed_to_remix(client.studio, picture.job.member_id, interaction.user.id, interaction.guild_id)
    start = await start_of(client, picture.job, picture.image, interaction.message, Asker.of(interaction))
    model = client.studio.status().worker.model
    request = varied(
        picture.job,
        picture.image,
        start.path,
        seed=new_seed(),
        count=len(picture.together),
        defaults=None if model is None else model.defaults,
    )
    return request, start


async def upscale(interaction: discord.Interaction[AtelierClient], job_id: str, index: int) -> None:
    """One picture at twice its size, drawn over by the model where that can do it."""
    larger = await in_time(interaction, _larger(interaction, job_id, index))
    await ask(interaction, larger.request, start=larger.start, kind=larger.kind, recipe=larger.recipe)


class _Larger(NamedTuple):
    request: ImageRequest
    start: Start
    kind: JobKind
    recipe: Recipe | None


async def _larger(interaction: discord.Interaction[AtelierClient], job_id: str, index: int) -> _Larger:
    client = interaction.client
    picture = await chosen(interaction, job_id, index)
    job, image = picture.job, picture.image
    await allowed_to_remix(client.studio, job.member_id, interaction.user.id, interaction.guild_id)
    if FACTOR * max(image.width, image.height, SEEN_SIDE) > limits.SIDE[1]:
        raise UserError(words.too_large_to_upscale(image.width, image.height))
    model = client.studio.status().worker.model
    if model is None:
        raise UserError(words.LOADING)
    start = await start_of(client, job, image, interaction.message, Asker.of(interaction))
    drawn_over = None if job.kind is JobKind.RESAMPLE else upscale_request(image.recipe, start.path, model.defaults)
    if drawn_over is not None:
        return _Larger(drawn_over, start, JobKind.UPSCALE, None)
    return _Larger(resampled(image.recipe, start.path), start, JobKind.RESAMPLE, image.recipe)


# ── the recipe ──


async def recipe(interaction: discord.Interaction[AtelierClient], job_id: str, index: int) -> None:
    """Everything that is needed to make the pictures again, to read, to copy and to keep."""
    job, images = await in_time(interaction, _job_and_images(interaction, job_id))
    in_message = [image for image in images if image.index // PART_SIZE == index // PART_SIZE]
    text = words.recipe_message(job, in_message)
    if not images:
        await answer(interaction, text)
        return
    kept = words.recipe_file(images).encode()
    await answer(interaction, text, file=discord.File(io.BytesIO(kept), filename=f"recipe-{job.id}.txt"))


async def _job_and_images(
    interaction: discord.Interaction[AtelierClient], job_id: str
) -> tuple[Job, Sequence[JobImage]]:
    return await here(interaction, job_id), await interaction.client.studio.images(job_id)
