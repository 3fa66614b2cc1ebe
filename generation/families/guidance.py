"""Guidance as an input of the UNet, for models that were distilled to need one row instead of two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


def guidance_embedding(guidance_scales: Sequence[float], width: int) -> torch.Tensor:
    """The UNet's `timestep_cond`, `[rows, width]` float32: sines and cosines of guidance − 1.

    Latent consistency models (Luo et al., arXiv 2310.04378, section 4.1) in the form that diffusers'
    `StableDiffusionPipeline.get_guidance_scale_embedding` gives it.
    """
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(10_000) / (half - 1)))
    scales = torch.tensor(guidance_scales, dtype=torch.float32) - 1
    angles = 1000 * scales[:, None] * frequencies[None, :]
    embedding = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(embedding, (0, width % 2))
