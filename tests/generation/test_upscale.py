from __future__ import annotations

import msgspec
import numpy as np
import pytest
from PIL import Image

from generation.recipe import Recipe
from generation.request import ConceptUse, ModelDefaults
from generation.upscale import resample, upscale_request

DEFAULTS = ModelDefaults(width=512, height=512, size_multiple=64, max_pixels=1024 * 1024)
RECIPE = Recipe(
    prompt="a red apple",
    negative_prompt="blue",
    guidance_scale=5.5,
    num_inference_steps=30,
    seed=41,
    width=512,
    height=448,
    scheduler="euler",
    model_name="some",
    model_hash="0" * 64,
    strength=0.7,
    init_image_sha256="1" * 64,
    clip_skip=1,
)


def test_everything_but_the_size_is_as_it_was() -> None:
    concept = ConceptUse(name="cat-toy", path="/concepts/cat-toy.safetensors", weight=0.8)
    request = upscale_request(RECIPE, "/pictures/1.png", DEFAULTS, concepts=[concept])
    assert request is not None
    assert (request.width, request.height) == (1024, 896)
    assert (request.prompt, request.negative_prompt, request.seed) == ("a red apple", "blue", 41)
    assert (request.guidance_scale, request.scheduler, request.clip_skip) == (5.5, "euler", 1)
    assert (request.init_image, request.strength, request.num_inference_steps) == ("/pictures/1.png", 0.3, 30)
    assert (request.concepts, request.count) == ([concept], 1)
    request.with_defaults(DEFAULTS)  # the model accepts it


@pytest.mark.parametrize("strength", [0.05, 0.1, 0.15, 0.2, 0.25, 0.29, 0.3, 0.35, 0.57, 0.58, 1.0])
def test_few_steps_become_enough_evaluations(strength: float) -> None:
    recipe = msgspec.structs.replace(RECIPE, num_inference_steps=4)
    request = upscale_request(recipe, "/pictures/1.png", DEFAULTS, strength=strength)
    assert request is not None
    assert request.num_inference_steps is not None
    evaluations = int(request.num_inference_steps * strength)  # diffusers' img2img: int(steps · strength)
    assert evaluations == 8 if strength > 0.06 else evaluations == 7  # 150 steps are the most


def test_a_scheduler_of_the_models_own_is_left_to_the_model() -> None:
    recipe = msgspec.structs.replace(RECIPE, scheduler="SomeOwnScheduler")
    request = upscale_request(recipe, "/pictures/1.png", DEFAULTS)
    assert request is not None
    assert request.scheduler is None


@pytest.mark.parametrize(
    ("width", "height"),
    [(576, 512), (1088, 64), (32 * 3, 512)],
    ids=["more pixels than it draws", "a side that is too long", "not a multiple"],
)
def test_sizes_that_the_model_cannot_draw_are_resampled(width: int, height: int) -> None:
    defaults = msgspec.structs.replace(DEFAULTS, size_multiple=128 if width == 96 else 64)
    recipe = msgspec.structs.replace(RECIPE, width=width, height=height)
    assert upscale_request(recipe, "/pictures/1.png", defaults) is None


def test_a_model_that_only_harms_its_pictures_says_so_with_strength_zero() -> None:
    assert upscale_request(RECIPE, "/pictures/1.png", DEFAULTS, strength=0) is None


def test_resampling_keeps_the_picture() -> None:
    across, down = np.meshgrid(np.linspace(0, 6, 48), np.linspace(0, 4, 32))
    smooth = np.stack([np.sin(across), np.cos(down), np.sin(across + down)], axis=-1)
    picture = Image.fromarray(((smooth * 0.4 + 0.5) * 255).astype(np.uint8))
    larger = resample(picture)
    assert larger.size == (96, 64)
    back = np.asarray(larger.resize(picture.size, Image.Resampling.BOX), dtype=float)
    assert np.abs(back - np.asarray(picture)).max() < 4
