"""Convolutions of a frozen network on a CPU, with their weights in oneDNN's own layout.

Eager torch brings a convolution's weights into that layout at every call. Of a small network at few rows that is
a sixth of a step (measured with the bundled model on 2 cores: 20.5 ms at two rows, 17.3 packed; 72 and 65 at
sixteen). It is what torch.compile's generated code calls, too; the numbers agree to float32's rounding.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

_KEY: Final = "packed_weight"
_MOST_BYTES: Final = 1 << 28
"""The packed weights are a second copy. In large networks the arithmetic takes longer than the layout anyway."""


def pack_convolutions(network: nn.Module) -> None:
    """From now on `convolve` uses packed weights of the network's convolutions, where it can and where it pays.

    Nothing happens for another device than a CPU, another type than float32, or a torch without oneDNN. The
    weights must not change afterwards.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and _can_pack(layer)]
    if sum(layer.weight.nbytes for layer in layers) > _MOST_BYTES:
        return
    for layer in layers:
        if _KEY not in layer.__dict__:
            weight = layer.weight.detach()
            arguments = (layer.padding, layer.stride, layer.dilation, layer.groups)
            packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *map(_numbers, arguments))
            layer.__dict__[_KEY] = packed  # no parameter: it is in no state dict and moves nowhere


def convolve(layer: nn.Conv2d, input: torch.Tensor) -> torch.Tensor:
    """`layer(input)`, `[rows, in, h, w]` → `[rows, out, h', w']`."""
    packed = layer.__dict__.get(_KEY)
    if packed is None or torch.is_grad_enabled():
        return nn.Conv2d.forward(layer, input)
    result: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
        input, packed, layer.bias, layer.padding, layer.stride, layer.dilation, layer.groups, "none", [], ""
    )
    return result


def without_packed(state: dict[str, Any]) -> dict[str, Any]:
    """A layer's attributes for a copy of it, whose weights may be others."""
    return {name: value for name, value in state.items() if name != _KEY}


def _can_pack(layer: nn.Conv2d) -> bool:
    weight = layer.weight
    plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str) and not weight.requires_grad
    available = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    return plain and available and weight.device.type == "cpu" and weight.dtype == torch.float32


def _numbers(values: Any) -> Any:
    return list(values) if isinstance(values, tuple) else values
