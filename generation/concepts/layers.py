"""The tensors of a LoRA-like file → what they do to which weight; shapes are checked before numbers are read."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import nn

from generation.concepts.changes import (
    DecomposedLayer,
    FactoredMatrix,
    FullWeight,
    HadamardLayer,
    KroneckerLayer,
    LoraLayer,
    RowsDifference,
    TuckerLayer,
    WeightDifference,
)
from generation.concepts.keys import metadata_prefix, networks_of, spellings, split_key
from generation.concepts.tensor_file import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from generation.concepts.changes import Change, Product
    from generation.concepts.keys import Target
    from generation.concepts.tensor_file import ConceptRefused, TensorFile
    from generation.model import LoadedModel

MAX_RANK: Final = 1024
_MAGNITUDES: Final = ("magnitude", "dora_scale")
_BIAS_ROLES: Final = ("bias_difference", "bias")
_FACTORS: Final = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
_LOHA: Final = (frozenset(_FACTORS), frozenset({*_FACTORS, "hada_t1", "hada_t2"}))
_LOKR: Final = tuple(
    frozenset({*first, *second})
    for first in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
    for second in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"), ("lokr_w2_a", "lokr_w2_b", "lokr_t2"))
)
_IGNORED: Final = "embeddings.position_ids"
"""Counts from 0; older releases of transformers saved it among the weights."""
_METADATA_KEY: Final = "lora_adapter_metadata"
"""Where diffusers writes the settings of peft."""

Roles = dict[str, str]
"""By role the key in the file."""


class Parameter(NamedTuple):
    """A weight or bias of one of the model's networks."""

    network: int
    name: str


def read_changes(tensors: TensorFile, model: LoadedModel) -> dict[Parameter, Change]:
    """Everything in the file as changes of parameters.

    Raises:
        ConceptRefused: a key that fits nothing in this model, half a layer, a wrong shape, NaN.
    """
    layers = _by_module(tensors, model)
    settings = _adapter_settings(tensors)
    networks = networks_of(model)
    changes: dict[Parameter, Change] = {}
    for target, roles in layers.items():
        module = networks[target.network].get_submodule(target.module)
        scale = _Scale(settings, target)
        biases = {role: key for role, key in roles.items() if role in _BIAS_ROLES}
        weights = {role: key for role, key in roles.items() if role not in _BIAS_ROLES}
        for part, wanted in (("weight", weights), ("bias", biases)):
            if not wanted:
                continue
            parameter = getattr(module, part, None)
            if not isinstance(parameter, nn.Parameter):
                raise _unknown(tensors, next(iter(wanted.values())))
            layer = _Layer(tensors, wanted, tuple(parameter.shape), scale)
            name = f"{target.module}.{part}"
            changes[Parameter(target.network, name)] = layer.change(factors=isinstance(module, nn.Linear | nn.Conv2d))
    return changes


def _by_module(tensors: TensorFile, model: LoadedModel) -> dict[Target, Roles]:
    known = spellings(model)
    layers: dict[Target, Roles] = {}
    for key in tensors.shapes:
        if key.endswith(_IGNORED):
            continue
        parts = split_key(key)
        if parts is None or parts[0] not in known:
            raise _unknown(tensors, key)
        roles = layers.setdefault(known[parts[0]], {})
        if parts[1] in roles:
            raise tensors.refuse(f"changes the same layer twice, with {quoted(roles[parts[1]])} and {quoted(key)}")
        roles[parts[1]] = key
    return layers


def _unknown(tensors: TensorFile, key: str) -> ConceptRefused:
    return tensors.refuse(f"has {quoted(key)}, which fits no layer of this model; everything in it must fit")


def _adapter_settings(tensors: TensorFile) -> Mapping[str, Any]:
    try:
        settings = json.loads(tensors.metadata.get(_METADATA_KEY, "{}"))
    except (ValueError, RecursionError) as error:
        raise tensors.refuse(f"has metadata that is no JSON ({_METADATA_KEY})") from error
    if not isinstance(settings, dict):
        raise tensors.refuse(f"has metadata that is no JSON object ({_METADATA_KEY})")
    return settings


