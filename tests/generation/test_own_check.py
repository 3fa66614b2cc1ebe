"""The model's own safety checker: a random one, steered by its thresholds, against diffusers' pipeline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from generation.model import ModelError, load_model
from generation.own_check import OwnCheck
from generation.safety import OutputCheck

ALL, SOME, NONE = -2.0, 0.832, 2.0
"""Thresholds that flag everything, three of the eight pictures below, and nothing."""
WEIGHTS = "safety_checker/model.safetensors"
Checked = Callable[[float], Path]


def pictures(count: int) -> list[Image.Image]:
    """Noise around different colours, and not square."""
    random = np.random.default_rng(5)
    colours = random.integers(0, 200, (count, 1, 1, 3))
    return [
        Image.fromarray((colours[i] + random.integers(0, 56, (40, 56, 3))).astype(np.uint8)) for i in range(count)
    ]


def own_check(folder: Path, **values: Any) -> OwnCheck | None:
    return load_model(str(folder), device="cpu", own_check=True, **values).own_check


def present(folder: Path, **values: Any) -> OwnCheck:
    check = own_check(folder, **values)
    assert check is not None
    return check


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        own_check(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert str(folder.parent) not in sentence
    return sentence


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_what_it_flags_scores_one(checked_folder: Checked, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    check = OutputCheck(present(checked_folder(ALL)))
    (picture,) = pictures(1)
    picture = picture.convert(mode)
    before = picture.tobytes()
    caplog.clear()
    assert check.score(picture) == 1.0
    assert picture.tobytes() == before  # the stock checker paints over what it flags
    assert caplog.messages == []  # and says so


def test_what_it_does_not_flag_keeps_the_other_score(checked_folder: Checked) -> None:
    check = OutputCheck(present(checked_folder(NONE)))
    picture = Image.new("RGB", (64, 64), "pink")
    score = OutputCheck().score(picture)
    assert 0 < score < 1
    assert check.score(picture) == score


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_verdicts_are_those_of_diffusers(checked_folder: Checked, dtype: torch.dtype) -> None:
    folder = checked_folder(SOME)
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True).to(dtype)
    check = present(folder, dtype=str(dtype).removeprefix("torch."))
    drawn = pictures(8)
    arrays = np.stack([np.asarray(picture) / 255 for picture in drawn])
    _, expected = pipeline.run_safety_checker(arrays, torch.device("cpu"), dtype)
    assert sorted(expected) == [False] * 5 + [True] * 3
    assert [check.flags(picture) for picture in drawn] == expected


def test_weights_under_the_names_that_models_in_the_wild_have(checked_folder: Checked) -> None:
    """Stable Diffusion 1.x was saved with one more level of names than transformers 5 uses."""
    folder = checked_folder(SOME)
    expected = [present(folder).flags(picture) for picture in pictures(8)]
    weights = load_file(folder / WEIGHTS)
    inner = "vision_model."
    old = {f"{inner}{name}" if name.startswith(inner) else name: tensor for name, tensor in weights.items()}
    old["vision_model.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(old, folder / WEIGHTS, metadata={"format": "pt"})
    assert [present(folder).flags(picture) for picture in pictures(8)] == expected


def test_half_precision_files_are_preferred_on_a_gpu(checked_folder: Checked) -> None:
    folder = checked_folder(NONE)
    half = {name: tensor.half() for name, tensor in load_file(folder / WEIGHTS).items()}
    half["concept_embeds_weights"].fill_(ALL)
    save_file(half, folder / "safety_checker/model.fp16.safetensors", metadata={"format": "pt"})
    assert present(folder, dtype="float16").flags(pictures(1)[0])
    assert not present(folder).flags(pictures(1)[0])


def test_a_model_without_one(checked_folder: Checked, tiny_folder: Path) -> None:
    assert own_check(tiny_folder) is None
    folder = checked_folder(ALL)
    edit(folder / "model_index.json", safety_checker=[None, None])
    assert own_check(folder) is None
    edit(folder / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    shutil.rmtree(folder / "safety_checker")
    assert own_check(folder) is None


def test_it_is_not_loaded_where_nothing_is_checked(checked_folder: Checked) -> None:
    folder = checked_folder(ALL)
    (folder / WEIGHTS).rename(folder / "safety_checker/pytorch_model.bin")
    assert load_model(str(folder), device="cpu").own_check is None


def test_the_hash_is_of_what_draws(checked_folder: Checked, tiny_folder: Path) -> None:
    with_check = load_model(str(checked_folder(ALL)), device="cpu", own_check=True).info
    without = load_model(str(tiny_folder), device="cpu").info
    assert (with_check.hash, with_check.parameters) == (without.hash, without.parameters)


def test_one_that_cannot_be_loaded_does_not_go_unchecked(checked_folder: Checked) -> None:
    folder = checked_folder(ALL)
    edit(folder / "model_index.json", safety_checker=["mine", "MyChecker"])
    assert "is MyChecker, not StableDiffusionSafetyChecker" in refused(folder)
    edit(folder / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    (folder / "feature_extractor/preprocessor_config.json").unlink()
    assert refused(folder).startswith("The feature extractor of “checked-model”")
    weights = load_file(folder / WEIGHTS)
    del weights["concept_embeds"]
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    assert "of the safety checker" in refused(folder)
    (folder / WEIGHTS).rename(folder / "safety_checker/pytorch_model.bin")
    sentence = refused(folder)
    assert "safety_checker/pytorch_model.bin" in sentence
    assert "is a pickle" in sentence


def test_a_verdict_from_no_numbers_is_an_error_not_a_pass(checked_folder: Checked) -> None:
    folder = checked_folder(ALL)
    weights = load_file(folder / WEIGHTS)
    weights["visual_projection.weight"].fill_(torch.nan)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ArithmeticError, match="did not give numbers"):
        OutputCheck(present(folder)).score(pictures(1)[0])
