"""Low-rank adapters on frozen layers, for gradients (Hu et al. 2021, arXiv:2106.09685).

A layer changes its class and gets two more parameters; names and weights stay. The adapters are float32 whatever the
base is: in bfloat16 a step of 1e-4 leaves nine of ten entries where they were.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.defaults import LoraLayers

if TYPE_CHECKING:
    from collections.abc import Callable

_UNNAMED: Final = "add_embedding."
"""Layers of Stable Diffusion XL for which kohya's format has no name that diffusers would read."""
_ATTENTION: Final = re.compile(r".*\.(to_q|to_k|to_v|to_out\.0|q_proj|k_proj|v_proj|out_proj)")


class AdaptedLinear(nn.Linear):
    lora_down: nn.Parameter
    """[rank, in]"""
    lora_up: nn.Parameter
    """[out, rank]"""

    def forward(self, input: Tensor) -> Tensor:
        low = functional.linear(input, self.lora_down.to(_compute_type(input)))
        return functional.linear(input, self.weight, self.bias) + functional.linear(low, self.lora_up.to(low.dtype))


class AdaptedConv2d(nn.Conv2d):
    lora_down: nn.Parameter
    """[rank, in, kernel height, kernel width]"""
    lora_up: nn.Parameter
    """[out, rank, 1, 1]"""

    def forward(self, input: Tensor) -> Tensor:
        low = functional.conv2d(
            input, self.lora_down.to(_compute_type(input)), None, self.stride, self.padding, self.dilation
        )
        output = functional.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation)
        return output + functional.conv2d(low, self.lora_up.to(low.dtype))


Adapted = AdaptedLinear | AdaptedConv2d


def _compute_type(input: Tensor) -> torch.dtype:
    """Under autocast it casts by itself; a plain half-precision forward (of the evaluation) needs it said."""
    return torch.float32 if torch.is_autocast_enabled(input.device.type) else input.dtype


def adapt(
    network: nn.Module, rank: int, wanted: Callable[[str, nn.Module], bool], generator: torch.Generator
) -> dict[str, Adapted]:
    """Adapters on the wanted layers of a frozen network, by module name. They begin as no change at all: `up` is
    zeros, `down` is uniform in ±1/√inputs."""
    adapted: dict[str, Adapted] = {}
    for name, module in network.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d) or not wanted(name, module):
            continue
        layer: Any = module
        out, *into = layer.weight.shape
        bound = layer.weight[0].numel() ** -0.5
        down = (torch.rand(rank, *into, generator=generator) * 2 - 1) * bound
        up = torch.zeros(out, rank, *(1,) * (len(into) - 1))
        layer.__class__ = AdaptedLinear if isinstance(module, nn.Linear) else AdaptedConv2d
        layer.lora_down = nn.Parameter(down.to(layer.weight.device))
        layer.lora_up = nn.Parameter(up.to(layer.weight.device))
        adapted[name] = layer
    return adapted


def is_wanted(layers: LoraLayers) -> Callable[[str, nn.Module], bool]:
    """Which of a UNet's layers get adapters."""

    def wanted(name: str, module: nn.Module) -> bool:
        if name.startswith(_UNNAMED):
            return False
        if layers is LoraLayers.ATTENTION:
            return _ATTENTION.fullmatch(name) is not None
        return layers is LoraLayers.ALL or isinstance(module, nn.Linear)

    return wanted
