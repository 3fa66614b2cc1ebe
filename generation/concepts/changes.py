"""What a concept's file does to one weight of a network: each kind as a difference to the weight that is there.

Differences are float32 and are taken to the frozen weight, so those of several concepts sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Change(Protocol):
    """One file's change of one weight."""

    def change(self, base: Tensor, weight: float) -> Tensor:
        """What to add to `base` (float32, the frozen weight) where the concept is used with `weight`."""
        ...


class Product(ABC):
    """A change that is the same whatever the weight is, most often a product of smaller tensors."""

    __slots__ = ()

    @abstractmethod
    def difference(self, device: torch.device) -> Tensor:
        """float32; as many numbers as the weight has, in its order."""

    def change(self, base: Tensor, weight: float) -> Tensor:
        return weight * self.difference(base.device).reshape(base.shape)


@dataclass(frozen=True, slots=True, eq=False)
class LoraLayer(Product):
    """Low-rank adaptation of one linear or convolution layer (Hu et al., arXiv 2106.09685).

    Linear: `down` [rank, in], `up` [out, rank]. Convolution: `down` [rank, in, kernel height, kernel width],
    `up` [out, rank, 1, 1]. `scale` is alpha ÷ rank: the weight changes by scale · up @ down. The factors are on the
    CPU in float16, bfloat16 or float32, as the file has them.
    """

    down: Tensor
    up: Tensor
    scale: float

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    def difference(self, device: torch.device) -> Tensor:
        return self.scale * (_float(self.up, device).flatten(1) @ _float(self.down, device).flatten(1))


@dataclass(frozen=True, slots=True, eq=False)
class TuckerLayer(Product):
    """A convolution with a core between the factors: Tucker decomposition, as LyCORIS writes it.

    `down` [rank, in], `mid` [rank, rank, kernel height, kernel width], `up` [out, rank].
    """

    down: Tensor
    mid: Tensor
    up: Tensor
    scale: float

    def difference(self, device: torch.device) -> Tensor:
        down, mid, up = (_float(factor, device) for factor in (self.down, self.mid, self.up))
        return self.scale * torch.einsum("oa,abhw,bi->oihw", up, mid, down)


@dataclass(frozen=True, slots=True, eq=False)
class FactoredMatrix:
    """`first` [rows, rank] @ `second` [rank, columns]; of a convolution with a `core` [rank, rank, height, width]
    between them: `first` [rank, rows], `second` [rank, columns], the result [rows, columns, height, width]."""

    first: Tensor
    second: Tensor
    core: Tensor | None = None

    def product(self, device: torch.device) -> Tensor:
        first, second = _float(self.first, device), _float(self.second, device)
        if self.core is None:
            return first @ second
        return torch.einsum("abhw,ar,bc->rchw", _float(self.core, device), first, second)


@dataclass(frozen=True, slots=True, eq=False)
class KroneckerLayer(Product):
    """LoKr of LyCORIS (Yeh et al., arXiv 2309.14859): scale · first ⊗ second.

    Either may be factored. `first` is [a, b]; `second` is [out ÷ a, in ÷ b] or, of a convolution, also
    [out ÷ a, in ÷ b, kernel height, kernel width].
    """

    first: FactoredMatrix | Tensor
    second: FactoredMatrix | Tensor
    scale: float

    def difference(self, device: torch.device) -> Tensor:
        first, second = (
            (part.product(device) if isinstance(part, FactoredMatrix) else _float(part, device)).contiguous()
            for part in (self.first, self.second)
        )
        return self.scale * torch.kron(first.reshape(*first.shape, *(1,) * (second.dim() - 2)), second)


@dataclass(frozen=True, slots=True, eq=False)
class HadamardLayer(Product):
    """LoHa of LyCORIS, from FedPara (Hyeon-Woo et al., arXiv 2108.06098): scale · first ⊙ second."""

    first: FactoredMatrix
    second: FactoredMatrix
    scale: float

    def difference(self, device: torch.device) -> Tensor:
        return self.scale * (self.first.product(device) * self.second.product(device))


@dataclass(frozen=True, slots=True, eq=False)
class WeightDifference(Product):
    """The difference itself, of the weight's shape."""

    values: Tensor

    def difference(self, device: torch.device) -> Tensor:
        return _float(self.values, device)


@dataclass(frozen=True, slots=True, eq=False)
class RowsDifference:
    """The difference of some rows of a table, most often of the tokens that a training's captions had.

    `rows` [n], whole numbers, each once; `values` [n, width].
    """

    rows: Tensor
    values: Tensor

    def change(self, base: Tensor, weight: float) -> Tensor:
        values = weight * _float(self.values, base.device)
        return torch.zeros_like(base).index_copy(0, self.rows.to(base.device), values)


@dataclass(frozen=True, slots=True, eq=False)
class FullWeight:
    """The trained weight itself: at weight 1 it takes the place of the one that is there."""

    values: Tensor

    def change(self, base: Tensor, weight: float) -> Tensor:
        return weight * (_float(self.values, base.device) - base)


@dataclass(frozen=True, slots=True, eq=False)
class DecomposedLayer:
    """DoRA (Liu et al., arXiv 2402.09353): W' = magnitude · (W + ΔW) ÷ ‖W + ΔW‖.

    `magnitude` has the weight's number of dimensions with ones where the norm goes: [out, 1, …] as the paper's
    implementation and peft have it, or [1, in, 1, …] as older files of LyCORIS do. The concept's weight scales ΔW,
    inside the norm, as in peft.
    """

    direction: Product
    magnitude: Tensor

    def change(self, base: Tensor, weight: float) -> Tensor:
        magnitude = _float(self.magnitude, base.device)
        moved = base + weight * self.direction.difference(base.device).reshape(base.shape)
        axes = [axis for axis, size in enumerate(magnitude.shape) if size == 1 != base.shape[axis]]
        norm = torch.linalg.vector_norm(moved, dim=axes, keepdim=True) if axes else moved.abs()
        return magnitude / norm.clamp_min(torch.finfo(torch.float32).tiny) * moved - base


def _float(values: Tensor, device: torch.device) -> Tensor:
    return values.to(device, torch.float32)
