from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import generation
from generation.request import ModelDefaults, ModelInfo
from training.base_model.captions import PHRASES
from training.defaults import ordered_settings, settings_for
from training.order import Depicts, Method, TrainingOrder


def info(side: int) -> ModelInfo:
    defaults = ModelDefaults(width=side, height=side)
    return ModelInfo(
        name="m",
        source="m",
        family="stable-diffusion",
        hash="0",
        defaults=defaults,
        prediction_type="epsilon",
        parameters=1,
        scheduler="ddim",
    )


def order(method: Method, **values: Any) -> TrainingOrder:
    return TrainingOrder(job="j", method=method, name="n", class_word="dog", **values)


def test_stable_diffusion_has_the_designs_table() -> None:
    inversion, lora, dreambooth = (settings_for(info(512), method) for method in Method)
    assert (inversion.learning_rate, inversion.max_steps, inversion.batch_size, inversion.vectors) == (
        2e-3,
        1500,
        4,
        2,
    )
    assert (lora.learning_rate, lora.max_steps, lora.batch_size, lora.rank) == (1e-4, 500, 1, 8)
    assert (lora.prior_images, lora.prior_loss_weight) == (100, 1)
    assert (dreambooth.learning_rate, dreambooth.text_learning_rate, dreambooth.max_steps) == (2e-6, 1e-6, 400)
    assert (dreambooth.prior_images, dreambooth.prior_loss_weight) == (200, 1)


def test_the_bundled_model_has_a_row_of_its_own() -> None:
    assert (Path(generation.__file__).parent / "bundled/atelier.json").is_file()
    for method in Method:
        small = settings_for(info(64), method)
        assert small != settings_for(info(512), method)
        # Captions in words that the model was trained with.
        known = {phrase.replace("{a}", "{}").replace("{bare}", "{}") for phrase in PHRASES}
        assert set(small.templates) <= known


def test_an_order_goes_before_the_table() -> None:
    settings = settings_for(info(512), Method.LORA)
    assert ordered_settings(settings, order(Method.LORA)) == settings
    few = ordered_settings(settings, order(Method.LORA, max_steps=7))
    assert (few.max_steps, few.min_steps) == (7, 7)
    assert ordered_settings(settings, order(Method.LORA, max_steps=10**6)) == settings
    assert ordered_settings(settings, order(Method.LORA, prior_preservation=False)).prior_images == 0
    inversion = settings_for(info(512), Method.TEXTUAL_INVERSION)
    assert ordered_settings(inversion, order(Method.TEXTUAL_INVERSION, prior_preservation=True)).prior_images > 0


@pytest.mark.parametrize(("depicts", "steps"), [(Depicts.THING, 400), (Depicts.SELF, 800), (Depicts.ADULT, 800)])
def test_faces_take_dreambooth_longer(depicts: Depicts, steps: int) -> None:
    settings = settings_for(info(512), Method.DREAMBOOTH)
    assert ordered_settings(settings, order(Method.DREAMBOOTH, depicts=depicts)).max_steps == steps
    lora = settings_for(info(512), Method.LORA)
    assert ordered_settings(lora, order(Method.LORA, depicts=depicts)).max_steps == lora.max_steps
