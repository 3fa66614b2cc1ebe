"""LoRA: float32 adapters beside the frozen weights, bound to a rare word before the class word (Hu et al. 2021,
arXiv:2106.09685). The practical default: small files, quick, and many of them share one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from generation.concepts.keys import kohya_name
from training.adapters import adapt, is_wanted
from training.chance import generator_of
from training.defaults import LoraLayers
from training.learner import ParameterGroup
from training.networks import TextReader, frozen_copy, frozen_unet, run_unet
from training.rare_tokens import rare_token
from training.tensors import write_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from generation.conditioning import Conditioning
    from generation.model import LoadedModel
    from training.adapters import Adapted
    from training.defaults import TrainingSettings
    from training.order import TrainingOrder


class Lora:
    """Adapters of `settings.rank` on the UNet's `settings.layers`, and of `settings.text_rank` on the text encoders'
    linear layers."""

    def __init__(self, model: LoadedModel, order: TrainingOrder, settings: TrainingSettings) -> None:
        self._model, self._settings = model, settings
        self.trigger = f"{rare_token(model.tokenizers[0], order.job)} {order.class_word}"
        self.trains_text = settings.text_rank > 0
        generator = generator_of(order.job, "adapters")
        width, height = settings.picture_size(model.info)
        self._unet = frozen_unet(model, settings.forward_rows, width, height)
        encoders = [frozen_copy(encoder, model.device) for encoder in model.text_encoders]
        self._networks = [adapt(self._unet, settings.rank, is_wanted(settings.layers), generator)]
        """Adapted layers by name: of the UNet, and then of each text encoder."""
        if self.trains_text:
            linear = is_wanted(LoraLayers.LINEAR)
            self._networks += [adapt(encoder, settings.text_rank, linear, generator) for encoder in encoders]
        self._reader = TextReader(model, encoders, width, height)

    def groups(self) -> list[ParameterGroup]:
        rates = [self._settings.learning_rate, *[self._settings.text_learning_rate] * len(self._model.text_encoders)]
        groups: list[ParameterGroup] = []
        for index, (layers, rate) in enumerate(zip(self._networks, rates, strict=False)):
            named = _parameters(index, layers)
            decay = self._settings.weight_decay
            groups.append(ParameterGroup(list(named), list(named.values()), rate, decay))
        return groups

    def encode(self, captions: Sequence[str]) -> Conditioning:
        return self._reader.encode(captions)

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return run_unet(self._model, self._unet, noisy, timesteps, conditioning)

    def instance_caption(self, template: str) -> str:
        return template.format(self.trigger)

    def after_step(self) -> None:
        pass

    def state(self) -> dict[str, Tensor]:
        return {name: values.detach() for name, values in self._all_parameters().items()}

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        for name, values in self._all_parameters().items():
            values.copy_(tensors[name])

    def save(self, path: Path) -> None:
        """With kohya's names, which diffusers and the other programs read; alpha is the rank, so the scale is 1."""
        tensors: dict[str, Tensor] = {}
        kind = self._model.dtype
        for index, layers in enumerate(self._networks):
            for name, layer in layers.items():
                key = kohya_name(index, name, encoders=len(self._model.text_encoders))
                tensors[f"{key}.lora_down.weight"] = layer.lora_down.to(kind)
                tensors[f"{key}.lora_up.weight"] = layer.lora_up.to(kind)
                tensors[f"{key}.alpha"] = torch.tensor(float(len(layer.lora_down)))
        write_tensors(path, tensors)

    def _all_parameters(self) -> dict[str, nn.Parameter]:
        return {
            name: value
            for index, layers in enumerate(self._networks)
            for name, value in _parameters(index, layers).items()
        }


def _parameters(network: int, layers: Mapping[str, Adapted]) -> dict[str, nn.Parameter]:
    named: dict[str, nn.Parameter] = {}
    for name, layer in layers.items():
        named[f"{network}.{name}.down"] = layer.lora_down
        named[f"{network}.{name}.up"] = layer.lora_up
    return named
