"""Noise, targets and weights of the diffusion loss: pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def noised(latents: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """x_t = √ᾱ·x₀ + √(1 − ᾱ)·ε for rows [rows, c, h, w] with `alphas_cumprod` [rows] (arXiv:2006.11239, eq. 4)."""
    signal, spread = _levels(alphas_cumprod)
    return signal * latents + spread * noise


def target(prediction_type: str, latents: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """What the network should say, [rows, c, h, w]: the noise, the velocity (arXiv:2202.00512, section 4), or x₀.

    Raises:
        ValueError: none of `epsilon`, `v_prediction`, `sample`.
    """
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "sample":
        return latents
    if prediction_type == "v_prediction":
        signal, spread = _levels(alphas_cumprod)
        return signal * noise - spread * latents
    raise ValueError(f"prediction_type must be epsilon, v_prediction or sample, not {prediction_type}")


def snr_weights(prediction_type: str, alphas_cumprod: Tensor, gamma: float | None) -> Tensor:
    """How much each row's loss counts, [rows]: min(SNR, γ) in terms of x₀ (Hang et al. 2023, arXiv:2303.09556).

    The loss of ε is that of x₀ ÷ SNR, and of v that of x₀ ÷ (SNR + 1); without `gamma` all are 1.
    """
    if gamma is None:
        return torch.ones_like(alphas_cumprod)
    snr = alphas_cumprod / (1 - alphas_cumprod).clamp(min=1e-8)
    clipped = snr.clamp(max=gamma)
    if prediction_type == "epsilon":
        return clipped / snr.clamp(min=1e-8)
    return clipped / (snr + 1) if prediction_type == "v_prediction" else clipped


def row_losses(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of each row, [rows]."""
    return (predicted - wanted).square().flatten(1).mean(1)


def _levels(alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
    share = alphas_cumprod.view(-1, 1, 1, 1)
    return share.sqrt(), (1 - share).sqrt()
