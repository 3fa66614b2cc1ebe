from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from generation.generate import generate, upscale
from generation.model import LoadedModel, load_model
from generation.recipe import Recipe, save_png
from generation.request import ConceptUse, ImageRequest, InvalidRequest, ModelDefaults
from generation.upscale import resample, upscale_request
from tests.generation.stock import pipeline_for, theirs

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
    defaults = msgspec.structs.replace(DEFAULTS, upscale_strength=strength)
    request = upscale_request(recipe, "/pictures/1.png", defaults)
    assert request is not None
    assert request.num_inference_steps is not None
    evaluations = int(request.num_inference_steps * strength)  # diffusers' img2img: int(steps · strength)
    assert evaluations == 8 if strength > 0.06 else evaluations == 7  # 150 steps are the most


@pytest.mark.parametrize("scheduler", ["lcm", "tcd"])
def test_no_more_steps_than_the_sampler_can_do(scheduler: str) -> None:
    """Both pick their steps from the 50 that their models are distilled for."""
    defaults = msgspec.structs.replace(DEFAULTS, upscale_strength=0.1)  # 80 for eight evaluations
    for steps in (4, 150):
        recipe = msgspec.structs.replace(RECIPE, scheduler=scheduler, num_inference_steps=steps)
        request = upscale_request(recipe, "/pictures/1.png", defaults)
        assert request is not None
        assert (request.scheduler, request.num_inference_steps) == (scheduler, 50)


@pytest.mark.parametrize(
    "changes",
    [
        {"guidance_scale": 0.0},
        {"guidance_scale": 31.0},
        {"guidance_scale": float("nan")},
        {"seed": 2**64 - 1},
        {"seed": -1},
        {"clip_skip": 12},
        {"width": -512},
        {"prompt": "apple " * 400},
    ],
    ids=str,
)
def test_recipes_of_other_programs_that_are_out_of_range_are_resampled(changes: dict[str, Any]) -> None:
    recipe = msgspec.structs.replace(RECIPE, **changes)
    assert upscale_request(recipe, "/pictures/1.png", DEFAULTS) is None


@pytest.mark.parametrize("strength", [-0.1, 0.0, 0.01, 1.5])
def test_strengths_that_no_request_may_have_are_resampled(strength: float) -> None:
    defaults = msgspec.structs.replace(DEFAULTS, upscale_strength=strength)
    assert upscale_request(RECIPE, "/pictures/1.png", defaults) is None


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


def test_resampling_keeps_the_picture() -> None:
    across, down = np.meshgrid(np.linspace(0, 6, 48), np.linspace(0, 4, 32))
    smooth = np.stack([np.sin(across), np.cos(down), np.sin(across + down)], axis=-1)
    picture = Image.fromarray(((smooth * 0.4 + 0.5) * 255).astype(np.uint8))
    larger = resample(picture)
    assert larger.size == (96, 64)
    back = np.asarray(larger.resize(picture.size, Image.Resampling.BOX), dtype=float)
    assert np.abs(back - np.asarray(picture)).max() < 4


@pytest.mark.parametrize(
    ("size", "least_side", "larger"),
    [
        ((64, 64), 256, (512, 512)),
        ((96, 64), 256, (512, 341)),
        ((256, 128), 256, (512, 256)),
        ((300, 200), 256, (600, 400)),
        ((64, 64), 0, (128, 128)),
        ((1024, 512), 0, (2048, 1024)),
        ((1500, 750), 256, (2048, 1024)),
        ((2048, 16), 256, (2048, 16)),
        ((2100, 1000), 0, (2100, 1000)),
        ((1, 1000), 0, (2, 2000)),
    ],
)
def test_resampled_sizes(size: tuple[int, int], least_side: int, larger: tuple[int, int]) -> None:
    assert resample(Image.new("RGB", size), least_side=least_side).size == larger


def test_a_picture_is_drawn_over_by_the_model_at_twice_its_size(tiny_model: LoadedModel, tmp_path: Path) -> None:
    """Like the stock image-to-image pipeline from the same picture, resampled to the size that is asked for."""
    drawn = generate(tiny_model, ImageRequest(prompt="a red apple", seed=3, num_inference_steps=30))[0]
    path = tmp_path / "drawn.png"
    save_png(drawn.image, path, drawn.recipe)
    larger = upscale(tiny_model, path, drawn.recipe)
    assert larger.image.size == (128, 128)
    assert (larger.recipe.width, larger.recipe.strength, larger.recipe.seed) == (128, 0.3, 3)
    asked = ImageRequest(
        prompt="a red apple",
        seed=3,
        num_inference_steps=30,
        width=128,
        height=128,
        init_image=str(path),
        strength=0.3,
    )
    stretched = tmp_path / "stretched.png"
    drawn.image.resize((128, 128), Image.Resampling.LANCZOS).save(stretched)
    reference = msgspec.structs.replace(asked, init_image=str(stretched))
    expected, _ = theirs(pipeline_for(tiny_model, reference), reference, output_type="np")
    difference = np.abs(np.asarray(larger.image, dtype=float) - expected[0] * 255)
    assert difference.max() <= 2


def test_what_the_model_cannot_enlarge_is_resampled(tmp_path: Path) -> None:
    model = load_model("bundled", device="cpu")
    drawn = generate(model, ImageRequest(prompt="a red apple", seed=3, num_inference_steps=2))[0]
    path = tmp_path / "drawn.png"
    save_png(drawn.image, path, drawn.recipe)
    larger = upscale(model, path, drawn.recipe)
    assert larger.image.tobytes() == resample(drawn.image).tobytes()
    assert larger.recipe == drawn.recipe, "what makes the picture that was resampled"


def test_what_the_models_sampler_cannot_do_is_resampled(tiny_model: LoadedModel, tmp_path: Path) -> None:
    """The recipe's sampler is unknown, and the model's own takes at most 50 steps: only the engine finds out."""
    config = {**tiny_model.scheduler_config, "_class_name": "LCMScheduler"}
    model = dataclasses.replace(tiny_model, scheduler_config=config)
    path = tmp_path / "drawn.png"
    Image.new("RGB", (64, 64), "teal").save(path)
    recipe = msgspec.structs.replace(RECIPE, scheduler="Own", width=64, height=64, num_inference_steps=100)
    with pytest.raises(InvalidRequest, match="can't draw in 100 steps"):
        generate(model, ImageRequest(prompt="apple", seed=1, num_inference_steps=100))
    assert upscale(model, path, recipe).recipe == recipe


def test_memory_that_runs_out_while_enlarging_leaves_the_resampled_picture(
    tiny_model: LoadedModel, tmp_path: Path
) -> None:
    drawn = generate(tiny_model, ImageRequest(prompt="a red apple", seed=3, num_inference_steps=2))[0]
    path = tmp_path / "drawn.png"
    save_png(drawn.image, path, drawn.recipe)

    def no_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    handle = tiny_model.unet.register_forward_pre_hook(no_memory)
    larger = upscale(tiny_model, path, drawn.recipe)
    handle.remove()
    assert larger.image.tobytes() == resample(drawn.image).tobytes()
