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


@torch.no_grad()
def merged_copies(
    model: LoadedModel, concepts: Sequence[tuple[LoraFile | MergedFile, float]]
) -> tuple[UNet2DConditionModel, tuple[CLIPTextModel | CLIPTextModelWithProjection, ...]]:
    """(UNet, text encoders) of `model` with all `concepts`, each with its weight, in their weights.

    Changes are summed in float32 and the result is cast to the model's dtype, on its device. A network that nothing
    changes is the model's own object, and in a copy so is every parameter that nothing changes.
    """
    changed = tuple(
        _merged(network, [(file.changes()[index], weight) for file, weight in concepts])
        for index, network in enumerate(networks_of(model))
    )
    return changed[0], changed[1:]  # pyright: ignore[reportReturnType]


def _merged(network: Network, concepts: Sequence[tuple[Mapping[str, Change], float]]) -> Network:
    parameters = dict(network.named_parameters())
    names = dict.fromkeys(name for changes, _ in concepts for name in changes)
    if not names:
        return network
    # What deepcopy finds in here it takes for already copied.
    copies: dict[int, nn.Parameter] = {id(parameter): parameter for parameter in parameters.values()}
    for name in names:
        frozen = parameters[name]
        base = frozen.float()
        merged = base.clone()
        for changes, weight in concepts:
            if name in changes:
                merged += changes[name].change(base, weight)
        copies[id(frozen)] = nn.Parameter(merged.to(frozen.dtype), requires_grad=False)
    return copy.deepcopy(network, copies)
