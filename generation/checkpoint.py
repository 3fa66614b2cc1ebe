"""What a single `.safetensors` file is, read from the names and shapes in its header before any weight is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from safetensors import SafetensorError, safe_open

from generation.families import config_of
from generation.layout import PICKLES, ModelError, called, reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Shapes = dict[str, tuple[int, ...]]

_FIRST_LAYER: Final = "model.diffusion_model.input_blocks.0.0.weight"
_TEXT_TO_IMAGE_CHANNELS: Final = 4
_LORA: Final = ("lora_up.weight", "lora_B.weight", "lora.up.weight", "hada_w1_a", "lokr_w1", "lokr_w1_a")
_NOT_TEXT_TO_IMAGE: Final = {9: "an inpainting model", 8: "a model that edits pictures (InstructPix2Pix)"}
_OTHERS: Final = (
    (("control_model.", "controlnet_cond_embedding.", "input_hint_block."), "a ControlNet, which steers a model"),
    (("joint_blocks.", "model.diffusion_model.joint_blocks."), "a Stable Diffusion 3 model"),
    (("double_blocks.", "model.diffusion_model.double_blocks."), "a Flux model"),
    (("model.diffusion_model.",), "a model of another family"),
    (("down_blocks.", "time_embedding."), "only the UNet of a model in the diffusers layout"),
    (("first_stage_model.", "encoder.down", "decoder.up", "decoder.mid"), "only a VAE"),
    (("text_model.", "cond_stage_model.", "conditioner."), "only a text encoder"),
)
"""By the beginning of any name in the file."""
_INVERSION_TENSORS: Final = 4
_INVERSION_WIDTHS: Final = (768, 1024, 1280)


class Checkpoint(NamedTuple):
    config: str
    """The folder in `configs/` that describes it."""
    shapes: Shapes
    metadata: Mapping[str, str]


def inspect(path: Path) -> Checkpoint:
    """What the file is.

    Raises:
        ModelError: a pickle, not a safetensors file, or not a whole model of a family that is known here.
    """
    if path.suffix in PICKLES:
        why = "a pickle can run code when it is opened, so only .safetensors are loaded"
        raise ModelError(f"“{called(path)}” is a pickle; {why}.")
    try:
        with safe_open(path, framework="pt") as file:
            shapes: Shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"“{called(path)}” can't be read as a safetensors file: {reason_of(error, path)}."
        ) from error
    config = config_of(shapes)
    channels = shapes.get(_FIRST_LAYER, (0, 0))[1]
    if config is None or channels != _TEXT_TO_IMAGE_CHANNELS:
        what = _NOT_TEXT_TO_IMAGE.get(channels) or what_else(shapes)
        raise ModelError(
            f"“{called(path)}” is {what}; choose the file of a Stable Diffusion 1.x, 2.x or XL base model."
        )
    if not any(name.startswith("first_stage_model.") for name in shapes):
        raise ModelError(f"“{called(path)}” has no VAE in it; choose a file that holds the whole model.")
    return Checkpoint(config, shapes, metadata)


def what_else(shapes: Shapes) -> str:
    """A few words for what these tensors are, where they are no model to draw with."""
    names = list(shapes)
    if any(name.endswith(_LORA) for name in names):
        return "a LoRA, which changes a model"
    if any(name.startswith("conditioner.embedders.0.model.") for name in names):
        return "the refiner of Stable Diffusion XL, which only finishes another model's pictures"
    if _FIRST_LAYER in shapes and not any(name.startswith(("cond_stage_model.", "conditioner.")) for name in names):
        return "a model without its text encoder"
    for beginnings, what in _OTHERS:
        if any(name.startswith(beginnings) for name in names):
            return what
    flat = all(0 < len(shape) <= 2 and max(shape) in _INVERSION_WIDTHS for shape in shapes.values())
    if names and len(names) <= _INVERSION_TENSORS and flat:
        return "a textual inversion, which is a word for a model"
    return f"no model that is known here (it begins with “{names[0]}”)" if names else "empty"
