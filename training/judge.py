"""Who looks at pictures of a concept and says how alike two things are: never a part of the model that drew them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import torch
from torch.nn import functional

from training.base_model.evaluator import BACKGROUND_LABELS, EMBEDDING, Evaluator, cut_out, shrink
from training.defaults import SMALL_WIDTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image
    from torch import Tensor

    from generation.model import LoadedModel

WEIGHTS: Final = Path(__file__).parent / "base_model" / "judge.safetensors"


class Judge(Protocol):
    """Looks at any number of pictures, of any sizes."""

    def things(self, images: Sequence[Image.Image]) -> Tensor:
        """What stands in front of the background, `[n, width]`, each of length 1: cosines say how alike two are."""
        ...

    def backgrounds(self, images: Sequence[Image.Image]) -> list[str]:
        """The colours behind, in the words of prompts; something else where it is none."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PictogramJudge:
    """The judge of the bundled model (see `base_model.evaluator`): a small network trained on renders of pictograms.
    It has seen neither the held-out subjects nor anything that a model drew."""

    evaluator: Evaluator

    @torch.no_grad()
    def things(self, images: Sequence[Image.Image]) -> Tensor:
        # On the CPU wherever the model is: a crop each, and a network of under two million weights.
        if not images:
            return torch.zeros(0, EMBEDDING)
        cut = cut_out(_tensors(images))
        return torch.cat([functional.normalize(self.evaluator(part).embedding, dim=-1) for part in cut.split(64)])

    @torch.no_grad()
    def backgrounds(self, images: Sequence[Image.Image]) -> list[str]:
        logits = torch.cat([self.evaluator(part).background for part in _tensors(images).split(64)])
        return [BACKGROUND_LABELS[number] for number in logits.argmax(-1).tolist()]


def judge_for(model: LoadedModel) -> Judge | None:
    """Who can judge this model's pictures; None where nobody here can.

    There is one for pictograms. For photographs that would be another large network, which a card that is just big
    enough for the training has no room for: there the loss has to do.
    """
    defaults = model.info.defaults
    if max(defaults.width, defaults.height) > SMALL_WIDTH or not WEIGHTS.is_file():
        return None
    return PictogramJudge(Evaluator.load(WEIGHTS))


def _tensors(images: Sequence[Image.Image]) -> Tensor:
    """`[n, 3, 64, 64]` in -1..1."""
    parts: list[Tensor] = []
    for image in images:
        pixels = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)
        parts.append(shrink(pixels[None].float() / 127.5 - 1))
    return torch.cat(parts)


def alike(some: Tensor, others: Tensor) -> Tensor:
    """Mean cosine of each of `some` [n, width] to all of `others` [m, width]: `[n]`."""
    return (some @ others.T).mean(-1)
