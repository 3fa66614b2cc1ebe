"""One network of a model from its folder: only safetensors, and only where all of its weights are there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from generation.layout import ModelError, weight_variant

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_DTYPE_ARGUMENT: Final = {
    "text_encoder": "dtype",
    "safety_checker": "dtype",
    "unet": "torch_dtype",
    "vae": "torch_dtype",
}
"""transformers calls it dtype since 5.0; diffusers says torch_dtype."""


def load_part(part_class: Any, folder: Path, part: str, dtype: torch.dtype) -> Any:
    """One network, in evaluation mode and without gradients; refuses weights that are not all there."""
    variant = weight_variant(folder, part, prefer_fp16=dtype != torch.float32)
    try:
        with _no_progress_bars():
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
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"The {part.replace('_', ' ')} in {folder} can't be loaded: {reason}") from error
    if loaded["missing_keys"]:
        example = sorted(loaded["missing_keys"])[0]
        raise ModelError(f"The weights of the {part.replace('_', ' ')} in {folder} lack {example}.")
    return network.eval().requires_grad_(False)


@contextmanager
def _no_progress_bars() -> Generator[None, None, None]:
    """Both libraries draw some of their own; whoever calls has `report`."""
    shown = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()
