"""Textual inversion: a new word, and nothing else moves (Gal et al. 2022, arXiv:2208.01618).

The new rows are parameters of their own, put in at the output of the token embedding: optimizing them costs nothing
beside the forward (the whole table, restored after each step, takes a hundred times as long at the size of Stable
Diffusion's). A model with two text encoders gets rows for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from training.learner import ParameterGroup
from training.networks import TextReader, frozen_copy, frozen_unet, run_unet
from training.tensors import write_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from generation.conditioning import Conditioning
    from generation.model import LoadedModel
    from training.defaults import TrainingSettings
    from training.order import TrainingOrder

_TWO_ENCODERS = ("clip_l", "clip_g")
"""Names in a file for a model with two text encoders, as diffusers' script writes it."""


class TextualInversion:
    """`settings.vectors` rows for each text encoder, which start as the class word's embedding."""

    trains_text = True
    trigger = ""

    def __init__(self, model: LoadedModel, order: TrainingOrder, settings: TrainingSettings) -> None:
        self._model, self._name, self._learning_rate = model, order.name, settings.learning_rate
        width, height = settings.picture_size(model.info)
        self._unet = frozen_unet(model, settings.forward_rows, width, height)
        encoders = [frozen_copy(encoder, model.device) for encoder in model.text_encoders]
        self._reader = TextReader(model, encoders, width, height)
        self.rows: list[nn.Parameter] = []
        """Per text encoder [vectors, width], float32."""
        self._longest: list[Tensor] = []
        for encoder, tokenizer in zip(encoders, model.tokenizers, strict=True):
            embedding: Any = encoder.get_input_embeddings()
            table: Tensor = embedding.weight.detach().float()
            self._longest.append(table.norm(dim=1).median() * settings.norm_limit)
            start = _start(table, tokenizer, order.class_word, settings.vectors)
            self.rows.append(nn.Parameter(start.to(model.device)))
        self.after_step()

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup([f"rows.{index}" for index in range(len(self.rows))], self.rows, self._learning_rate)]

    def encode(self, captions: Sequence[str]) -> Conditioning:
        return self._reader.encode(captions, {self._name: self.rows})

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        return run_unet(self._model, self._unet, noisy, timesteps, conditioning)

    def instance_caption(self, template: str) -> str:
        return template.format(f"<{self._name}>")

    @torch.no_grad()
    def after_step(self) -> None:
        """No row longer than words are: longer ones drown the rest of the prompt."""
        for rows, longest in zip(self.rows, self._longest, strict=True):
            rows.mul_((longest / rows.norm(dim=1, keepdim=True).clamp(min=1e-8)).clamp(max=1.0))

    def state(self) -> dict[str, Tensor]:
        return {f"rows.{index}": rows.detach() for index, rows in enumerate(self.rows)}

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        for index, rows in enumerate(self.rows):
            rows.copy_(tensors[f"rows.{index}"])

    def save(self, path: Path) -> None:
        """As `learned_embeds.safetensors` of diffusers: {"<name>": [vectors, width]}; with two encoders `clip_l` and
        `clip_g`."""
        names = (f"<{self._name}>",) if len(self.rows) == 1 else _TWO_ENCODERS
        write_tensors(path, dict(zip(names, self.rows, strict=True)))


def _start(table: Tensor, tokenizer: Any, class_word: str, vectors: int) -> Tensor:
    """`[vectors, width]`: the embeddings of the class word's tokens, over and over."""
    ids: list[int] = tokenizer(class_word, add_special_tokens=False)["input_ids"]
    return table[[ids[index % len(ids)] for index in range(vectors)]].clone()