@dataclass(frozen=True, slots=True)
class _Scale:
    """What the file's metadata says of one module: alpha and rank in the terms of peft."""

    settings: Mapping[str, Any]
    target: Target

    def alpha(self) -> Any:
        """None if nothing is said."""
        patterns = self._setting("alpha_pattern")
        for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
            if f".{self.target.module}".endswith(f".{pattern.removeprefix('^')}"):
                return value
        alpha = self._setting("lora_alpha")
        return self._setting("alpha") if alpha is None else alpha

    def by_root(self) -> bool:
        """Divide by the rank's square root (rank-stabilized LoRA, arXiv 2312.03732)?"""
        return bool(self._setting("use_rslora"))

    def _setting(self, name: str) -> Any:
        return self.settings.get(f"{metadata_prefix(self.target.network)}.{name}")


@dataclass(frozen=True, slots=True)
class _Layer:
    """What a file has for one weight of `shape`."""

    tensors: TensorFile
    roles: Roles
    shape: tuple[int, ...]
    scale: _Scale

    def change(self, *, factors: bool) -> Change:
        """The change, checked; a product of `factors` only where the layer can have that."""
        self._check_sizes()
        roles = set(self.roles)
        if len(roles) == 1:
            role, key = next(iter(self.roles.items()))
            if role in ("difference", "bias_difference"):
                return WeightDifference(self._whole(key))
            if role in ("weight", "bias"):
                return FullWeight(self._whole(key))
        if roles == {"rows_difference", "row_ids"}:
            return self._rows()
        kinds: tuple[tuple[frozenset[str], Callable[[], Product]], ...] = (
            (frozenset({"down", "up"}), self._lora),
            (frozenset({"down", "up", "mid"}), self._tucker),
            *((needed, self._hadamard) for needed in _LOHA),
            *((needed, self._kronecker) for needed in _LOKR),
        )
        build = dict(kinds).get(frozenset(roles - {"alpha", *_MAGNITUDES}))
        if factors and build is not None:
            return self._with_magnitude(build())
        keys = " and ".join(quoted(key) for key in list(self.roles.values())[:2])
        raise self.tensors.refuse(f"has {keys}, which don't make a whole layer of any known kind")

    def _check_sizes(self) -> None:
        """Nothing may be longer than the layer asks for, so that what is read stays in proportion to the model."""
        longest = max(MAX_RANK, self.shape[0], math.prod(self.shape[1:]))
        for key in self.roles.values():
            shape = self.tensors.shapes[key]
            if len(shape) > 4 or any(not 1 <= size <= longest for size in shape):
                raise self._misfit([key])

    def _misfit(self, keys: list[str]) -> ConceptRefused:
        shapes = " and ".join(f"{quoted(key)} of shape {list(self.tensors.shapes[key])}" for key in keys[:2])
        allowed = f"the layer's weight is {list(self.shape)}, and a rank may be 1 to {MAX_RANK}"
        return self.tensors.refuse(f"has {shapes}, which {'don’t' if len(keys) > 1 else 'doesn’t'} fit: {allowed}")

    def _whole(self, key: str) -> Tensor:
        if _trimmed(self.tensors.shapes[key]) != _trimmed(self.shape):
            raise self._misfit([key])
        return self.tensors.read(key).view(self.shape)

    def _rows(self) -> RowsDifference:
        values, ids = self.roles["rows_difference"], self.roles["row_ids"]
        shape = self.tensors.shapes[values]
        if len(self.shape) != 2 or len(shape) != 2 or shape[1] != self.shape[1]:
            raise self._misfit([values])
        if self.tensors.shapes[ids] != shape[:1]:
            raise self._misfit([values, ids])
        return RowsDifference(self.tensors.read_ids(ids, self.shape[0]), self.tensors.read(values))

    def _lora(self) -> LoraLayer:
        down, up = self.tensors.shapes[self.roles["down"]], self.tensors.shapes[self.roles["up"]]
        rank = down[0] if down else 0
        if _trimmed(down) != _trimmed((rank, *self.shape[1:])) or _trimmed(up) != _trimmed((self.shape[0], rank)):
            raise self._misfit([self.roles["down"], self.roles["up"]])
        if rank > MAX_RANK:
            raise self._misfit([self.roles["down"]])
        return LoraLayer(
            down=self.tensors.read(self.roles["down"]).view(rank, *self.shape[1:]),
            up=self.tensors.read(self.roles["up"]).view(self.shape[0], rank, *(1,) * (len(self.shape) - 2)),
            scale=self._factor(rank),
        )

    def _tucker(self) -> TuckerLayer:
        down, mid, up = (self.roles[role] for role in ("down", "mid", "up"))
        rank = self.tensors.shapes[down][0]
        self._fits(
            lambda read: TuckerLayer(read(down).flatten(1), read(mid), read(up).flatten(1), 1.0), [down, mid, up]
        )
        read = self.tensors.read
        return TuckerLayer(read(down).flatten(1), read(mid), read(up).flatten(1), self._factor(rank))

    def _hadamard(self) -> HadamardLayer:
        def build(read: Callable[[str], Tensor], scale: float = 1.0) -> HadamardLayer:
            first, second = (self._factored(read, f"hada_w{half}", f"hada_t{half}") for half in (1, 2))
            return HadamardLayer(first, second, scale)

        self._fits(build, [key for role, key in self.roles.items() if role.startswith("hada")])
        return build(self.tensors.read, self._factor(self.tensors.shapes[self.roles["hada_w1_b"]][0]))

    def _kronecker(self) -> KroneckerLayer:
        def build(read: Callable[[str], Tensor], scale: float = 1.0) -> KroneckerLayer:
            first, second = (
                read(self.roles[name]) if name in self.roles else self._factored(read, name, "lokr_t2")
                for name in ("lokr_w1", "lokr_w2")
            )
            return KroneckerLayer(first, second, scale)

        self._fits(build, [key for role, key in self.roles.items() if role.startswith("lokr")])
        # The rank is that of a factored part; where both are whole, LyCORIS takes alpha for the rank.
        factored = next((self.roles[role] for role in ("lokr_w2_b", "lokr_w1_b") if role in self.roles), None)
        return build(self.tensors.read, 1.0 if factored is None else self._factor(self.tensors.shapes[factored][0]))

    def _factored(self, read: Callable[[str], Tensor], name: str, core: str) -> FactoredMatrix:
        has_core = core in self.roles and name != "lokr_w1"
        return FactoredMatrix(
            read(self.roles[f"{name}_a"]),
            read(self.roles[f"{name}_b"]),
            read(self.roles[core]) if has_core else None,
        )

    def _fits(self, build: Callable[[Callable[[str], Tensor]], Product], keys: list[str]) -> None:
        """Work the product out with shapes alone: it must be the layer's."""
        meta = torch.device("meta")
        try:
            product = build(lambda key: torch.empty(self.tensors.shapes[key], device=meta)).difference(meta)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            raise self._misfit(keys) from error
        flat = (self.shape[0], math.prod(self.shape[1:]))
        if _trimmed(product.shape) not in (_trimmed(self.shape), _trimmed(flat)):
            raise self._misfit(keys)

    def _with_magnitude(self, direction: Product) -> Change:
        keys = [self.roles[role] for role in _MAGNITUDES if role in self.roles]
        if not keys:
            return direction
        shape, ones = self.tensors.shapes[keys[0]], (1,) * (len(self.shape) - 2)
        outputs, inputs = (self.shape[0], 1, *ones), (1, self.shape[1], *ones)
        # peft keeps [out], and [1, out, 1, 1] for convolutions; LyCORIS [out, 1, …] or, before 2.0, [1, in, …].
        per_output = {(self.shape[0],), outputs}
        if "magnitude" in self.roles:
            per_output.add((1, self.shape[0], *ones))
        if len(keys) > 1 or shape not in {*per_output, inputs}:
            raise self._misfit(keys)
        view = outputs if shape in per_output else inputs
        return DecomposedLayer(direction, self.tensors.read(keys[0]).view(view))

    def _factor(self, rank: int) -> float:
        """Alpha ÷ rank; alpha is the rank unless the file says something."""
        alpha: Any
        if "alpha" in self.roles:
            key = self.roles["alpha"]
            if math.prod(self.tensors.shapes[key]) != 1:
                shape = list(self.tensors.shapes[key])
                raise self.tensors.refuse(f"has {quoted(key)} of shape {shape}; an alpha is one number")
            return float(self.tensors.read(key)) / rank
        alpha = self.scale.alpha()
        if alpha is None:
            return 1.0
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) < 1e6:
            raise self.tensors.refuse(f"has an alpha of {quoted(str(alpha))} in its metadata; a number is allowed")
        return alpha / (math.sqrt(rank) if self.scale.by_root() else rank)


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without the ones of a 1×1 kernel: such a convolution and a linear layer are the same."""
    return shape[:2] if shape[2:] == (1, 1) else tuple(shape)
