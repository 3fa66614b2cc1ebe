"""What lies where in a model's folder, found before any of it is loaded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from generation.families import declared_class, family_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from generation.families import Family

WEIGHT_FOLDERS: Final = ("text_encoder", "text_encoder_2", "unet", "vae")
"""The folders with weights, of every family. A model has those of its own."""
CHECKER: Final = "safety_checker"
"""The folder of the model's own checker, where it ships one."""
PICKLES: Final = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_WEIGHTS: Final = re.compile(
    r"(?P<stem>model|diffusion_pytorch_model)(?P<shard>-\d{5}-of-\d{5})?"
    r"(\.(?P<variant>[\w-]+?))?(?P<late_shard>-\d{5}-of-\d{5})?\.safetensors"
)
_TOKENIZERS: Final = ("CLIPTokenizer", "CLIPTokenizerFast")
_CLASSES: Final = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
}
_CHECKER_CLASS: Final = "StableDiffusionSafetyChecker"
_INPAINTING_CHANNELS: Final = 9
"""Latents, the latents of the picture around the hole, and the hole."""


class ModelError(Exception):
    """Why a model can't be loaded, in one sentence for whoever chose it."""


def called(path: Path) -> str:
    """What a sentence calls a local model: anybody may read it, and where things lie here is the operator's business.

    The last part of its path, or the hub id for a folder in the Hugging Face hub's cache.
    """
    cached = path.parent.parent.name if path.parent.name == "snapshots" else ""
    if cached.startswith("models--"):
        return cached.removeprefix("models--").replace("--", "/", 1)
    return path.absolute().name or str(path)


def reason_of(error: Exception, *paths: Path) -> str:
    """What another library says about one of `paths`, in one line without the folders above it."""
    text = " ".join(str(error).split())
    for path in paths:
        text = text.replace(str(path.absolute()), called(path))
    return text[:200]


@dataclass(frozen=True, slots=True)
class Layout:
    family: Family
    vae_class: str
    scheduler_config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Variant:
    """One set of weight files of a part: `name` is `fp16`, or empty for the plain ones."""

    name: str
    weights: list[Path]


def folder_layout(folder: Path) -> Layout:
    """Read `model_index.json` and the scheduler's configuration.

    Raises:
        ModelError: not a Stable Diffusion model in the diffusers layout.
    """
    index = _read_json(folder / "model_index.json", folder)
    pipeline = index.get("_class_name", "unknown pipeline")
    family = family_of(index)
    if family is None:
        what = f"a Stable Diffusion 1.x, 2.x or XL model ({pipeline}); such models can't be drawn with yet"
        if declared_class(index, "text_encoder_2") and index.get("requires_aesthetics_score"):
            what = "a model of its own but the refiner of Stable Diffusion XL; choose the base model instead"
        raise ModelError(f"“{called(folder)}” is not {what}.")
    classes = dict(_CLASSES)
    for text in family.text_parts:
        classes |= {text.encoder: (text.encoder_class,), text.tokenizer: _TOKENIZERS}
    for part, allowed in classes.items():
        found = declared_class(index, part)
        if found not in allowed:
            what = f"its {part.replace('_', ' ')} is {found or 'missing'}, not {' or '.join(allowed)}"
            raise ModelError(
                f"The model “{called(folder)}” ({pipeline}) is not of a kind that can be drawn with: {what}."
            )
        if not (folder / part).is_dir():
            raise ModelError(f"The model “{called(folder)}” is not complete: {part}/ is missing.")
    if _read_json(folder / "unet" / "config.json", folder).get("in_channels") == _INPAINTING_CHANNELS:
        raise ModelError(f"“{called(folder)}” is an inpainting model; choose one that makes pictures from text.")
    scheduler_config = _read_json(folder / "scheduler" / "scheduler_config.json", folder)
    if not isinstance(scheduler_config.get("_class_name"), str):
        raise ModelError(f"The scheduler of “{called(folder)}” has no class name.")
    return Layout(family, index["vae"][1], scheduler_config)


def weight_folders(family: Family) -> tuple[str, ...]:
    """The folders of a family with weights, in the order in which they are loaded."""
    return (*(text.encoder for text in family.text_parts), "unet", "vae")


def declares_checker(folder: Path) -> bool:
    """Does `model_index.json` name Stable Diffusion's safety checker? Many models are published without: `null`.

    Raises:
        ModelError: it names another one, which must not go unasked just because it is not known here.
    """
    found = declared_class(_read_json(folder / "model_index.json", folder), CHECKER)
    if found not in (None, _CHECKER_CLASS):
        raise ModelError(f"The safety checker of “{called(folder)}” is {found}, not {_CHECKER_CLASS}.")
    return found is not None


def weight_variant(folder: Path, part: str, *, prefer_fp16: bool = False) -> Variant:
    """The weight files of a part: plain ones, or fp16 ones where these are preferred or alone.

    Raises:
        ModelError: there are none; pickles are named.
    """
    paths = sorted(path for path in (folder / part).iterdir() if path.is_file())
    name = choose_variant([path.name for path in paths], prefer_fp16=prefer_fp16)
    if name is not None:
        return Variant(name, [path for path in paths if _variant_of(path.name) == name])
    pickles = [path.name for path in paths if path.suffix in PICKLES]
    if pickles:
        why = "a pickle can run code when it is opened, so only .safetensors are loaded"
        raise ModelError(f"{part}/{pickles[0]} of “{called(folder)}” is a pickle; {why}.")
    raise ModelError(f"There are no weights (.safetensors) in {part}/ of “{called(folder)}”.")


def choose_variant(names: Iterable[str], *, prefer_fp16: bool) -> str | None:
    """`fp16`, or the empty string for plain weights; None where there are no weights at all."""
    variants = {_variant_of(name) for name in names}
    return next((name for name in (("fp16", "") if prefer_fp16 else ("", "fp16")) if name in variants), None)


def _variant_of(name: str) -> str | None:
    match = _WEIGHTS.fullmatch(name)
    return (match["variant"] or "") if match else None


def is_weight_file(name: str, variant: str) -> bool:
    """Does a file with this name belong to the weights of that variant (shards and their index too)?"""
    index = f"safetensors.index.{variant}.json" if variant else "safetensors.index.json"
    return _variant_of(name) == variant or name.endswith(f".{index}")


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    """With Python's own reader: diffusers writes `-Infinity` (DPM-Solver's `lambda_min_clipped`)."""
    file = f"{path.relative_to(folder)} of “{called(folder)}”"
    try:
        content: object = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        missing = path.relative_to(folder)
        what = f"is not a model in the diffusers layout: it has no {missing}"
        raise ModelError(f"“{called(folder)}” {what}.") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} can't be read: {reason_of(error, folder)}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} can't be read: it is not a JSON object.")
    return cast("dict[str, Any]", content)
