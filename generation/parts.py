"""The parts of a model from its folder: only safetensors, and only where all of the weights are there."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from generation.layout import ModelError, called, folder_layout, reason_of, weight_folders, weight_variant

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from generation.families import Family
    from generation.layout import Layout

_CLASSES: Final = {
    kind.__name__: kind
    for kind in (AutoencoderKL, AutoencoderTiny, UNet2DConditionModel, CLIPTextModel, CLIPTextModelWithProjection)
}

_DTYPE_ARGUMENT: Final = {
    "text_encoder": "dtype",
    "text_encoder_2": "dtype",
    "safety_checker": "dtype",
    "unet": "torch_dtype",
    "vae": "torch_dtype",
}
"""transformers calls it dtype since 5.0; diffusers says torch_dtype."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a model is made of, as it was loaded: on the CPU, frozen, in evaluation mode."""

    family: Family
    text_encoders: tuple[Any, ...]
    tokenizers: tuple[CLIPTokenizer, ...]
    unet: Any
    vae: Any
    scheduler_config: dict[str, Any]
    hash: str
    """SHA-256 over the weights, hexadecimal."""


def load_parts(
    folder: Path, layout: Layout, dtype: torch.dtype, report: Callable[[str, float | None], None]
) -> Parts:
    """All networks and tokenizers of a folder in the diffusers layout.

    Raises:
        ModelError: one sentence about the part that can't be loaded.
    """
    family = layout.family
    classes = {text.encoder: text.encoder_class for text in family.text_parts}
    classes |= {"unet": "UNet2DConditionModel", "vae": layout.vae_class}
    networks: dict[str, Any] = {}
    for done, part in enumerate(weight_folders(family)):
        report(f"reading the {part.replace('_', ' ')}", done / len(classes))
        networks[part] = load_part(_CLASSES[classes[part]], folder, part, dtype)
    encoders = tuple(networks[text.encoder] for text in family.text_parts)
    tokenizers = tuple(
        load_tokenizer(folder, text.tokenizer, encoder)
        for text, encoder in zip(family.text_parts, encoders, strict=True)
    )
    report("checking the weights", None)
    return Parts(
        family=family,
        text_encoders=encoders,
        tokenizers=tokenizers,
        unet=networks["unet"],
        vae=networks["vae"],
        scheduler_config=layout.scheduler_config,
        hash=weights_hash(folder, prefer_fp16=dtype != torch.float32),
    )


def weights_hash(folder: Path, *, prefer_fp16: bool = False) -> str:
    """SHA-256 over the weight files that are loaded, by name and content."""
    total = hashlib.sha256()
    for part in weight_folders(folder_layout(folder).family):
        variant = weight_variant(folder, part, prefer_fp16=prefer_fp16)
        for path in variant.weights:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{part}/{path.name} {digest}\n".encode())
    return total.hexdigest()


def load_tokenizer(folder: Path, part: str, encoder: Any) -> CLIPTokenizer:
    """The tokenizer, cut to as many places as its text encoder has."""
    try:
        tokenizer: Any = CLIPTokenizer.from_pretrained(folder / part, local_files_only=True)
    except Exception as error:  # as below
        reason = reason_of(error, folder)
        raise ModelError(f"The {part.replace('_', ' ')} of “{called(folder)}” can't be loaded: {reason}") from error
    tokenizer.model_max_length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    return tokenizer


def load_part(part_class: Any, folder: Path, part: str, dtype: torch.dtype) -> Any:
    """One network, in evaluation mode and without gradients; refuses weights that are not all there."""
    variant = weight_variant(folder, part, prefer_fp16=dtype != torch.float32)
    try:
        with no_progress_bars():
            network, loaded = part_class.from_pretrained(
                folder,
                subfolder=part,
                variant=variant.name or None,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **{_DTYPE_ARGUMENT[part]: dtype},
            )
    except Exception as error:  # safetensors, diffusers and transformers raise about anything here
        reason = reason_of(error, folder)
        raise ModelError(f"The {part.replace('_', ' ')} of “{called(folder)}” can't be loaded: {reason}") from error
    if loaded["missing_keys"]:
        example = sorted(loaded["missing_keys"])[0]
        raise ModelError(f"The weights of the {part.replace('_', ' ')} of “{called(folder)}” lack {example}.")
    return network.eval().requires_grad_(False)


@contextmanager
def no_progress_bars() -> Generator[None, None, None]:
    """Both libraries draw some of their own; whoever calls has `report`."""
    shown = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()


@contextmanager
def no_remarks() -> Generator[None, None, None]:
    """diffusers warns of modules to keep in float32 where there are none, and of tensors that a file has beside."""
    before = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(before)
