"""Concept files with random numbers, in the key styles of the trainers that are in use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

Layers = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""By module name: down and up, linear [r, in] and [out, r], convolution [r, in, kh, kw] and [out, r, 1, 1]."""


def all_layers(name: str, module: nn.Module) -> bool:
    return True


def attention_only(name: str, module: nn.Module) -> bool:
    return name.endswith(("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj"))


def linear_only(name: str, module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)


def random_layers(
    network: nn.Module,
    *,
    seed: int,
    rank: int | Callable[[str], int] = 4,
    wanted: Callable[[str, nn.Module], bool] = all_layers,
    size: float = 0.2,
) -> Layers:
    """Factors for every linear and convolution layer that is wanted, drawn from their own generator."""
    generator = torch.Generator().manual_seed(seed)
    layers: Layers = {}
    for name, module in network.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d) or not wanted(name, module):
            continue
        out, into, *kernel = module.weight.shape
        of_this = rank if isinstance(rank, int) else rank(name)
        down = torch.randn(of_this, into, *kernel, generator=generator) * size
        up = torch.randn(out, of_this, *(1,) * len(kernel), generator=generator) * size
        layers[name] = down, up
    return layers


def in_old_transformers(name: str) -> str:
    """CLIPTextModel had its modules below `text_model` until transformers 5, and files still say so."""
    return name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}"


def peft_style(unet: Layers | None = None, *text: Layers) -> dict[str, torch.Tensor]:
    """As diffusers' `save_lora_weights` writes it now."""
    tensors: dict[str, torch.Tensor] = {}
    for name, (down, up) in (unet or {}).items():
        tensors |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    for index, layers in enumerate(text):
        folder = ("text_encoder", "text_encoder_2")[index]
        for name, (down, up) in layers.items():
            stem = f"{folder}.{in_old_transformers(name)}"
            tensors |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
    return tensors


def kohya_style(
    unet: Layers | None = None,
    *text: Layers,
    alpha: float | None = None,
    rename: Callable[[str], str] = lambda name: name,
    encoders: tuple[str, ...] | None = None,
) -> dict[str, torch.Tensor]:
    """As sd-scripts and LyCORIS write it. `rename` spells a UNet module's name; `encoders` are the prefixes."""
    prefixes = encoders or (("lora_te",) if len(text) < 2 else ("lora_te1", "lora_te2"))
    tensors: dict[str, torch.Tensor] = {}
    stems = [(f"lora_unet_{rename(name).replace('.', '_')}", factors) for name, factors in (unet or {}).items()]
    for prefix, layers in zip(prefixes, text, strict=False):
        stems += [(f"{prefix}_{in_old_transformers(name).replace('.', '_')}", pair) for name, pair in layers.items()]
    for stem, (down, up) in stems:
        tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
        if alpha is not None:
            tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    return tensors


def write(
    path: Path, tensors: Mapping[str, torch.Tensor], adapter_metadata: Mapping[str, object] | None = None
) -> Path:
    """Save as safetensors; `adapter_metadata` as diffusers writes peft's settings."""
    metadata = None if adapter_metadata is None else {"lora_adapter_metadata": json.dumps(adapter_metadata)}
    save_file({key: values.contiguous() for key, values in tensors.items()}, path, metadata)
    return path
