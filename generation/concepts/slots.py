"""LoRA slots: concepts of many requests in one forward of one UNet, different ones in each row.

LoRA: Hu et al. 2021, arXiv:2106.09685; many in one batch: S-LoRA, arXiv:2311.03285. The unit of storage is one rank:
a row of every layer's `down` and a column of its `up`. A slot is a run of ranks, unit 0 is zeros, and a row of the
batch uses a list of units, filled up with unit 0. So files of different ranks, and several files in one row, are the
same two matrix products. What else a file may change in a slot, biases and norm layers, is in `row_vectors`.

What the rows use is gathered when the routing changes, not in every forward: a batch keeps its members for many steps
(measured with the bundled model, attention layers: 1.04 of the plain step, against 1.09 with gathering in each).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from generation.concepts.row_layers import reversed_kernel, row_layers
from generation.concepts.row_vectors import VectorSlots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from generation.concepts.files import LoraFile
    from generation.concepts.row_layers import RowLora, RowVector

POSITIONS: Final = 4
"""How many slots a row can use."""
_RANKS: Final = (8, 16, 32, 64, 128, 256, 512)
"""Rows are filled up to one of these sums of ranks: few shapes to compile for."""
_FIRST_UNITS: Final = 65
"""64 ranks and unit 0."""
_GATHERED_BYTES: Final = 1 << 30
_ALIGNED: Final = 16
"""Elements: layers begin where matrix products read fastest."""

_Use = tuple[tuple[int, float], ...]
"""What one row uses: slots and weights."""
_Factors = tuple["Tensor", "Tensor"]


def bytes_per_rank(unet: nn.Module) -> int:
    """Of the banks of a UNet, at most: of a file that changes every layer which can be changed."""
    size = 0
    for module in unet.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            positions = module.weight[0, 0].numel()
            columns = positions * _aligned(module.weight.shape[1]) + _aligned(len(module.weight))
            size += columns * module.weight.element_size()
    return size


def _aligned(width: int) -> int:
    return -(-width // _ALIGNED) * _ALIGNED


@dataclass(frozen=True, slots=True)
class _Loaded:
    units: range
    layers: frozenset[str]


class _Bank:
    """One factor of many layers side by side: `[units, kernel positions, columns]`, each layer a range of columns.

    All layers of a unit are gathered with one call.
    """

    def __init__(self, kernel_positions: int, like: Tensor) -> None:
        self.values = like.new_zeros(0, kernel_positions, 0)
        self.columns: dict[str, slice] = {}
        self._gathered = like.new_empty(0)

    def reserve(self, units: int, widths: Mapping[str, int]) -> None:
        """Room for so many units, and for layers of these widths."""
        held, positions, end = self.values.shape
        for name, width in widths.items():
            if name not in self.columns:
                self.columns[name] = slice(end, end + width)
                end += _aligned(width)
        capacity = max(held, _FIRST_UNITS)
        while capacity < units:
            capacity = 2 * capacity - 1
        if (capacity, end) != (held, self.values.shape[2]):
            grown = self.values.new_zeros(capacity, positions, end)
            grown[:held, :, : self.values.shape[2]] = self.values
            self.values = grown

    def bytes_for(self, units: int) -> int:
        return units * self.values[0].nbytes

    def gather(self, units: Tensor, *, in_place: bool) -> Tensor:
        """`[len(units), kernel positions, columns]`; with `in_place` always at the same address, if it fits there."""
        if not in_place:
            return self.values.index_select(0, units)
        size = len(units) * self.values[0].numel()
        if len(self._gathered) < size:
            self._gathered = self.values.new_empty(size)
        into = self._gathered[:size].view(len(units), *self.values.shape[1:])
        return torch.index_select(self.values, 0, units, out=into)

    def part(self, gathered: Tensor, rows: int, name: str) -> Tensor:
        """One layer's `[rows, ranks · kernel positions, width]` of what was gathered for `rows`."""
        return gathered.view(rows, -1, gathered.shape[2])[:, :, self.columns[name]]


