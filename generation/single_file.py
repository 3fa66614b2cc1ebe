"""Load a model from one `.safetensors` file in the style in which Stable Diffusion was first published.

Such a file holds weights only. What is missing (the networks' shapes, the scheduler, the vocabulary) ships with
Atelier in `configs/`, so that nothing is asked of the network.

**Which prediction a file was trained for** can't be seen in the weights of Stable Diffusion 2.x: 2.0 and 2.1 for
768×768 predict v, the “base” models for 512×512 predict epsilon. In this order: `prediction_type` in
`NAME.atelier.json` beside `NAME.safetensors`; the file's metadata (`modelspec.prediction_type`, Stability AI's
ModelSpec); a tensor named `v_pred`, which marks v-predicting SDXL models; the words `base`, `512` or `turbo` in the
file's name (Stable Diffusion 2.x: epsilon, 512×512); else what most files of the family do: 2.x predicts v, the
others epsilon.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import diffusers

from generation.checkpoint import Checkpoint, inspect
from generation.defaults import words
from generation.families import family_of
from generation.layout import ModelError, called, reason_of
from generation.parts import Parts, no_progress_bars, no_remarks
from generation.vocabulary import clip_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

CONFIGS: Final = Path(__file__).parent / "configs"
_V2: Final = "stable-diffusion-v2"
_V2_BASE_WORDS: Final = frozenset({"base", "512", "turbo"})
_V2_BASE_LATENTS: Final = 64
_SPOKEN: Final = {"v": "v_prediction", "epsilon": "epsilon"}
"""Predictions as ModelSpec writes them."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What the weights don't say."""

    prediction_type: str | None
    """None: as in the shipped configuration."""
    sample_size: int | None = None


def settings_file(path: Path) -> Path:
    """Where `atelier.json` stands for a single file: `NAME.atelier.json` beside it."""
    return path.with_suffix(".atelier.json")


def load_single_file(
    path: Path,
    dtype: torch.dtype,
    report: Callable[[str, float | None], None],
    *,
    prediction_type: str | None = None,
) -> Parts:
    """All parts of the model in a file, without asking the network.

    Raises:
        ModelError: one sentence: what the file is instead, or what is wrong with it.
    """
    report("reading the file's header", None)
    checkpoint = inspect(path)
    folder = CONFIGS / checkpoint.config
    index: dict[str, Any] = _read(folder / "model_index.json")
    family = family_of(index)
    assert family is not None
    _check_width(path, checkpoint, _read(folder / "unet" / "config.json")["cross_attention_dim"])
    tokenizers = {text.tokenizer: clip_tokenizer(folder / text.tokenizer) for text in family.text_parts}
    report("reading the model", None)
    pipeline = _load(path, getattr(diffusers, index["_class_name"]), folder, dtype, tokenizers)
    for part in (*(text.encoder for text in family.text_parts), "unet", "vae"):
        _check_complete(path, part, getattr(pipeline, part))
    told = _told(path, checkpoint, prediction_type)
    scheduler = dict(pipeline.scheduler.config)
    if told.prediction_type is not None:
        scheduler["prediction_type"] = told.prediction_type
    if told.sample_size is not None:
        pipeline.unet.register_to_config(sample_size=told.sample_size)
    report("checking the weights", None)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Parts(
        family=family,
        text_encoders=tuple(getattr(pipeline, text.encoder) for text in family.text_parts),
        tokenizers=tuple(tokenizers.values()),
        unet=pipeline.unet,
        vae=pipeline.vae,
        scheduler_config=scheduler,
        hash=digest,
    )


def _load(path: Path, pipeline: Any, folder: Path, dtype: torch.dtype, tokenizers: dict[str, Any]) -> Any:
    try:
        with no_progress_bars(), no_remarks():
            return pipeline.from_single_file(
                str(path), config=str(folder), local_files_only=True, dtype=dtype, **tokenizers
            )
    except (NotImplementedError, KeyError) as error:  # a network without values (“meta tensor”), or a name not found
        raise ModelError(f"“{called(path)}” lacks some of the weights of {folder.name}.") from error
    except Exception as error:  # safetensors, diffusers and transformers raise about anything here
        reason = reason_of(error, path, folder)
        raise ModelError(f"“{called(path)}” can't be loaded as {folder.name}: {reason}") from error


def _check_width(path: Path, checkpoint: Checkpoint, expected: int) -> None:
    width = next(shape[-1] for name, shape in checkpoint.shapes.items() if name.endswith("attn2.to_k.weight"))
    if width != expected:
        what = f"its UNet reads text of width {width} instead of {expected}"
        raise ModelError(f"“{called(path)}” looks like {checkpoint.config} but is none: {what}.")


def _check_complete(path: Path, part: str, network: Any) -> None:
    """diffusers leaves weights that the file lacks without values."""
    lacking = next((name for name, weight in network.named_parameters() if weight.is_meta), None)
    if lacking is not None:
        raise ModelError(f"The weights of the {part.replace('_', ' ')} in “{called(path)}” lack {lacking}.")
    network.eval().requires_grad_(False)


def _told(path: Path, checkpoint: Checkpoint, prediction_type: str | None) -> _Told:
    """See the module's docstring."""
    is_base = checkpoint.config == _V2 and words(path.stem) & _V2_BASE_WORDS
    spoken = prediction_type or _SPOKEN.get(checkpoint.metadata.get("modelspec.prediction_type", ""))
    if spoken is None and "v_pred" in checkpoint.shapes:
        spoken = "v_prediction"
    if checkpoint.config == _V2 and (is_base or spoken == "epsilon"):
        return _Told(spoken or "epsilon", _V2_BASE_LATENTS)
    return _Told(spoken)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes())
