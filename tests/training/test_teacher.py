"""Class rows held to the model's own predictions, against stock networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from generation.model import LoadedModel
from tests.training.small_training import order, settings, tiny
from training.dataset import Latents
from training.methods import learner_for
from training.optimization import Optimization
from training.order import Method
from training.teacher import Teacher

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
CAPTIONS = ["a photo of an apple", "", "a photo of an apple"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    return tiny(folder)


def pictures(model: LoadedModel, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, model.unet_config.in_channels, *model.latent_size, generator=generator)


def latents(values: Tensor) -> Latents:
    """Without spread, and the same mirrored."""
    both = torch.stack([values, values], 1)
    return Latents(both, torch.zeros_like(both))


def test_it_says_what_the_stock_networks_say(model: LoadedModel, folder: Path) -> None:
    noisy, timesteps = pictures(model), torch.tensor([0, 400, 999])
    said = Teacher(model, 64, 64).predict(noisy, timesteps, CAPTIONS)

    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").to(torch.float32)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").to(torch.float32)
    length = text_encoder.config.max_position_embeddings
    ids = tokenizer(CAPTIONS, padding="max_length", max_length=length, return_tensors="pt").input_ids
    with torch.no_grad():
        wanted = unet(noisy, timesteps, encoder_hidden_states=text_encoder(ids)[0]).sample
    torch.testing.assert_close(said, wanted, rtol=1e-4, atol=1e-5)
    assert (said[0] - said[2]).abs().max() > 1e-3


def test_before_anything_has_moved_only_photos_have_a_gradient(model: LoadedModel) -> None:
    learner = learner_for(model, order(Method.LORA), settings())
    photos, of_class = latents(pictures(model)), latents(pictures(model, 5))

    def gradients(**values: object) -> list[Tensor]:
        prior = of_class if values.get("prior_images") else None
        steps = Optimization(model, learner, order(), settings(**values), photos, None, prior)
        rows = steps._draw(torch.Generator().manual_seed(1))
        steps._add_gradient(rows)
        parameters = [parameter for group in learner.groups() for parameter in group.parameters]
        found = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            parameter.grad = None
        return found

    alone = gradients()
    held = gradients(prior_images=5, prior_from_model=True, unconditional_prior=0.5)
    noise = gradients(prior_images=5)
    assert max(float(gradient.abs().max()) for gradient in alone) > 1e-6
    for one, other in zip(alone, held, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-8)
    assert any(not torch.allclose(one, other, rtol=1e-2) for one, other in zip(alone, noise, strict=True))
