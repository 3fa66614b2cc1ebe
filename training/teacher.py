"""The model as it was: what class rows of a training are held to, in place of the noise that was added.

Li and Hoiem 2016 (arXiv:1606.09282) keep old abilities by the old network's own answers. Beside prior preservation as
in Ruiz et al. 2022 the goal has no noise of its own: while nothing has moved the loss is 0, and so is its gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from generation.conditioning import Conditioning
from training.networks import TextReader, frozen_copy, run_unet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from generation.model import LoadedModel


class Teacher:
    """New modules around the model's own weights, which nothing here moves. Each caption is encoded once."""

    def __init__(self, model: LoadedModel, width: int, height: int) -> None:
        """`width` and `height` are the training pictures', in pixels."""
        self._model = model
        self._unet = frozen_copy(model.unet, model.device)
        encoders = [frozen_copy(encoder, model.device) for encoder in model.text_encoders]
        self._reader = TextReader(model, encoders, width, height)
        self._known: dict[str, Conditioning] = {}

    @torch.no_grad()
    def predict(self, noisy: Tensor, timesteps: Tensor, captions: Sequence[str]) -> Tensor:
        """The UNet's output, float32 [rows, channels, h, w], for rows with these timesteps and captions [rows]."""
        for caption in captions:
            if caption not in self._known:
                self._known[caption] = self._reader.encode([caption])
        texts = [self._known[caption] for caption in captions]
        added = {name: torch.cat([text.added[name] for text in texts]) for name in texts[0].added}
        conditioning = Conditioning(torch.cat([text.hidden for text in texts]), added)
        return run_unet(self._model, self._unet, noisy, timesteps, conditioning)
