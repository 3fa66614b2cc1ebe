"""A picture at twice its size: drawn over by the model at low strength, or resampled where it can't do that.

The first keeps the composition and adds detail of the larger size; it is an ordinary image-to-image request, so
it shares the batch with everything else. Light, so that the bot process can use it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from PIL import Image

from generation import limits
from generation.request import ImageRequest, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generation.recipe import Recipe
    from generation.request import ConceptUse, ModelDefaults

FACTOR: Final = 2
_EVALUATIONS: Final = 8
"""At least: fewer leave noise in the picture."""


def upscale_request(
    recipe: Recipe,
    image_path: str,
    defaults: ModelDefaults,
    *,
    concepts: Sequence[ConceptUse] = (),
) -> ImageRequest | None:
    """What draws the picture at `image_path`, made after `recipe`, at twice its width and height.

    Prompts, guidance, seed and sampler are the recipe's; `concepts` are those of the recipe that may be used
    now. None where this model can't do it (use `resample`): the size is too large or doesn't fit, its
    `upscale_strength` is 0, or the recipe is another program's and out of range here.
    """
    strength = defaults.upscale_strength
    if strength <= 0:
        return None
    choice = limits.SCHEDULERS.get(recipe.scheduler)
    most = limits.INFERENCE_STEPS[1] if choice is None else choice.max_steps
    least = math.ceil(_EVALUATIONS / strength)
    try:
        request = ImageRequest(
            prompt=recipe.prompt,
            negative_prompt=recipe.negative_prompt,
            guidance_scale=recipe.guidance_scale,
            num_inference_steps=min(max(recipe.num_inference_steps, least), most),
            seed=recipe.seed,
            width=recipe.width * FACTOR,
            height=recipe.height * FACTOR,
            init_image=image_path,
            strength=strength,
            scheduler=None if choice is None else recipe.scheduler,
            clip_skip=recipe.clip_skip,
            concepts=list(concepts),
        )
        return request.with_defaults(defaults)
    except InvalidRequest:
        return None


def resample(image: Image.Image, *, least_side: int = 0) -> Image.Image:
    """Twice the width and height by Lanczos' filter: nothing new, nothing lost.

    Where the long side is shorter than `least_side` pixels, it becomes twice that. No side becomes longer than the
    longest that a request may ask for (2048), unless it is already.
    """
    long_side = max(image.size)
    most = max(limits.SIDE[1], long_side)
    scale = min(FACTOR * max(long_side, least_side), most) / long_side
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
