"""The names in a LoRA file → modules of the networks, in every style that is in use.

A key is a module's name and a role: `unet.mid_block.attentions.0.proj_in` and `.lora_A.weight` (diffusers and peft),
`lora_unet_mid_block_attentions_0_proj_in` and `.lora_down.weight` (kohya), `lora_unet_middle_block_1_proj_in` (kohya
with the original code's names). kohya's underscores can't be undone, so the real modules' names are spelled in every
style and looked up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from generation.concepts.sgm_names import sgm_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from generation.model import LoadedModel

_ROLES: Final = {
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    ".lora_mid.weight": "mid",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
    ".diff": "difference",
    ".diff_rows": "rows_difference",
    ".diff_row_ids": "row_ids",
    ".w_norm": "difference",
    ".diff_b": "bias_difference",
    ".b_norm": "bias_difference",
    **{
        f".{role}": role
        for role in (
            *("alpha", "dora_scale", "weight", "bias"),
            *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
            *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
        )
    },
}
"""By the end of a key, what its tensor is."""
_LONGEST_FIRST: Final = sorted(_ROLES, key=len, reverse=True)
_ATTENTION: Final = re.compile(r"(.*\.attn\d)\.(to_[qkv]|to_out(?=\.0$))(\.0)?")
_SELF_ATTENTION: Final = re.compile(r"(.*\.self_attn)\.(q|k|v|out)_proj")


class Target(NamedTuple):
    """A module of one of the model's networks."""

    network: int
    """0 is the UNet, 1 the first text encoder, 2 the second."""
    module: str


def split_key(key: str) -> tuple[str, str] | None:
    """(name of the module as the file spells it, role); None if the end of the key is not a role."""
    end = next((end for end in _LONGEST_FIRST if key.endswith(end)), None)
    return None if end is None else (key.removesuffix(end), _ROLES[end])


def networks_of(model: LoadedModel) -> tuple[nn.Module, ...]:
    """The UNet, then the text encoders: as `Target.network` counts."""
    return (model.unet, *model.text_encoders)


def spellings(model: LoadedModel) -> dict[str, Target]:
    """Every spelling of every module of the UNet and the text encoders."""
    found: dict[str, Target] = {}
    originals = sgm_names(model.unet)
    for name, _ in model.unet.named_modules():
        for spelling in _unet_spellings(name, originals.get(name)):
            found.setdefault(spelling, Target(0, name))
    for index, encoder in enumerate(model.text_encoders):
        for name, _ in encoder.named_modules():
            for spelling in _encoder_spellings(name, index):
                found.setdefault(spelling, Target(index + 1, name))
    return found


def kohya_name(network: int, module: str, *, encoders: int) -> str:
    """How we write a module's name: as kohya's trainers do, which diffusers and the other programs read.

    `lora_unet_…`, `lora_te_…`, or `lora_te1_…` and `lora_te2_…` where the model has two text `encoders`.
    """
    if network == 0:
        return f"lora_unet_{module.replace('.', '_')}"
    # transformers 5 has dropped `text_model.` from its modules; the files keep it.
    full = module if module.startswith(("text_model.", "text_projection")) else f"text_model.{module}"
    return f"lora_te{network if encoders > 1 else ''}_{full.replace('.', '_')}"


def metadata_prefix(network: int) -> str:
    """What diffusers writes before a network's settings in `lora_adapter_metadata`."""
    return "unet" if network == 0 else _folder(network - 1)


def _folder(encoder: int) -> str:
    return "text_encoder" if encoder == 0 else f"text_encoder_{encoder + 1}"


def _unet_spellings(name: str, original: str | None) -> Iterator[str]:
    yield from (f"unet.{name}", name, f"base_model.model.{name}", f"lora_unet_{name.replace('.', '_')}")
    if original is not None:
        yield f"lora_unet_{original.replace('.', '_')}"
    attention = _ATTENTION.fullmatch(name)
    if attention is not None:  # diffusers before peft: ….attn1.processor.to_out_lora.down.weight
        yield from (f"{prefix}{attention[1]}.processor.{attention[2]}" for prefix in ("unet.", ""))


def _encoder_spellings(name: str, index: int) -> Iterator[str]:
    folder, kohya = _folder(index), (f"lora_te{index + 1}_", *(("lora_te_",) if index == 0 else ()))
    # transformers 5 has dropped `text_model.` from CLIPTextModel; the files keep it.
    for full in {name, f"text_model.{name}"}:
        yield f"{folder}.{full}"
        yield from (f"{prefix}{full.replace('.', '_')}" for prefix in kohya)
        attention = _SELF_ATTENTION.fullmatch(full)
        if attention is not None:  # diffusers before peft: ….self_attn.to_q_lora.down.weight
            yield f"{folder}.{attention[1]}.to_{attention[2]}"
