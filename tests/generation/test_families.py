"""Which family a model is of, what it is told beside the text, and what suits it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from generation.defaults import words
from generation.families import StableDiffusion, StableDiffusionXL, family_of
from generation.families.guidance import guidance_embedding
from generation.model import LoadedModel, ModelError, load_model

CLIP = ["transformers", "CLIPTextModel"]
UNET = ["diffusers", "UNet2DConditionModel"]


@pytest.mark.parametrize(
    ("index", "family"),
    [
        ({"unet": UNET, "text_encoder": CLIP}, StableDiffusion()),
        ({"unet": UNET, "text_encoder": CLIP, "text_encoder_2": [None, None]}, StableDiffusion()),
        ({"unet": UNET, "text_encoder": CLIP, "text_encoder_2": CLIP}, StableDiffusionXL()),
        (
            {"unet": UNET, "text_encoder": CLIP, "text_encoder_2": CLIP, "force_zeros_for_empty_prompt": False},
            StableDiffusionXL(zero_empty_negative=False),
        ),
        ({"unet": UNET, "text_encoder": [None, None], "text_encoder_2": CLIP}, None),
        ({"transformer": UNET, "text_encoder": CLIP, "text_encoder_2": CLIP, "text_encoder_3": CLIP}, None),
        ({"transformer": UNET, "text_encoder": CLIP}, None),
        ({}, None),
    ],
)
def test_the_family_follows_from_the_parts(index: dict[str, object], family: object) -> None:
    assert family_of(index) == family


def damaged(tiny_xl_folder: Path, tmp_path: Path, path: str, **changes: object) -> Path:
    folder = Path(shutil.copytree(tiny_xl_folder, tmp_path / "model"))
    content = json.loads((folder / path).read_text())
    (folder / path).write_text(json.dumps({**content, **changes}))
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(str(folder), device="cpu")
    return str(caught.value).replace(f"“{folder.name}”", "it")


def test_the_refiner_is_named(tiny_xl_folder: Path, tmp_path: Path) -> None:
    changes = {"text_encoder": [None, None], "tokenizer": [None, None], "requires_aesthetics_score": True}
    folder = damaged(tiny_xl_folder, tmp_path, "model_index.json", **changes)
    what = "the refiner of Stable Diffusion XL"
    assert refused(folder) == f"it is not a model of its own but {what}; choose the base model instead."


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"addition_embed_type": None}, "its UNet's added conditioning is None, not text_time"),
        (
            {"projection_class_embeddings_input_dim": 5 * 8 + 20},
            "it is the refiner, which only finishes the pictures of the base model",
        ),
        (
            {"projection_class_embeddings_input_dim": 6 * 8 + 24},
            "its UNet's added conditioning is not six numbers and the pooled text",
        ),
        ({"cross_attention_dim": 32}, "its UNet reads text of width 32, its encoders write 16 + 24"),
    ],
)
def test_sdxl_parts_that_do_not_fit(
    tiny_xl_folder: Path, tmp_path: Path, changes: dict[str, object], what: str
) -> None:
    folder = damaged(tiny_xl_folder, tmp_path, "unet/config.json", **changes)
    unet: Any = UNet2DConditionModel
    with torch.random.fork_rng():
        unet.from_config(unet.load_config(folder / "unet")).save_pretrained(folder / "unet")
    assert refused(folder) == f"it can't be drawn with: {what}."


def test_guidance_as_an_input_equals_the_stock_pipelines(
    tiny_folder: Path, tmp_path: Path, tiny_model: LoadedModel
) -> None:
    """Latent consistency models: one row, which is told how strongly to follow the prompt."""
    pipeline: Any = StableDiffusionPipeline.from_pretrained(tiny_folder, local_files_only=True)
    for width in (8, 9, 256):
        expected = pipeline.get_guidance_scale_embedding(torch.tensor([7.5, 1.0]) - 1, embedding_dim=width)
        torch.testing.assert_close(guidance_embedding([7.5, 1.0], width), expected)
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    config = UNet2DConditionModel.load_config(folder / "unet")
    with torch.random.fork_rng():
        unet: Any = UNet2DConditionModel.from_config(config, time_cond_proj_dim=8)
        unet.save_pretrained(folder / "unet")
    model = load_model(str(folder), device="cpu")
    told = model.timestep_cond([8.0, 2.0])
    assert told is not None
    assert told.shape == (2, 8)
    assert (model.guidance_embedded, tiny_model.guidance_embedded) == (True, False)
    assert tiny_model.timestep_cond([8.0]) is None
    assert (model.info.defaults.num_inference_steps, model.info.defaults.guidance_scale) == (4, 8.0)


@pytest.mark.parametrize(
    ("name", "fast"),
    [
        ("sd-turbo", True),
        ("sd_xl_turbo_1.0_fp16", True),
        ("DreamShaperXL-Turbo v2", True),
        ("realvisxlV40_v40LightningBakedvae", True),
        ("sdxlTurbo", True),
        ("LCM_Dreamshaper_v7", True),
        ("turbocharged", False),
        ("stable-diffusion-v1-5", False),
    ],
)
def test_fast_models_are_known_by_their_names(tiny_xl_folder: Path, tmp_path: Path, name: str, fast: bool) -> None:
    assert bool(words(name) & {"turbo", "lightning", "lcm"}) == fast
    if name not in {"sd-turbo", "turbocharged"}:
        return
    folder = tmp_path / name
    folder.symlink_to(tiny_xl_folder)
    defaults = load_model(str(folder), device="cpu").info.defaults
    assert (defaults.num_inference_steps, defaults.guidance_scale) == ((4, 1.0) if fast else (30, 5.0))


def test_atelier_json_goes_before_the_name(tiny_xl_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_xl_folder, tmp_path / "my-turbo"))
    (folder / "atelier.json").write_text('{"num_inference_steps": 1, "guidance_scale": 2}')
    defaults = load_model(str(folder), device="cpu").info.defaults
    assert (defaults.num_inference_steps, defaults.guidance_scale) == (1, 2.0)
