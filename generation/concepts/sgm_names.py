"""The original Stable Diffusion code's names for the modules of a diffusers UNet, computed from its blocks.

kohya's trainer for SDXL, and others, name layers as Stability's `sgm` does: `input_blocks.4.1.…` for what is
`down_blocks.1.attentions.0.…` in diffusers. The blocks are numbered as Ho et al.'s UNet (arXiv 2006.11239) runs them.
"""

from __future__ import annotations

from typing import Any, Final

_RESNET: Final = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE: Final = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def sgm_names(unet: Any) -> dict[str, str]:
    """By module name in the diffusers `unet`, the name in the original code; modules that it lacks are left out."""
    blocks = {**_down_blocks(unet), **_middle_block(unet), **_up_blocks(unet)}
    names: dict[str, str] = {}
    for name, _ in unet.named_modules():
        if name in _OUTSIDE:
            names[name] = _OUTSIDE[name]
            continue
        start = next((start for start in blocks if name.startswith(f"{start}.")), None)
        if start is not None:
            rest = name.removeprefix(f"{start}.")
            names[name] = f"{blocks[start]}.{_RESNET.get(rest, rest) if '.resnets.' in start else rest}"
            if start.endswith("downsamplers.0"):
                names[name] = blocks[start]
    return names


def _down_blocks(unet: Any) -> dict[str, str]:
    starts: dict[str, str] = {}
    number = 1
    for index, block in enumerate(unet.down_blocks):
        for layer in range(len(block.resnets)):
            starts[f"down_blocks.{index}.resnets.{layer}"] = f"input_blocks.{number}.0"
            starts[f"down_blocks.{index}.attentions.{layer}"] = f"input_blocks.{number}.1"
            number += 1
        if block.downsamplers is not None:
            starts[f"down_blocks.{index}.downsamplers.0"] = f"input_blocks.{number}.0.op"
            number += 1
    return starts


def _middle_block(unet: Any) -> dict[str, str]:
    """Resnets with an attention between two of them."""
    if unet.mid_block is None:
        return {}
    starts: dict[str, str] = {}
    for layer in range(len(unet.mid_block.resnets)):
        starts[f"mid_block.resnets.{layer}"] = f"middle_block.{2 * layer}"
        starts[f"mid_block.attentions.{layer}"] = f"middle_block.{2 * layer + 1}"
    return starts


def _up_blocks(unet: Any) -> dict[str, str]:
    starts: dict[str, str] = {}
    number = 0
    for index, block in enumerate(unet.up_blocks):
        attentions = hasattr(block, "attentions")
        for layer in range(len(block.resnets)):
            starts[f"up_blocks.{index}.resnets.{layer}"] = f"output_blocks.{number}.0"
            starts[f"up_blocks.{index}.attentions.{layer}"] = f"output_blocks.{number}.1"
            number += 1
        if block.upsamplers is not None:
            starts[f"up_blocks.{index}.upsamplers.0"] = f"output_blocks.{number - 1}.{2 if attentions else 1}"
    return starts
