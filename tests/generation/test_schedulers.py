from __future__ import annotations

import pytest
import torch

from generation.limits import SCHEDULERS
from generation.model import LoadedModel
from generation.schedulers import (
    build_scheduler,
    corrected_config,
    estimate_original,
    noise_levels,
    scheduler_name,
    select_timesteps,
)


def test_old_configurations_are_corrected_as_the_stock_pipeline_does() -> None:
    corrected = corrected_config({"steps_offset": 0, "clip_sample": True, "x": 1})
    assert corrected == {"steps_offset": 1, "clip_sample": False, "x": 1}
    assert corrected_config({"x": 1}) == {"steps_offset": 1, "clip_sample": False, "x": 1}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_name_builds_and_is_recognised(name: str, tiny_model: LoadedModel) -> None:
    scheduler = build_scheduler(tiny_model.scheduler_config, name)
    assert build_scheduler(tiny_model.scheduler_config, name) is not scheduler
    assert scheduler_name({**scheduler.config, "_class_name": type(scheduler).__name__}) == name


def test_a_scheduler_that_has_no_name_here() -> None:
    assert scheduler_name({"_class_name": "SomeScheduler"}) == "SomeScheduler"


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_estimate_finds_the_original_from_a_perfect_network(
    name: str, prediction_type: str, tiny_model: LoadedModel
) -> None:
    """Noise a known x₀, give the network's perfect answer, and x₀ must come back: for every solver."""
    scheduler = build_scheduler({**tiny_model.scheduler_config, "prediction_type": prediction_type}, name)
    timestep = select_timesteps(scheduler, 10, 0.5, "cpu")[0]
    generator = torch.Generator().manual_seed(0)
    original = torch.randn((1, 4, 8, 8), generator=generator)
    noise = torch.randn((1, 4, 8, 8), generator=generator)
    noised = scheduler.add_noise(original, noise, timestep.reshape(1))
    model_input = scheduler.scale_model_input(noised, timestep)
    alpha_bar = float(scheduler.alphas_cumprod[int(timestep.round())])
    answers = {"epsilon": noise, "v_prediction": alpha_bar**0.5 * noise - (1 - alpha_bar) ** 0.5 * original}
    levels = noise_levels(tiny_model.scheduler_config)
    answer = answers[prediction_type]
    estimate = estimate_original(levels, prediction_type, model_input, answer, float(timestep))
    assert float((estimate - original).abs().max()) < 0.02  # some solvers interpolate between timesteps


def test_the_skipped_part_is_the_first(tiny_model: LoadedModel) -> None:
    whole = select_timesteps(build_scheduler(tiny_model.scheduler_config), 10, None, "cpu")
    part = select_timesteps(build_scheduler(tiny_model.scheduler_config), 10, 0.35, "cpu")
    assert part.tolist() == whole.tolist()[7:]
