"""Write the averaged weights as a standard ``StableDiffusionPipeline`` folder in float16."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from training.base_model.configs import Config
from training.base_model.icons import IconSet
from training.base_model.networks import TextToLatents, build_noise_schedule
from training.base_model.samples import build_pipeline
from training.base_model.scenes import COLOURS
from training.base_model.tokenizer import write_json

SHARD_SIZE = "14MB"
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


def defaults(config: Config, icon_set: IconSet, earlier: Sequence[str]) -> dict[str, Any]:
    """``atelier.json``: what can be asked for, and how, when nobody says otherwise.

    ``earlier`` are the subjects of the model that training started from: it may have shown them on any background.
    """
    return {
        "name": f"atelier-pictograms-{config.name}",
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
        "width": config.picture_size,
        "height": config.picture_size,
        "upscale_strength": 0,  # it saw one size only: at another it breaks its pictures up
        "subjects": [subject.title for subject in icon_set.subjects],
        "backgrounds": list(COLOURS),
        "styles": list(icon_set.styles),
        "earlier_subjects": list(earlier),
    }


def load_average(work: Path, config: Config) -> TextToLatents:
    """The averaged networks of ``work/checkpoint.pt``."""
    networks = TextToLatents(config)
    state = torch.load(work / "checkpoint.pt", weights_only=True, map_location="cpu")
    networks.load_state_dict(state["average"])
    return networks.eval()


def export(work: Path, output: Path, config: Config, icon_set: IconSet, earlier: Sequence[str] = ()) -> None:
    """Write the model to a new folder, then swap it in: whoever loads meanwhile sees one model or the other."""
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = output.with_name(f".{output.name}.new"), output.with_name(f".{output.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    pipeline = build_pipeline(work, load_average(work, config), build_noise_schedule()).to(dtype=torch.float16)
    pipeline.save_pretrained(fresh, max_shard_size=SHARD_SIZE)
    shutil.rmtree(fresh / "tokenizer")
    (fresh / "tokenizer").mkdir()
    for name in TOKENIZER_FILES:  # as made: save_pretrained would add a second copy of the vocabulary
        shutil.copyfile(work / "tokenizer" / name, fresh / "tokenizer" / name)
    write_json(fresh / "atelier.json", defaults(config, icon_set, earlier))
    tidy(fresh)
    if output.exists():
        output.rename(old)
    fresh.rename(output)
    shutil.rmtree(old, ignore_errors=True)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    print(f"{output}: {size / 1e6:.1f} MB")


def tidy(folder: Path) -> None:
    """Make configurations quiet to load, and files readable for all."""
    for file in folder.rglob("*.json"):
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        content.pop("_name_or_path", None)  # where it was loaded from is nobody's business
        if content.get("_class_name") == "AutoencoderTiny":
            del content["block_out_channels"]  # AutoencoderTiny sets it, and warns when it is given
        write_json(file, content)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)
