"""Networks with concepts merged into their weights, for what can't share a batch."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from generation.concepts.keys import networks_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    from generation.concepts.changes import Change
    from generation.concepts.files import LoraFile, MergedFile
    from generation.model import LoadedModel

Network = TypeVar("Network", bound=nn.Module)


class Merging:
    """Makes copies of a model's networks, in any thread.

    To be made in the engine's thread, while no hooks are on the networks and what is offloaded is at home: it keeps
    modules of its own around the weights as they are then. Hooks, routing, and visits to the card that happen to the
    model later are not seen from here.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._own = tuple(_around_the_weights(network, None) for network in networks_of(model))

    @torch.no_grad()
    def merged_copies(
        self, concepts: Sequence[tuple[LoraFile | MergedFile, float]]
    ) -> tuple[UNet2DConditionModel, tuple[CLIPTextModel | CLIPTextModelWithProjection, ...]]:
        """(UNet, text encoders) with all `concepts`, each with its weight, in their weights.

        Changes are summed in float32 and the result is cast to the model's dtype. A network that nothing changes is
        the model's own object. A copy is on the model's device all the time, even if the model's own network is
        offloaded; unless that is so, it shares the weights that nothing changes.
        """
        changed = tuple(
            self._merged(network, own, [(file.changes()[index], weight) for file, weight in concepts])
            for index, (network, own) in enumerate(zip(networks_of(self._model), self._own, strict=True))
        )
        return changed[0], changed[1:]  # pyright: ignore[reportReturnType]

    def _merged(
        self, network: Network, own: Network, concepts: Sequence[tuple[Mapping[str, Change], float]]
    ) -> Network:
        parameters = dict(own.named_parameters())
        names = dict.fromkeys(name for changes, _ in concepts for name in changes)
        if not names:
            return network
        device = self._model.device
        merged: dict[int, torch.Tensor] = {}
        for name in names:
            frozen = parameters[name]
            base = frozen.float()
            total = base.clone()
            for changes, weight in concepts:
                if name in changes:
                    total += changes[name].change(base, weight)
            merged[id(frozen)] = total.to(device, frozen.dtype)
        return _around_the_weights(own, device, merged)


def _around_the_weights(
    network: Network, device: torch.device | None, instead: Mapping[int, torch.Tensor] | None = None
) -> Network:
    """New modules around the same weights, or copies on `device` of those that are elsewhere.

    `instead` has weights to take in the place of others, by these others' `id`.
    """
    # What deepcopy finds in here it takes for already copied.
    taken: dict[int, torch.Tensor] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        values = (instead or {}).get(id(tensor), tensor.detach()).to(device)
        is_weight = isinstance(tensor, nn.Parameter)
        taken[id(tensor)] = nn.Parameter(values, requires_grad=False) if is_weight else values
    return copy.deepcopy(network, taken)
