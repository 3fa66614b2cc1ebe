"""Sizes of the networks, and the noise schedule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import generation
from training.base_model.autoencoder import build_autoencoder
from training.base_model.configs import CONFIGS, SMALL, Config
from training.base_model.networks import TextToLatents, build_noise_schedule

BUNDLED = Path(generation.__file__).parent / "bundled"
BYTES_PER_PARAMETER, MOST_BYTES, OTHER_FILES = 2, 24_000_000, 300_000


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_model_fits_into_24_megabytes(config: Config) -> None:
    with torch.device("meta"):
        parts = (TextToLatents(config), build_autoencoder(config))
    parameters = sum(value.numel() for part in parts for value in part.parameters())
    assert parameters * BYTES_PER_PARAMETER + OTHER_FILES <= MOST_BYTES


def test_small_goes_on_from_the_bundled_model() -> None:
    torch.manual_seed(0)
    networks = TextToLatents(SMALL)
    before = networks.unet.conv_in.weight.clone()
    networks.load_folder(BUNDLED)
    assert not torch.equal(networks.unet.conv_in.weight, before)
    assert networks.unet.conv_in.weight.dtype == torch.float32


def test_words_reach_the_prediction(tiny: Config) -> None:
    torch.manual_seed(0)
    networks = TextToLatents(tiny).eval()
    noisy, timesteps = torch.randn(1, 4, 8, 8).expand(2, -1, -1, -1), torch.tensor([500, 500])
    token_ids = torch.full((2, 32), 4095)
    token_ids[:, 0], token_ids[1, 1] = 4094, 300
    with torch.no_grad():
        predicted = networks(noisy, timesteps, token_ids)
    assert predicted.shape == (2, 4, 8, 8)
    assert not torch.allclose(predicted[0], predicted[1], atol=1e-4)


def test_hardly_any_signal_is_left_at_the_last_step() -> None:
    schedule = build_noise_schedule()
    assert schedule.config["prediction_type"] == "v_prediction"
    assert schedule.alphas_cumprod[-1].sqrt() < 0.01
    assert not schedule.config["clip_sample"]
