"""LoRAs of text encoders, acting for one encoding, against diffusers and peft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from generation.concepts.files import LoraFile, read_concept
from generation.concepts.text import TextConcepts
from generation.model import LoadedModel
from tests.generation.concepts.writing import attention_only, kohya_style, peft_style, random_layers, write

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Already found a `peft_config`.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(params=["tiny_model", "tiny_xl_model"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return request.getfixturevalue(request.param)


def hidden_states(text_encoders: tuple[Any, ...]) -> list[torch.Tensor]:
    ids = torch.arange(16).view(1, 16)
    with torch.no_grad():
        return [state for encoder in text_encoders for state in encoder(ids, output_hidden_states=True)[:2]]


def test_weighted_loras_are_as_in_diffusers(model: LoadedModel, tmp_path: Path) -> None:
    """Two files; in one every linear layer, with alpha, in the other attention alone."""

    def layers(seed: int, **options: Any) -> list[Any]:
        networks = model.text_encoders
        return [random_layers(encoder, seed=seed + k, **options) for k, encoder in enumerate(networks)]

    unet = random_layers(model.unet, seed=9, rank=2, wanted=attention_only)
    first = kohya_style(unet, *layers(1, rank=3), alpha=1.5) if len(model.text_encoders) == 1 else None
    paths = [
        write(tmp_path / "first.safetensors", first or peft_style(unet, *layers(1, rank=3))),
        write(tmp_path / "second.safetensors", peft_style(unet, *layers(5, rank=5, wanted=attention_only))),
    ]
    files = [read_concept(path, model) for path in paths]
    assert all(isinstance(file, LoraFile) for file in files)
    weights = 0.8, -0.6
    loras = tuple((weight, file.text_encoders) for weight, file in zip(weights, files, strict=True))
    concepts = TextConcepts("key", {}, {}, model.text_encoders, loras)
    plain = hidden_states(model.text_encoders)

    kind: Any = StableDiffusionPipeline if len(model.text_encoders) == 1 else StableDiffusionXLPipeline
    pipeline = kind.from_pretrained(model.info.source, use_safetensors=True).to(torch.float32)
    for path in paths:
        pipeline.load_lora_weights(str(path), adapter_name=path.stem)
    pipeline.set_adapters([path.stem for path in paths], list(weights))
    encoders = pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)
    expected = hidden_states(tuple(encoder for encoder in encoders if encoder is not None))

    with concepts.encoders() as acting:
        ours = hidden_states(acting)
    for state, theirs, without in zip(ours, expected, plain, strict=True):
        assert float((state - theirs).abs().max() / theirs.abs().max()) <= 1e-5
        assert float((without - theirs).abs().max() / theirs.abs().max()) > 1e-2
    for state, without in zip(hidden_states(model.text_encoders), plain, strict=True):
        assert torch.equal(state, without)


def test_an_error_leaves_nothing_behind(model: LoadedModel, tmp_path: Path) -> None:
    layers = [random_layers(encoder, seed=1) for encoder in model.text_encoders]
    file = read_concept(write(tmp_path / "lora.safetensors", peft_style(None, *layers)), model)
    assert isinstance(file, LoraFile)
    concepts = TextConcepts("key", {}, {}, model.text_encoders, ((1.0, file.text_encoders),))
    plain = hidden_states(model.text_encoders)
    with pytest.raises(RuntimeError, match="in between"), concepts.encoders():
        raise RuntimeError("in between")
    for state, without in zip(hidden_states(model.text_encoders), plain, strict=True):
        assert torch.equal(state, without)
