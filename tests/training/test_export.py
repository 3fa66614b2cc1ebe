"""Stock diffusers loads what is exported."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from training.base_model.configs import Config
from training.base_model.export import export
from training.base_model.icons import IconSet
from training.base_model.samples import contact_sheet, draw
from training.base_model.train import Reporter, new_run


def exported(work: Path, tiny: Config, icon_set: IconSet) -> Path:
    torch.manual_seed(0)
    run = new_run(tiny, torch.device("cpu"))
    with torch.no_grad():
        run.average.unet.conv_in.bias.fill_(0.125)
    Reporter(work, 0, 0).save(run)
    export(work, work / "out" / "model", tiny, icon_set)
    return work / "out" / "model"


def test_stock_diffusers_draws_with_an_exported_folder(work: Path, tiny: Config, icon_set: IconSet) -> None:
    folder = exported(work, tiny, icon_set)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    assert (pipeline.unet.conv_in.bias == 0.125).all()  # the average, not the model that was trained
    first, second = draw(pipeline, ("a fox", "a fox"), steps=2)
    assert first.size == second.size == (16, 16)
    assert first.tobytes() != second.tobytes()  # each has a seed of its own


def test_defaults_stand_beside_the_model(work: Path, tiny: Config, icon_set: IconSet) -> None:
    listed = json.loads((exported(work, tiny, icon_set) / "atelier.json").read_text(encoding="utf-8"))
    assert listed["name"] == "atelier-pictograms-tiny"
    assert (listed["width"], listed["height"]) == (16, 16)
    assert listed["subjects"] == ["fox", "apple", "sun"]
    assert listed["styles"] == ["noto", "flat"]
    assert listed["backgrounds"][0] == "white"
    assert (listed["num_inference_steps"], listed["guidance_scale"]) == (20, 7.5)


def test_an_older_model_is_replaced_and_no_path_is_told(work: Path, tiny: Config, icon_set: IconSet) -> None:
    exported(work, tiny, icon_set)
    folder = exported(work, tiny, icon_set)
    assert [file.name for file in folder.parent.iterdir()] == ["model"]
    assert not any(str(work) in file.read_text(encoding="utf-8") for file in folder.rglob("*.json"))
    assert sorted(file.name for file in (folder / "tokenizer").iterdir()) == [
        "merges.txt",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "vocab.json",
    ]


def test_a_contact_sheet_has_room_for_every_picture() -> None:
    sheet = contact_sheet([Image.new("RGB", (4, 4), "red")] * 5, columns=3, enlarge=2)
    assert sheet.size == (30, 20)
    assert sheet.getpixel((11, 11)) == (255, 0, 0)
    assert sheet.getpixel((25, 15)) == (255, 255, 255)
