"""Requests that are made from a finished picture's recipe. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from generation import limits
from generation.prompt import PromptText
from generation.request import ImageRequest, InvalidRequest

if TYPE_CHECKING:
    from bot.job import Job, JobImage
    from generation.recipe import Recipe
    from generation.request import ModelDefaults

MEDIUM_STRENGTH: Final = 0.6
"""How much of a picture Vary and Remix draw anew. Tried with the bundled model: below, other words are not always
followed (a blue background stays blue at 0.4); from 0.7 on, loose words ("a monster") leave the picture behind."""


def redrawn(request: ImageRequest, recipe: Recipe) -> ImageRequest:
    """What draws one picture of `request` again, by itself. Its concepts are for the caller to find."""
    return msgspec.structs.replace(
        request,
        prompt=recipe.prompt,
        num_inference_steps=recipe.num_inference_steps,
        seed=recipe.seed,
        width=recipe.width,
        height=recipe.height,
        count=1,
        strength=recipe.strength,
        concepts=[],
    )


@dataclass(frozen=True, slots=True)
class Basis:
    """What a remix goes on from where nothing else is said. None: as the model does best."""

    prompt: str = ""
    negative_prompt: str = ""
    guidance_scale: float = limits.DEFAULT_GUIDANCE_SCALE
    num_inference_steps: int | None = None
    size: tuple[int, int] | None = None
    scheduler: str | None = None
    clip_skip: int | None = None


def basis_of(job: Job, image: JobImage, defaults: ModelDefaults | None) -> Basis:
    """A picture's own recipe, at a size that the loaded model can draw."""
    recipe = image.recipe
    return Basis(
        prompt=recipe.prompt,
        negative_prompt=recipe.negative_prompt,
        guidance_scale=recipe.guidance_scale,
        num_inference_steps=recipe.num_inference_steps,
        size=fitting_size(image, defaults),
        scheduler=job.request.scheduler,
        clip_skip=job.request.clip_skip,
    )


def basis_of_any(defaults: ModelDefaults | None) -> Basis:
    """For a picture without a recipe."""
    lowest, highest = limits.GUIDANCE_SCALE  # a model's own file may say what can't be asked for
    usual = limits.DEFAULT_GUIDANCE_SCALE if defaults is None else defaults.guidance_scale
    return Basis(guidance_scale=min(max(lowest, usual), highest))


def remixed(basis: Basis, text: PromptText, init_image: str, *, seed: int, strength: float) -> ImageRequest:
    """`text` over `basis`: no words are the basis' words, and its flags go before `seed` and `strength`."""
    prompts = [basis.prompt] if text.prompts == [""] else text.prompts
    strength = strength if text.strength is None else text.strength
    width, height = text.size or basis.size or (None, None)
    steps = text.num_inference_steps
    if steps is None and basis.num_inference_steps is not None:
        steps = at_least_one_step(basis.num_inference_steps, strength)
    return ImageRequest(
        prompt=prompts[0] if len(prompts) == 1 else prompts,
        negative_prompt=basis.negative_prompt if text.negative_prompt is None else text.negative_prompt,
        guidance_scale=basis.guidance_scale if text.guidance_scale is None else text.guidance_scale,
        num_inference_steps=steps,
        seed=seed if text.seed is None else text.seed,
        width=width,
        height=height,
        count=text.count or 1,
        init_image=init_image,
        strength=strength,
        scheduler=basis.scheduler,
        clip_skip=basis.clip_skip,
    )


def varied(
    job: Job, image: JobImage, init_image: str, *, seed: int, count: int, defaults: ModelDefaults | None
) -> ImageRequest:
    """The same words and settings, from the picture itself."""
    same = PromptText([""], count=count)
    return remixed(basis_of(job, image, defaults), same, init_image, seed=seed, strength=MEDIUM_STRENGTH)


def resampled(recipe: Recipe, init_image: str) -> ImageRequest:
    """For a job that enlarges without drawing: says what the picture shows; its size is the worker's to find."""
    return ImageRequest(
        prompt=recipe.prompt,
        negative_prompt=recipe.negative_prompt,
        guidance_scale=recipe.guidance_scale,
        seed=recipe.seed,
        init_image=init_image,
    )


def fitting_size(image: JobImage, defaults: ModelDefaults | None) -> tuple[int, int] | None:
    """The size at which the picture was drawn; None where the model that is loaded can't draw it."""
    recipe = image.recipe
    if defaults is not None:
        try:
            ImageRequest(prompt="size", seed=0, width=recipe.width, height=recipe.height).with_defaults(defaults)
        except InvalidRequest:
            return None
    return recipe.width, recipe.height


def at_least_one_step(steps: int, strength: float) -> int:
    """`steps`, or as many as leave one to do at this strength."""
    return max(steps, math.ceil(1 / strength))
