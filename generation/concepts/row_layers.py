"""Linear and convolution layers to which every row of a batch may add a low-rank change of its own.

Row r gets y + up_r · (down_r · x_r): two batched matrix products per layer, whoever the rows belong to. A layer
changes its class and nothing else: names, parameters, state dict and `isinstance` stay what they were, torch.compile
traces the method like any other (forward hooks and adapters would be called around it), and a deep copy, as a merged
lane makes one, is of the plain class again.

A convolution's down part is computed as one matrix product of all kernel positions, whose results are then shifted
and summed ("kn2row", Vasudevan et al. 2017, arXiv:1704.04428). A grouped convolution does the same, but its groups of
8 output channels use the machine badly (measured on one CPU thread with the bundled model: a step with convolutions
costs 1.27 of the plain step this way and 1.40 that way), and it would need the rows' channels side by side, a copy
of the whole input where that is channels_last.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from generation.packed import convolve, without_packed

RowLora = tuple[int, Tensor, Tensor]
"""The first row that it is for; down `[rows, ranks · kernel positions, in]`; up `[rows, ranks, out]`, with scales.

The kernel positions of a convolution run backwards, see `reversed_kernel`."""


class _RowLayer(nn.Module):
    plain_class: ClassVar[type[nn.Module]]
    row_loras: tuple[RowLora, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Module:
        plain = self.plain_class.__new__(self.plain_class)
        memo[id(self)] = plain
        kept = {name: value for name, value in without_packed(self.__dict__).items() if name != "row_loras"}
        plain.__dict__.update(copy.deepcopy(kept, memo))
        return plain


class RowLinear(_RowLayer, nn.Linear):
    plain_class = nn.Linear

    def forward(self, input: Tensor) -> Tensor:
        """`[rows, …, in]` → `[rows, …, out]`. Adds in place: not for training."""
        output = nn.Linear.forward(self, input)
        for first, down, up in self.row_loras:
            rows = min(len(input) - first, len(down))
            x = input[first : first + rows].reshape(rows, -1, self.in_features)
            y = output[first : first + rows].view(rows, -1, self.out_features)
            y.baddbmm_(torch.bmm(x, down[:rows].mT), up[:rows])
        return output


class RowConv2d(_RowLayer, nn.Conv2d):
    plain_class = nn.Conv2d

    def forward(self, input: Tensor) -> Tensor:
        """`[rows, in, h, w]` → `[rows, out, h', w']`. Adds in place: not for training."""
        output = convolve(self, input)
        for first, down, up in self.row_loras:
            rows = min(len(input) - first, len(down))
            change = self._down(input[first : first + rows], down[:rows])
            y = output[first : first + rows].view(rows, self.out_channels, -1)
            # Whichever way round the output lies: otherwise the product is taken row by row.
            if y.is_contiguous():
                y.baddbmm_(up[:rows].mT, change)
            else:
                y.mT.baddbmm_(change.mT, up[:rows])
        return output

    def _down(self, x: Tensor, down: Tensor) -> Tensor:
        """The convolution with `down`: `[rows, in, h, w]` → `[rows, ranks, h' · w']`."""
        (kernel_h, kernel_w), (stride_h, stride_w) = self.kernel_size, self.stride
        pad_h, pad_w = (int(side) for side in self.padding)
        change = torch.bmm(down, x.flatten(2))
        if kernel_h * kernel_w == 1 and stride_h * stride_w == 1:
            return change
        # As with stride 1, then thinned out: only the few downsamplers have another.
        size = x.shape[2] + 2 * pad_h - kernel_h + 1, x.shape[3] + 2 * pad_w - kernel_w + 1
        border = kernel_h - 1 - pad_h, kernel_w - 1 - pad_w
        change = functional.fold(change, size, (kernel_h, kernel_w), padding=border)
        return change[:, :, ::stride_h, ::stride_w].flatten(2)


def row_layers(network: nn.Module) -> dict[str, RowLinear | RowConv2d]:
    """All linear and convolution layers of `network` by name, which from now on take changes by row."""
    layers: dict[str, RowLinear | RowConv2d] = {}
    for name, module in network.named_modules():
        if type(module) is nn.Linear:
            module.__class__ = RowLinear
        elif type(module) is nn.Conv2d:
            module.__class__ = RowConv2d
        if isinstance(module, RowLinear | RowConv2d):
            layers[name] = module
    return layers


def reversed_kernel(down: Tensor) -> Tensor:
    """`[ranks, in, (kh, kw)]` as in a file → `[ranks, kernel positions, in]`, last position first.

    Input x at place q goes to place p = q − k + padding by position k; folding puts position k' of place q at
    p = q + k' − border, so k' counts from the other end.
    """
    if down.ndim == 2:
        return down.unsqueeze(1)
    return down.flip(2, 3).permute(0, 2, 3, 1).flatten(1, 2)