class LoraSlots:
    """`slots` numbered from 1 in a UNet; 0 stands for none. One thread owns it, the one that runs the UNet.

    With `reproducible` a row's numbers do not depend on who its neighbours are: rows are computed one by one, because
    a matrix product's sums depend on the number of ranks, and that on the neighbours' (measured: always). Without
    it they depend on that number alone.

    Rows are computed one by one, too, each with as many ranks as it has, where the batch would gather more than
    `gathered_bytes`: one member's four files of rank 128 must not make everybody's rows as long.
    """

    def __init__(
        self, unet: Any, slots: int = 16, *, gathered_bytes: int = _GATHERED_BYTES, reproducible: bool = False
    ) -> None:
        self.slots = slots
        self._gathered_bytes = gathered_bytes
        self.graph_key: tuple[int, ...] | None = ()
        """What a graph that is compiled or captured for the present routing depends on: () for the plain network,
        else rows, ranks and a number for the set of layers; None for rows one by one, or with vectors of their own,
        which is no case for it."""
        self._layers = row_layers(unet)
        self._reproducible = reproducible
        self._like: Tensor = next(unet.parameters()).new_empty(0)
        self._downs: dict[int, _Bank] = {}
        self._ups = _Bank(1, self._like)
        self._loaded: dict[int, _Loaded] = {}
        self._layer_sets: dict[frozenset[str], int] = {}
        self._routed: tuple[_Use, ...] | None = None
        self._placed: dict[str, tuple[RowLora, ...]] = {}
        self._vectors = VectorSlots(self._layers, self._like)
        self._placed_vectors: dict[str, tuple[RowVector, ...]] = {}
        self._place()

    @torch.no_grad()
    def put(self, slot: int, file: LoraFile) -> None:
        """Load the UNet's part of `file` into `slot`, over what was there.

        Raises:
            ValueError: there is no such slot, or no such layer in this UNet.
        """
        if not 1 <= slot <= self.slots:
            raise ValueError(f"slot must be from 1 to {self.slots}, not {slot}")
        unknown = file.unet.keys() - self._layers.keys()
        if unknown:
            raise ValueError(f"this UNet has no layer {min(unknown)}")
        self.clear(slot)
        factors = {name: (reversed_kernel(layer.down), layer.up) for name, layer in file.unet.items()}
        units = self._free_units(max((layer.rank for layer in file.unet.values()), default=0))
        for positions in {down.shape[1] for down, _ in factors.values()} - self._downs.keys():
            self._downs[positions] = _Bank(positions, self._like)
        for positions, bank in self._downs.items():
            widths = {name: down.shape[2] for name, (down, _) in factors.items() if down.shape[1] == positions}
            bank.reserve(units.stop, widths)
        self._ups.reserve(units.stop, {name: len(up) for name, (_, up) in factors.items()})
        for name, (down, up) in factors.items():
            own = slice(units.start, units.start + len(down))
            bank = self._downs[down.shape[1]]
            bank.values[own, :, bank.columns[name]] = down.to(self._like.device)
            scaled = up.flatten(1).to(self._like.device, torch.float32) * file.unet[name].scale
            self._ups.values[own, 0, self._ups.columns[name]] = scaled.T.to(self._like.dtype)
        self._vectors.put(slot, {name: layer.values for name, layer in file.unet_vectors.items()})
        self._loaded[slot] = _Loaded(units, frozenset(factors))

    def clear(self, slot: int) -> None:
        """Empty a slot, its numbers too. Rows that are routed to it keep theirs until the next `route`."""
        self._vectors.clear(slot)
        loaded = self._loaded.pop(slot, None)
        if (
            loaded is not None
        ):  # so units that no slot has are zeros: a file's layers can have fewer ranks than its slot
            for bank in (*self._downs.values(), self._ups):
                bank.values[loaded.units.start : loaded.units.stop] = 0
        self._routed = None

    @torch.no_grad()
    def route(self, index: Tensor | None, weights: Tensor | None) -> None:
        """Before a forward: which slots its rows use, `[rows, 4]` whole numbers, and how strongly, `[rows, 4]`.

        None for the plain network. Rows of the forward beyond `index` are plain, too. Both are read on the CPU: from
        a tensor on the device that means to wait for it.

        Raises:
            ValueError: a row uses a slot that is empty.
        """
        uses: tuple[_Use, ...] = ()
        if index is not None and weights is not None:
            uses = tuple(
                tuple((slot, weight) for slot, weight in zip(slots, strengths, strict=True) if slot and weight)
                for slots, strengths in zip(index.tolist(), weights.tolist(), strict=True)
            )
        used = {slot for use in uses for slot, _ in use}
        if used - self._loaded.keys():
            raise ValueError(f"slot {min(used - self._loaded.keys())} is empty")
        layers = frozenset[str]().union(*(self._loaded[slot].layers for slot in used))
        if not layers and not self._vectors.uses_any(uses):
            self.graph_key, self._placed, self._placed_vectors, self._routed = (), {}, {}, None
        elif uses != self._routed:
            self._gather(uses, layers)
            self._gather_vectors(uses)
            self._routed = uses
        self._place()

    def _place(self) -> None:
        # Every layer, every time: another engine on the same model may have routed in between. Straight into the
        # dictionary, because Module.__setattr__ would take a thousand times as long as the plain path may.
        for name, layer in self._layers.items():
            layer.__dict__["row_loras"] = self._placed.get(name, ())
            layer.__dict__["row_vectors"] = self._placed_vectors.get(name, ())

    def _gather_vectors(self, uses: Sequence[_Use]) -> None:
        self._placed_vectors = {}
        if self._vectors.uses_any(uses):
            self.graph_key = None
            self._placed_vectors = self._vectors.place(uses, one_by_one=self._reproducible)

    def _gather(self, uses: Sequence[_Use], layers: frozenset[str]) -> None:
        if not layers:
            self._placed = {}
            return
        ranks = max(self._ranks(use) for use in uses)
        rows = 1 << (len(uses) - 1).bit_length()
        size = sum(bank.bytes_for(rows * ranks) for bank in (*self._downs_of(layers), self._ups))
        if self._reproducible or size > self._gathered_bytes:
            self.graph_key = None
            self._placed = self._row_by_row(uses, layers)
            return
        self.graph_key = rows, ranks, self._layer_sets.setdefault(layers, len(self._layer_sets))
        plain: list[_Use] = [()] * (rows - len(uses))
        factors = self._factors([*uses, *plain], ranks, layers, in_place=True)
        self._placed = {name: ((0, down, up),) for name, (down, up) in factors.items()}

    def _row_by_row(self, uses: Sequence[_Use], layers: frozenset[str]) -> dict[str, tuple[RowLora, ...]]:
        gathered: dict[_Use, dict[str, _Factors]] = {}
        for use in set(uses) - {()}:
            touched = frozenset[str]().union(*(self._loaded[slot].layers for slot, _ in use))
            gathered[use] = self._factors([use], self._ranks(use), touched, in_place=False)
        return {
            name: tuple((row, *gathered[use][name]) for row, use in enumerate(uses) if name in gathered.get(use, ()))
            for name in layers
        }

    def _factors(
        self, uses: Sequence[_Use], ranks: int, layers: frozenset[str], *, in_place: bool
    ) -> dict[str, _Factors]:
        """Per layer: down `[rows, ranks · kernel positions, in]`, and up `[rows, ranks, out]` times the weights."""
        units: list[int] = []
        strengths: list[float] = []
        for use in uses:
            own = [(unit, weight) for slot, weight in use for unit in self._loaded[slot].units]
            own += [(0, 0.0)] * (ranks - len(own))
            units += [unit for unit, _ in own]
            strengths += [weight for _, weight in own]
        device, rows = self._like.device, len(uses)
        at = torch.tensor(units, device=device)
        up = self._ups.gather(at, in_place=in_place)
        up *= torch.tensor(strengths, device=device, dtype=up.dtype).view(-1, 1, 1)
        downs = [(bank, bank.gather(at, in_place=in_place)) for bank in self._downs_of(layers)]
        return {
            name: (bank.part(down, rows, name), self._ups.part(up, rows, name))
            for bank, down in downs
            for name in bank.columns
            if name in layers
        }

    def _downs_of(self, layers: frozenset[str]) -> list[_Bank]:
        return [bank for bank in self._downs.values() if not layers.isdisjoint(bank.columns)]

    def _ranks(self, use: _Use) -> int:
        own = sum(len(self._loaded[slot].units) for slot, _ in use)
        return next(ranks for ranks in _RANKS if own <= ranks)

    def _free_units(self, count: int) -> range:
        """The first run of `count` units that no slot has; the banks grow where there is none."""
        start = 1
        for taken in sorted((loaded.units for loaded in self._loaded.values()), key=lambda units: units.start):
            if taken.start - start >= count:
                break
            start = max(start, taken.stop)
        return range(start, start + count)
