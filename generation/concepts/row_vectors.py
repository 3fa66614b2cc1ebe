"""One-dimensional parameters by row: biases, and the weights of norm layers, in which the files of DreamBooth differ.

A slot's differences are one flat float32 vector over all such parameters of the network (0.44 million numbers in
Stable Diffusion 1.5), and so is what a row ends up with: the network's own plus the weighted differences. They are
taken together when the routing changes, not in every forward.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from generation.concepts.row_layers import RowModule, RowVector

    Use = tuple[tuple[int, float], ...]


class VectorSlots:
    """Differences by slot, for the row layers of one network. Nothing is allocated before the first `put`."""

    def __init__(self, layers: Mapping[str, RowModule], like: Tensor) -> None:
        """`like` has the network's device and dtype."""
        self._layers, self._like = layers, like
        self._columns: dict[str, slice] = {}
        """By parameter name, its place in the flat vectors."""
        self._own = like.new_empty(0)
        """What the differences are added to, `[columns]`: the norm layers' parameters; zeros for the other layers'
        biases, to which a row's change is added behind the layer."""
        self._differences: dict[int, Tensor] = {}
        self._touched: dict[int, frozenset[str]] = {}

    def put(self, slot: int, vectors: Mapping[str, Tensor]) -> None:
        """Differences `[n]` by parameter name, each in the place of what was in the slot.

        Raises:
            ValueError: there is no such parameter.
        """
        self.clear(slot)
        if not vectors:
            return
        self._lay_out()
        unknown = vectors.keys() - self._columns.keys()
        if unknown:
            raise ValueError(f"this UNet has no {min(unknown)} of one dimension")
        flat = torch.zeros_like(self._own)
        for name, values in vectors.items():
            flat[self._columns[name]] = values.to(flat)
        self._differences[slot] = flat
        self._touched[slot] = frozenset(name.rpartition(".")[0] for name in vectors)

    def clear(self, slot: int) -> None:
        self._differences.pop(slot, None)
        self._touched.pop(slot, None)

    def uses_any(self, uses: Sequence[Use]) -> bool:
        return any(slot in self._differences for use in uses for slot, _ in use)

    def place(self, uses: Sequence[Use], *, one_by_one: bool) -> dict[str, tuple[RowVector, ...]]:
        """For each layer that any row changes, what its rows have; neighbours together unless `one_by_one`.

        `uses` are slots and weights by row.
        """
        own = [tuple((slot, weight) for slot, weight in use if slot in self._differences) for use in uses]
        placed: dict[str, tuple[RowVector, ...]] = {}
        for changed, group in groupby(range(len(own)), key=lambda row: bool(own[row])):
            rows = list(group)
            for run in [[row] for row in rows] if one_by_one else [rows]:
                for name, vector in self._run(run[0], [own[row] for row in run]).items() if changed else ():
                    placed[name] = (*placed.get(name, ()), vector)
        return placed

    def _run(self, first: int, uses: Sequence[Use]) -> dict[str, RowVector]:
        """Of neighbours that all have changes."""
        values = torch.stack([self._summed(use) for use in uses]).to(self._like.dtype)
        touched = frozenset[str]().union(*(self._touched[slot] for use in uses for slot, _ in use))

        def part(name: str) -> Tensor | None:
            return values[:, self._columns[name]] if name in self._columns else None

        return {name: (first, part(f"{name}.weight"), part(f"{name}.bias")) for name in touched}

    def _summed(self, use: Use) -> Tensor:
        # One after another: a product of matrices would sum in an order that depends on the neighbours.
        total = self._own.clone()
        for slot, weight in use:
            total.add_(self._differences[slot], alpha=weight)
        return total

    def _lay_out(self) -> None:
        if self._columns:
            return
        own: list[Tensor] = []
        end = 0
        for layer_name, layer in self._layers.items():
            for name, parameter in layer.named_parameters(recurse=False):
                if parameter.ndim == 1:
                    self._columns[f"{layer_name}.{name}"] = slice(end, end + len(parameter))
                    end += len(parameter)
                    is_norm = isinstance(layer, nn.GroupNorm | nn.LayerNorm)
                    own.append(parameter.detach().float() if is_norm else torch.zeros_like(parameter).float())
        self._own = torch.cat(own)
