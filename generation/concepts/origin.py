"""Which models a concept was made for, read from its keys and shapes: for the sentence where it doesn't fit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from generation.concepts.tensor_file import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from generation.model import LoadedModel

SD_1: Final = "Stable Diffusion 1.x"
SD_2: Final = "Stable Diffusion 2.x"
SD_XL: Final = "Stable Diffusion XL"
OTHERS: Final = "another kind of model, such as FLUX or Stable Diffusion 3"
_OTHERS: Final = re.compile(
    r"^(lora_)?transformer[._]|(double|single|joint)_blocks|single_transformer_blocks|text_encoder_3|lora_te3_"
)
_SD_XL: Final = re.compile(
    r"^(lora_te2_|text_encoder_2\.|clip_g$|text_encoders_1$)|label_emb|add_embedding|transformer_blocks[._][1-9]"
)
_READS_TEXT: Final = re.compile(
    r"attn2[._](processor[._])?to_[kv]\W|attn2\.processor\.to_[kv]_lora|^lora_te_.*_q_proj\."
)
"""Layers whose input is as wide as the text, by which the families differ."""
_UP: Final = re.compile(r"lora_B|up\.weight$")
_BY_TEXT_WIDTH: Final = {768: SD_1, 1024: SD_2, 2048: SD_XL}


def made_for(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """The kind of models that a file with these keys and shapes is for; None if that can't be told."""
    if any(_OTHERS.search(key) for key in shapes):
        return OTHERS
    if any(_SD_XL.search(key) for key in shapes):
        return SD_XL
    widths = {
        shape[1]
        for key, shape in shapes.items()
        if len(shape) > 1 and _READS_TEXT.search(key) and not _UP.search(key)
    }
    if len(shapes) == 1:  # a textual inversion
        widths |= {shape[-1] for shape in shapes.values() if shape}
    found = {_BY_TEXT_WIDTH[width] for width in widths if width in _BY_TEXT_WIDTH}
    return found.pop() if len(found) == 1 else None


def drawn_with(model: LoadedModel) -> str:
    """What `model` is, in the same words; its own name where it is nothing that is published under those."""
    if model.info.family == "stable-diffusion-xl":
        return SD_XL
    return _BY_TEXT_WIDTH.get(model.unet_config.cross_attention_dim, quoted(model.info.name))
