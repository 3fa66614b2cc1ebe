"""Against diffusers' own formulas."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.training_utils import compute_snr

from training.losses import noised, row_losses, snr_weights, target


@pytest.fixture
def scheduler() -> DDIMScheduler:
    return DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)


TIMESTEPS = torch.tensor([0, 300, 999])
LATENTS, NOISE = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def test_noise_and_targets_are_those_of_diffusers(scheduler: DDIMScheduler) -> None:
    levels = scheduler.alphas_cumprod[TIMESTEPS]
    torch.testing.assert_close(noised(LATENTS, NOISE, levels), scheduler.add_noise(LATENTS, NOISE, TIMESTEPS))
    velocity = scheduler.get_velocity(LATENTS, NOISE, TIMESTEPS)
    torch.testing.assert_close(target("v_prediction", LATENTS, NOISE, levels), velocity)
    assert target("epsilon", LATENTS, NOISE, levels) is NOISE
    assert target("sample", LATENTS, NOISE, levels) is LATENTS
    with pytest.raises(ValueError, match="flow"):
        target("flow", LATENTS, NOISE, levels)


def test_min_snr_weights(scheduler: DDIMScheduler) -> None:
    levels, snr = scheduler.alphas_cumprod[TIMESTEPS], compute_snr(scheduler, TIMESTEPS)
    clipped = torch.minimum(snr, torch.tensor(5.0))  # as diffusers' train_text_to_image.py has it
    torch.testing.assert_close(snr_weights("epsilon", levels, 5.0), clipped / snr, rtol=1e-4, atol=0)
    torch.testing.assert_close(snr_weights("v_prediction", levels, 5.0), clipped / (snr + 1), rtol=1e-4, atol=0)
    torch.testing.assert_close(snr_weights("sample", levels, 5.0), clipped, rtol=1e-4, atol=0)
    assert snr_weights("epsilon", levels, None).tolist() == [1, 1, 1]
    assert torch.isfinite(snr_weights("epsilon", torch.tensor([0.0, 1.0]), 5.0)).all()


def test_each_row_has_its_own_loss() -> None:
    wanted = torch.zeros(2, 1, 2, 2)
    predicted = torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 4]]).view(2, 1, 2, 2)
    assert row_losses(predicted, wanted).tolist() == [1, 4]
