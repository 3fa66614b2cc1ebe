"""Linear and convolution layers to which every row of a batch may add a low-rank change of its own, and norm layers
with parameters by row.

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
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from generation.packed import convolve, without_packed

RowLora = tuple[int, Tensor, Tensor]
"""The first row that it is for; down `[rows, ranks · kernel positions, in]`; up `[rows, ranks, out]`, with scales.

The kernel positions of a convolution run backwards, see `reversed_kernel`."""
RowVector = tuple[int, Tensor | None, Tensor | None]
"""The first row that it is for; of a norm layer these rows' weights and biases, `[rows, channels]`; of any other
layer None and what is added to its bias, `[rows, out]`."""


_ROUTED: Final = ("row_loras", "row_vectors")


class _RowLayer(nn.Module):
    plain_class: ClassVar[type[nn.Module]]
    row_loras: tuple[RowLora, ...] = ()
    row_vectors: tuple[RowVector, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Module:
        plain = self.plain_class.__new__(self.plain_class)
        memo[id(self)] = plain
        kept = {name: value for name, value in without_packed(self.__dict__).items() if name not in _ROUTED}
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
        for first, _, bias in self.row_vectors:
            if bias is not None:
                y = output[first : first + len(bias)]
                y += bias[: len(y)].view(len(y), *(1,) * (y.ndim - 2), self.out_features)
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
        for first, _, bias in self.row_vectors:
            if bias is not None:
                y = output[first : first + len(bias)]
                y += bias[: len(y), :, None, None]
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


class RowGroupNorm(_RowLayer, nn.GroupNorm):
    plain_class = nn.GroupNorm

    def forward(self, input: Tensor) -> Tensor:
        """`[rows, channels, …]`, of the same shape. Writes in place: not for training."""
        output = nn.GroupNorm.forward(self, input)
        for first, weight, bias in self.row_vectors:
            part = input[first : first + _length(weight)]
            normed = functional.group_norm(part, self.num_groups, None, None, self.eps)
            shape = (len(part), self.num_channels, *(1,) * (input.ndim - 2))
            output[first : first + len(part)] = _affine(normed, weight, bias, shape)
        return output


class RowLayerNorm(_RowLayer, nn.LayerNorm):
    plain_class = nn.LayerNorm

    def forward(self, input: Tensor) -> Tensor:
        """`[rows, …, channels]`, of the same shape. Writes in place: not for training."""
        output = nn.LayerNorm.forward(self, input)
        for first, weight, bias in self.row_vectors:
            part = input[first : first + _length(weight)]
            normed = functional.layer_norm(part, self.normalized_shape, None, None, self.eps)
            shape = (len(part), *(1,) * (input.ndim - 2), self.normalized_shape[0])
            output[first : first + len(part)] = _affine(normed, weight, bias, shape)
        return output


RowModule = RowLinear | RowConv2d | RowGroupNorm | RowLayerNorm
_BY_CLASS: Final[dict[type[nn.Module], type[RowModule]]] = {
    kind.plain_class: kind for kind in (RowLinear, RowConv2d, RowGroupNorm, RowLayerNorm)
}


def row_layers(network: nn.Module) -> dict[str, RowModule]:
    """All layers of `network` by name which from now on take changes by row: linear, convolution, and norm layers."""
    layers: dict[str, RowModule] = {}
    for name, module in network.named_modules():
        if type(module) in _BY_CLASS and has_vectors(module):
            module.__class__ = _BY_CLASS[type(module)]
        if isinstance(module, RowModule):
            layers[name] = module
    return layers


def has_vectors(module: nn.Module) -> bool:
    """Can rows have biases of their own here, or, of a norm layer, weights and biases?"""
    if isinstance(module, nn.GroupNorm):
        return module.affine
    if isinstance(module, nn.LayerNorm):
        return len(module.normalized_shape) == 1 and len(list(module.parameters())) == 2
    return isinstance(module, nn.Linear | nn.Conv2d)


def _length(weight: Tensor | None) -> int:
    return 0 if weight is None else len(weight)


def _affine(normed: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """Rows beyond the forward's own are left out."""
    assert weight is not None
    assert bias is not None
    return torch.addcmul(bias[: shape[0]].view(shape), normed, weight[: shape[0]].view(shape))


def reversed_kernel(down: Tensor) -> Tensor:
    """`[ranks, in, (kh, kw)]` as in a file → `[ranks, kernel positions, in]`, last position first.

    Input x at place q goes to place p = q − k + padding by position k; folding puts position k' of place q at
    p = q + k' − border, so k' counts from the other end.
    """
    if down.ndim == 2:
        return down.unsqueeze(1)
    return down.flip(2, 3).permute(0, 2, 3, 1).flatten(1, 2)
