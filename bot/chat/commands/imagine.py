"""/imagine: options → `ImageRequest` → the studio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat.answers import acknowledge_later, answering
from bot.chat.asking import ask, new_seed
from bot.chat.commands.concepts import choices, drawable_names
from bot.chat.commands.options import offered_sizes, parse_size, with_options
from bot.chat.concept_names import completed, name_begun
from bot.chat.requests import basis_of_any
from bot.chat.starts import Start, download
from generation import limits
from generation.prompt import PromptText, parse_prompt
from generation.request import ImageRequest, InvalidRequest, tidied

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient
    from bot.studio import Studio

MOST_IMAGES = 4
"""By the option; a flag or choices in braces may ask for more."""


@app_commands.command(name="imagine", description="Make a picture from words.")
@app_commands.describe(
    prompt="What it shows; {red, green} makes one of each, <… a trained word; --no, --cfg, --seed … work here",
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
    count: app_commands.Range[int, 1, MOST_IMAGES] | None = None,
    image: discord.Attachment | None = None,
    strength: app_commands.Range[float, limits.STRENGTH[0], limits.STRENGTH[1]] | None = None,
) -> None:
    async with answering(interaction):
        if count is not None and count > MOST_IMAGES:
            raise InvalidRequest("count", count, f"a whole number from 1 to {MOST_IMAGES}")
        width, height = parse_size(size)
        options = PromptText(
            [],
            negative_prompt=tidied(negative_prompt) or None,
            guidance_scale=guidance,
            num_inference_steps=steps,
            seed=seed,
            size=None if width is None or height is None else (width, height),
            count=count,
            strength=strength,
        )
        said = with_options(parse_prompt(prompt), options)
        request = _request(said, interaction.client.studio, None if image is None else "attachment")
        start = None
        if image is not None:
            await acknowledge_later(interaction)
            start = Start(data=await download(image), foreign=True)
        await ask(interaction, request, start=start)


def _request(said: PromptText, studio: Studio, init_image: str | None) -> ImageRequest:
    model = studio.status().worker.model
    usual = basis_of_any(None if model is None else model.defaults)
    width, height = said.size or (None, None)
    return ImageRequest(
        prompt=said.prompts[0] if len(said.prompts) == 1 else said.prompts,
        negative_prompt=said.negative_prompt or "",
        guidance_scale=usual.guidance_scale if said.guidance_scale is None else said.guidance_scale,
        num_inference_steps=said.num_inference_steps,
        seed=new_seed() if said.seed is None else said.seed,
        width=width,
        height=height,
        count=said.count or 1,
        init_image=init_image,
        strength=said.strength,
    )


@imagine.autocomplete("prompt")
async def _concepts(  # pyright: ignore[reportUnusedFunction]  (the decorator uses it)
    interaction: discord.Interaction[AtelierClient], current: str
) -> list[app_commands.Choice[str]]:
    """The whole prompt again, with a name in place of the one that was begun at its end."""
    if name_begun(current) is None:
        return []
    return choices(completed(current, *await drawable_names(interaction)))


@imagine.autocomplete("size")
async def _sizes(  # pyright: ignore[reportUnusedFunction]  (the decorator uses it)
    interaction: discord.Interaction[AtelierClient], current: str
) -> list[app_commands.Choice[str]]:
    model = interaction.client.studio.status().worker.model
    offered = offered_sizes(None if model is None else model.defaults)
    typed = current.strip().lower()
    fitting = [(label, value) for label, value in offered if typed in label.lower() or typed in value]
    return [app_commands.Choice(name=label, value=value) for label, value in fitting]
