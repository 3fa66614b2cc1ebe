"""The model that ships: it loads, and our loop draws with it what the stock pipeline draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

import generation
from generation.generate import generate
from generation.model import LoadedModel, load_model
from generation.request import ImageRequest

FOLDER = Path(generation.__file__).parent / "bundled"


@pytest.fixture(scope="module")
def bundled() -> LoadedModel:
    return load_model("bundled", device="cpu")


def test_it_is_small_enough_to_ship() -> None:
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(sizes) <= 24e6
    assert max(sizes) <= 15e6


def test_a_usual_prompt_is_read_whole(bundled: LoadedModel) -> None:
    drawn = generate(bundled, ImageRequest(prompt="a red apple on a blue background", seed=1, num_inference_steps=1))
    assert drawn[0].words_not_read == []


def test_guided_pictures_equal_the_stock_pipelines(bundled: LoadedModel) -> None:
    request = ImageRequest(prompt="a red apple", negative_prompt="blue", seed=1, num_inference_steps=4)
    (drawn,) = generate(bundled, request)
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, use_safetensors=True).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        guidance_scale=request.guidance_scale,
        num_inference_steps=request.num_inference_steps,
        width=drawn.recipe.width,
        height=drawn.recipe.height,
        generator=torch.Generator().manual_seed(1),
    ).images[0]
    difference = np.abs(np.asarray(drawn.image, dtype=int) - np.asarray(expected, dtype=int))
    assert difference.max() <= 1
