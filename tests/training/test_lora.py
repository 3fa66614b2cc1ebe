from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import nn

from generation.concepts.files import LoraFile, read_concept
from generation.concepts.slots import LoraSlots
from generation.model import LoadedModel, load_model
from tests.training.small_training import order, settings, tiny
from training.defaults import LoraLayers
from training.lora import Lora

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("sd", "xl")}
    for name, folder in folders.items():
        tiny(folder, xl=name == "xl")
    return folders


@pytest.fixture(params=["sd", "xl"])
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture
def model(folder: Path) -> LoadedModel:
    return load_model(str(folder), device="cpu")


def shaken(model: LoadedModel, **values: Any) -> Lora:
    """Adapters that do something."""
    learner = Lora(model, order(), settings(**values))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for group in learner.groups():
            for parameter in group.parameters:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return learner


def inputs(model: LoadedModel) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (2, model.unet_config.in_channels, *model.latent_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)), torch.tensor([10, 900])


@pytest.mark.parametrize("layers", [LoraLayers.ATTENTION, LoraLayers.ALL])
def test_diffusers_reads_its_file_and_computes_the_same(
    folder: Path, model: LoadedModel, tmp_path: Path, layers: LoraLayers
) -> None:
    learner = shaken(model, layers=layers, text_rank=2)
    learner.save(tmp_path / "ball.safetensors")
    kind: Any = StableDiffusionXLPipeline if len(model.text_encoders) == 2 else StableDiffusionPipeline
    pipeline = kind.from_pretrained(folder)
    pipeline.load_lora_weights(tmp_path, weight_name="ball.safetensors")
    noisy, timesteps = inputs(model)
    caption = learner.instance_caption("a photo of {}")
    with torch.no_grad():
        conditioning = learner.encode([caption, caption])
        ours = learner.predict(noisy, timesteps, conditioning)
        told = {"encoder_hidden_states": conditioning.hidden, "added_cond_kwargs": conditioning.added or None}
        theirs = pipeline.unet(noisy, timesteps, **told).sample
        encoded = pipeline.encode_prompt(
            caption, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(conditioning.hidden[:1], encoded[0], atol=1e-5, rtol=1e-4)
    plain = model.unet(noisy, timesteps, **told).sample
    assert (plain - ours).abs().max() > 0.01


def test_its_file_goes_into_a_slot_and_computes_the_same(model: LoadedModel, tmp_path: Path) -> None:
    learner = shaken(model, text_rank=0)
    learner.save(tmp_path / "ball.safetensors")
    file = read_concept(tmp_path / "ball.safetensors", model)
    assert isinstance(file, LoraFile)
    assert file.rank == 2
    noisy, timesteps = inputs(model)
    with torch.no_grad():
        conditioning = learner.encode(["a", "the"])
        ours = learner.predict(noisy, timesteps, conditioning)
        slots = LoraSlots(model.unet)
        slots.put(1, file)
        slots.route(torch.tensor([[1, 0, 0, 0]] * 2), torch.tensor([[1.0, 0, 0, 0]] * 2))
        told = {"encoder_hidden_states": conditioning.hidden, "added_cond_kwargs": conditioning.added or None}
        theirs = model.unet(noisy, timesteps, **told).sample
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_the_layers_that_are_asked_for(model: LoadedModel) -> None:
    kinds = {LoraLayers.LINEAR: (nn.Linear,), LoraLayers.ALL: (nn.Linear, nn.Conv2d)}
    for layers, kind in kinds.items():
        layers_of_kind = (name for name, module in model.unet.named_modules() if isinstance(module, kind))
        wanted = {name for name in layers_of_kind if not name.startswith("add_embedding.")}
        (group,) = Lora(model, order(), settings(layers=layers)).groups()
        assert {name.removeprefix("0.").rpartition(".")[0] for name in group.names} == wanted
    (group,) = Lora(model, order(), settings(layers=LoraLayers.ATTENTION)).groups()
    blocks = sum(type(module).__name__ == "BasicTransformerBlock" for module in model.unet.modules())
    assert len(group.names) == blocks * 2 * 4 * 2  # two attentions, q k v out, down and up


def test_adapters_are_float32_beside_a_base_in_half(folder: Path) -> None:
    model = load_model(str(folder), device="cpu", dtype="bfloat16")
    learner = Lora(model, order(), settings(text_rank=2))
    noisy, timesteps = inputs(model)
    conditioning = learner.encode(["a", "the"])
    learner.predict(noisy, timesteps, conditioning).square().mean().backward()
    for group in learner.groups():
        for name, parameter in zip(group.names, group.parameters, strict=True):
            assert parameter.dtype == torch.float32
            if name.startswith("0."):  # `up` is zeros, so no gradient gets to `down`
                assert parameter.grad is not None
                assert bool(parameter.grad.any()) == name.endswith(".up")
