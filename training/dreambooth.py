"""DreamBooth: every weight of the UNet and the text encoder, bound to a rare word that exists already, held to the
class by pictures of it (Ruiz et al. 2022, arXiv:2208.12242).

The weights that move are a float32 copy of this training's own: the model that everybody draws with stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from training.events import TrainingRefused
from training.learner import ParameterGroup
from training.memory import choose_checkpointing
from training.networks import TextReader, private_copy, run_unet
from training.rare_tokens import rare_token
from training.stored_form import stored_form
from training.tensors import write_tensors

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from torch import Tensor

    from generation.conditioning import Conditioning
    from generation.model import LoadedModel
    from training.defaults import TrainingSettings
    from training.order import TrainingOrder


class DreamBooth:
    """All of a model with one text encoder. Its file is the stored form (see `stored_form`)."""

    trains_text = True

    def __init__(self, model: LoadedModel, order: TrainingOrder, settings: TrainingSettings) -> None:
        """
        Raises:
            TrainingRefused: not enough memory, or not a model that it can train.
        """
        width, height = settings.picture_size(model.info)
        checkpointing = check(model, settings)
        self._model, self._settings = model, settings
        self.trigger = f"{rare_token(model.tokenizers[0], order.job)} {order.class_word}"
        self._unet: Any = private_copy(model.unet, model.device)
        if checkpointing:
            self._unet.enable_gradient_checkpointing()
        self._text_encoder: Any = private_copy(model.text_encoders[0], model.device)
        self._reader = TextReader(model, [self._text_encoder], width, height)

    def groups(self) -> list[ParameterGroup]:
        """Weight decay pulls to zero. Parameters of one dimension and embeddings have none: the rows of tokens that
        no caption has would move."""
        settings = self._settings
        rates = {"unet": settings.learning_rate, "text_encoder": settings.text_learning_rate}
        parts: dict[tuple[str, bool], dict[str, nn.Parameter]] = {
            (network, decays): {} for network in rates for decays in (True, False)
        }
        embeddings = _embeddings(self._text_encoder)
        for name, parameter in self._named_parameters().items():
            network = name.partition(".")[0]
            parts[network, parameter.ndim > 1 and name not in embeddings][name] = parameter
        return [
            ParameterGroup(
                list(named), list(named.values()), rates[network], settings.weight_decay if decays else 0.0
            )
            for (network, decays), named in parts.items()
        ]

    def encode(self, captions: Sequence[str]) -> Conditioning:
        return self._reader.encode(captions)

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return run_unet(self._model, self._unet, noisy, timesteps, conditioning)

    def instance_caption(self, template: str) -> str:
        return template.format(self.trigger)

    def after_step(self) -> None:
        pass

    def state(self) -> dict[str, Tensor]:
        return {name: parameter.detach() for name, parameter in self._named_parameters().items()}

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self._named_parameters().items():
            parameter.copy_(tensors[name])

    def save(self, path: Path) -> Generator[None, None, None]:
        """The stored form; yields after each weight."""
        trained = (self._unet, self._text_encoder)
        base = (self._model.unet, *self._model.text_encoders)
        write_tensors(path, (yield from stored_form(base, trained)))

    def save_full_weights(self, path: Path) -> None:
        """All weights, as the model's own are: for a lane of its own."""
        # Files keep the `text_model.` that transformers 5 has dropped; ours is read either way.
        kind = self._model.dtype
        write_tensors(path, {name: parameter.to(kind) for name, parameter in self.state().items()})

    def _named_parameters(self) -> dict[str, nn.Parameter]:
        networks = {"unet": self._unet, "text_encoder": self._text_encoder}
        return {
            f"{network}.{name}": parameter
            for network, module in networks.items()
            for name, parameter in module.named_parameters()
        }


def check(model: LoadedModel, settings: TrainingSettings) -> bool:
    """Can it be trained here? True: if activations are computed again on the way back (see `memory`).

    Raises:
        TrainingRefused: a sentence for the member.
    """
    if len(model.text_encoders) != 1:
        raise TrainingRefused(
            "DreamBooth is for models with one text encoder; this one has two. Train a LoRA instead."
        )
    return choose_checkpointing(model, settings.forward_rows, *settings.picture_size(model.info))


def _embeddings(text_encoder: nn.Module) -> set[str]:
    return {
        f"text_encoder.{name}.weight"
        for name, module in text_encoder.named_modules()
        if isinstance(module, nn.Embedding)
    }
