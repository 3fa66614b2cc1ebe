"""/imagine: options → `ImageRequest` → the studio."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat import actions, wording
from bot.chat.answers import acknowledge_later, answering
from bot.chat.commands.options import offered_sizes, parse_size
from bot.chat.discord_errors import short
from bot.errors import UserError
from generation import limits
from generation.request import ImageRequest, InvalidRequest

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient

log = logging.getLogger(__name__)

MOST_IMAGES = 4
DOWNLOAD_SECONDS = 60.0


@app_commands.command(name="imagine", description="Make a picture from words.")
@app_commands.describe(
    prompt="What the picture shows",
    negative_prompt="What it should not show",
    guidance="How closely to follow the prompt, 1 to 30 (1 = off)",
    steps="How many denoising steps, 1 to 150",
    seed="The same number gives the same picture again",
    size="width×height, such as 512x768",
    count="How many pictures, 1 to 4",
    image="A picture to start from",
    strength="How much of the start image is drawn anew, 0.05 to 1",
)
async def imagine(
    interaction: discord.Interaction[AtelierClient],
    prompt: str,
    negative_prompt: str = "",
    guidance: app_commands.Range[float, limits.GUIDANCE_SCALE[0], limits.GUIDANCE_SCALE[1]] | None = None,
    steps: app_commands.Range[int, limits.INFERENCE_STEPS[0], limits.INFERENCE_STEPS[1]] | None = None,
    seed: app_commands.Range[int, 0, limits.SEED_MAX] | None = None,
    size: str | None = None,
    count: app_commands.Range[int, 1, MOST_IMAGES] = 1,
    image: discord.Attachment | None = None,
    strength: app_commands.Range[float, limits.STRENGTH[0], limits.STRENGTH[1]] | None = None,
) -> None:
    async with answering(interaction):
        if count > MOST_IMAGES:
            raise InvalidRequest("count", count, f"a whole number from 1 to {MOST_IMAGES}")
        width, height = parse_size(size)
        request = ImageRequest(
            prompt=prompt,
            negative_prompt=negative_prompt,
            guidance_scale=limits.DEFAULT_GUIDANCE_SCALE if guidance is None else guidance,
            num_inference_steps=steps,
            seed=actions.new_seed() if seed is None else seed,
            width=width,
            height=height,
            count=count,
            init_image=None if image is None else "attachment",
            strength=strength,
        )
        data = None if image is None else await _download(interaction, image)
        await actions.ask(interaction, request, init_image=data)


@imagine.autocomplete("size")
async def _sizes(  # pyright: ignore[reportUnusedFunction]  (the decorator uses it)
    interaction: discord.Interaction[AtelierClient], current: str
) -> list[app_commands.Choice[str]]:
    model = interaction.client.studio.status().worker.model
    offered = offered_sizes(None if model is None else model.defaults)
    typed = current.strip().lower()
    fitting = [(label, value) for label, value in offered if typed in label.lower() or typed in value]
    return [app_commands.Choice(name=label, value=value) for label, value in fitting]


async def _download(interaction: discord.Interaction[AtelierClient], image: discord.Attachment) -> bytes:
    """The attachment's bytes. Judged by its size before the download, never by its name or type."""
    if image.size > limits.IMAGE_BYTES:
        raise UserError(wording.too_large_attachment(image.size, limits.IMAGE_BYTES))
    await acknowledge_later(interaction)
    try:
        async with asyncio.timeout(DOWNLOAD_SECONDS):
            return await image.read()
    except (discord.HTTPException, OSError, TimeoutError) as error:
        log.warning("an attachment could not be downloaded: %s", short(error))
        raise UserError(wording.NO_ATTACHMENT) from error
