from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from PIL import Image

from generation.latents import NotFinite, decode_latents, encode_image, generators_of, noise, to_image, to_tensor
from generation.model import LoadedModel, load_model


def test_noise_of_a_picture_depends_on_its_seed_only(tiny_model: LoadedModel) -> None:
    together = noise(tiny_model, generators_of([1, 2, 3]), 64, 128)
    assert together.shape == (3, 4, 16, 8)
    assert torch.equal(noise(tiny_model, generators_of([2]), 64, 128)[0], together[1])


def test_pictures_survive_the_way_to_tensors_and_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    tensor = to_tensor(Image.fromarray(pixels), 24, 16)
    assert tensor.shape == (1, 3, 16, 24)
    assert float(tensor.min()) >= -1
    assert np.array_equal(np.asarray(to_image(tensor[0])), pixels)


def test_another_shape_is_cut_evenly_not_squeezed() -> None:
    wide = Image.new("RGB", (300, 100), "blue")
    wide.paste("red", (100, 0, 200, 100))
    tensor = to_tensor(wide, 50, 50)
    pixels = np.asarray(to_image(tensor[0]))
    assert pixels[:, 1:-1].reshape(-1, 3).min(axis=0).tolist() == [254, 0, 0]  # edges ring a little
    assert pixels[:, :, 2].max() < 20


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_make_no_picture(tiny_v_model: LoadedModel, value: float) -> None:
    """Checked before the decoder, too: AutoencoderTiny squeezes infinity into a colour."""
    latents = torch.zeros((1, 4, 16, 16))
    latents[0, 0, 0, 0] = value
    with pytest.raises(NotFinite):
        decode_latents(tiny_v_model, latents)


@pytest.fixture(params=[False, True], ids=["factor", "mean and deviation"])
def xl_folder(tiny_xl_folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """With the statistics that some VAEs of the SDXL kind bring (Playground 2.5)."""
    folder = Path(shutil.copytree(tiny_xl_folder, tmp_path / "model"))
    if request.param:
        path = folder / "vae/config.json"
        statistics = {"latents_mean": [-1.6, 0.9, 0.1, 0.5], "latents_std": [8.4, 5.9, 5.2, 6.3]}
        path.write_text(json.dumps({**json.loads(path.read_text()), **statistics}))
    return folder


def test_pictures_are_encoded_as_the_stock_pipeline_does(xl_folder: Path) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    pipeline: Any = StableDiffusionXLImg2ImgPipeline.from_pretrained(xl_folder, local_files_only=True)
    pixels = pipeline.image_processor.preprocess(image, height=64, width=64)
    where = {
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "generator": generators_of([3]),
        "add_noise": False,
    }
    with torch.no_grad():
        expected = pipeline.prepare_latents(pixels, None, 1, 1, **where)
    ours = encode_image(load_model(str(xl_folder), device="cpu"), image, generators_of([3]), 64, 64)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_latents_are_decoded_as_the_stock_pipeline_does(xl_folder: Path) -> None:
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(5))
    pipeline: Any = StableDiffusionXLPipeline.from_pretrained(xl_folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "fox",
        num_inference_steps=1,
        height=64,
        width=64,
        callback_on_step_end=lambda *_: {"latents": latents},
    ).images[0]
    ours = decode_latents(load_model(str(xl_folder), device="cpu"), latents)
    difference = np.abs(np.asarray(ours, dtype=int) - np.asarray(expected, dtype=int))
    assert difference.max() <= 1  # a value between two whole numbers may be rounded either way


def test_float16_runs_an_sdxl_vae_in_float32(tiny_xl_folder: Path, tiny_folder: Path) -> None:
    model = load_model(str(tiny_xl_folder), device="cpu", dtype="float16")
    assert (model.unet.dtype, model.vae.dtype) == (torch.float16, torch.float32)
    latents = noise(model, generators_of([1]), 64, 64)
    assert decode_latents(model, latents).size == (64, 64)
    encoded = encode_image(model, Image.new("RGB", (64, 64), "red"), generators_of([1]), 64, 64)
    assert encoded.shape == (1, 4, 8, 8)
    assert load_model(str(tiny_xl_folder), device="cpu", dtype="bfloat16").vae.dtype == torch.bfloat16
    assert load_model(str(tiny_folder), device="cpu", dtype="float16").vae.dtype == torch.float16
