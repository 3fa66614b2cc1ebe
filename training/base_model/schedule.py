"""What changes over a run that is given minutes, not steps: the learning rate and the averaged weights."""

from __future__ import annotations

import math

import torch
from torch import nn

EMA_DECAY = 0.999
WARM_UP_STEPS = 200


def learning_rate_share(elapsed_share: float, step: int, floor: float = 0.08) -> float:
    """Share (0..1) of the peak learning rate: linear warm-up by steps, cosine by elapsed time.

    ``elapsed_share`` is the part of the time budget that has gone by; past 1 the rate stays at ``floor``.
    """
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, elapsed_share))))
    return warm_up * (floor + (1 - floor) * cosine)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int) -> None:
    """Move the averaged weights towards the model's; the decay grows with the steps, so the start is forgotten."""
    decay = min(EMA_DECAY, (1 + step) / (10 + step))
    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
