"""Files as DreamBooth is stored, in the shared batch, against stock pipelines with just that in their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from generation.concepts.files import ConceptRefused, LoraFile, MergedFile, read_concept
from generation.concepts.slots import LoraSlots
from generation.model import LoadedModel, load_model
from generation.request import ConceptUse, ImageRequest
from tests.generation.concepts.test_slots import inputs, routing
from tests.generation.concepts.writing import (
    attention_only,
    in_old_transformers,
    kohya_style,
    peft_style,
    random_layers,
    write,
)
from tests.generation.stock import PIPELINES, Evaluations, assert_same, stock, theirs, together

Deltas = dict[str, torch.Tensor]
"""By parameter name."""


@dataclass(frozen=True)
class Stored:
    """A file, and what it does to each of the networks, said in another way."""

    path: Path
    deltas: tuple[Deltas, ...]
    """Of the UNet, then of each text encoder."""


def stem_of(model: LoadedModel, network: int, module: str) -> str:
    if network == 0:
        return f"lora_unet_{module.replace('.', '_')}"
    prefix = "lora_te" if len(model.text_encoders) == 1 else f"lora_te{network}"
    return f"{prefix}_{in_old_transformers(module).replace('.', '_')}"


def vectors_of(network: nn.Module, generator: torch.Generator) -> Deltas:
    """Every parameter of one dimension, moved by a tenth."""
    return {
        name: 0.1 * torch.randn(parameter.shape, generator=generator)
        for name, parameter in network.named_parameters()
        if parameter.ndim == 1
    }


def store(path: Path, model: LoadedModel, seed: int, *, rank: int = 3) -> Stored:
    """Low-rank changes of all matrices (none for rank 0), everything of one dimension, embeddings of two words."""
    generator = torch.Generator().manual_seed(seed)
    networks = (model.unet, *model.text_encoders)
    tensors: dict[str, torch.Tensor] = {}
    deltas = [vectors_of(network, generator) for network in networks]
    for index, (network, own) in enumerate(zip(networks, deltas, strict=True)):
        for name, values in own.items():
            module, _, part = name.rpartition(".")
            of_norm = isinstance(network.get_submodule(module), nn.GroupNorm | nn.LayerNorm)
            role = {"weight": "w_norm", "bias": "b_norm" if of_norm else "diff_b"}[part]
            tensors[f"{stem_of(model, index, module)}.{role}"] = values
    if rank:
        layers = [random_layers(network, seed=seed + k, rank=rank, size=0.1) for k, network in enumerate(networks)]
        if len(networks) > 2:  # under kohya's names this layer is not below `text_model`
            layers = [{k: v for k, v in each.items() if k != "text_projection"} for each in layers]
        tensors |= kohya_style(*layers)
        for own, factors in zip(deltas, layers, strict=True):
            own |= {f"{name}.weight": (up.flatten(1) @ down.flatten(1)) for name, (down, up) in factors.items()}
    for index, (tokenizer, encoder) in enumerate(zip(model.tokenizers, model.text_encoders, strict=True), 1):
        ids = torch.tensor(tokenizer("fox apple", add_special_tokens=False)["input_ids"])
        (embeddings,) = (name for name, _ in encoder.named_modules() if name.endswith("embeddings"))
        table = torch.zeros_like(encoder.get_input_embeddings().weight)
        table[ids] = torch.randn(2, table.shape[1], generator=generator)
        places = 0.1 * torch.randn(
            encoder.get_parameter(f"{embeddings}.position_embedding.weight").shape, generator=generator
        )
        stem = stem_of(model, index, f"{embeddings}.token_embedding")
        tensors |= {f"{stem}.diff_rows": table[ids], f"{stem}.diff_row_ids": ids}
        tensors[f"{stem_of(model, index, f'{embeddings}.position_embedding')}.diff"] = places
        deltas[index] |= {
            f"{embeddings}.token_embedding.weight": table,
            f"{embeddings}.position_embedding.weight": places,
        }
    return Stored(write(path, tensors), tuple(deltas))


@pytest.fixture(scope="module", params=["tiny_model", "tiny_xl_model"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def stored(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stored]:
    folder = tmp_path_factory.mktemp("stored")
    return {
        "whole": store(folder / "whole.safetensors", model, 1),
        "other": store(folder / "other.safetensors", model, 20, rank=6),
        "vectors": store(folder / "vectors.safetensors", model, 40, rank=0),
        "lora": _lora(folder / "lora.safetensors", model),
    }


def _lora(path: Path, model: LoadedModel) -> Stored:
    layers = random_layers(model.unet, seed=60, rank=2, wanted=attention_only)
    delta = {f"{name}.weight": up.flatten(1) @ down.flatten(1) for name, (down, up) in layers.items()}
    return Stored(write(path, peft_style(layers)), (delta, *({} for _ in model.text_encoders)))


def request(stored: Mapping[str, Stored], weights: Mapping[str, float], **changes: object) -> ImageRequest:
    concepts = [ConceptUse(name=name, path=str(stored[name].path), weight=w) for name, w in weights.items()]
    usual = {"prompt": "a red apple", "negative_prompt": "fox", "seed": 7, "num_inference_steps": 4}
    return ImageRequest(**{**usual, **changes}, concepts=concepts)


def with_changed_weights(model: LoadedModel, asked: ImageRequest, stored: Mapping[str, Stored]) -> torch.Tensor:
    """A stock pipeline of its own, to whose weights the differences are added."""
    kind = PIPELINES[model.info.family, False]
    options: dict[str, Any] = {} if "XL" in kind.__name__ else {"requires_safety_checker": False}
    pipeline = kind.from_pretrained(model.info.source, use_safetensors=True, **options)
    pipeline.set_progress_bar_config(disable=True)
    if asked.scheduler is not None:
        pipeline.scheduler = stock(kind, Path(model.info.source), asked.scheduler).scheduler
    networks = [pipeline.unet, pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)]
    with torch.no_grad():
        for concept in asked.concepts:
            for network, deltas in zip(networks, stored[concept.name].deltas, strict=False):
                for name, delta in deltas.items():
                    parameter = network.get_parameter(name)
                    parameter += concept.weight * delta.view_as(parameter)
    return theirs(pipeline, asked)[0]


def requests_for(stored: Mapping[str, Stored]) -> dict[str, ImageRequest]:
    return {
        "plain": request(stored, {}, scheduler="ddim"),
        "whole": request(stored, {"whole": 1.0}, count=2),
        "vectors": request(stored, {"vectors": 1.0}, seed=9),
        "lora": request(stored, {"lora": 0.7}),
        "two": request(stored, {"whole": 0.6, "other": -0.4}, scheduler="dpmpp_2m"),
        "mixed": request(stored, {"lora": 0.5, "vectors": 0.5, "other": 0.3}, guidance_scale=1.0),
    }


def test_alone(model: LoadedModel, stored: dict[str, Stored]) -> None:
    assert all(isinstance(read_concept(each.path, model), LoraFile) for each in stored.values())
    for name in ("whole", "vectors"):
        asked = request(stored, {name: 1.0}).with_defaults(model.info.defaults)
        latents, _ = together(model, {"only": asked})
        assert_same(latents["only"], with_changed_weights(model, asked, stored))


def test_together_in_one_batch(model: LoadedModel, stored: dict[str, Stored]) -> None:
    requests = {key: each.with_defaults(model.info.defaults) for key, each in requests_for(stored).items()}
    with Evaluations(model.unet) as evaluations:
        latents, _ = together(model, requests)
    assert max(evaluations.rows) == 2 * 6 + 1  # seven pictures, of which one has no guidance
    plain, _ = together(model, {"none": request(stored, {}).with_defaults(model.info.defaults)})
    for key, asked in requests.items():
        expected = with_changed_weights(model, asked, stored)
        assert_same(latents[key], expected)
        if asked.concepts:  # or there would be nothing to compare
            assert float((expected[:1] - plain["none"]).abs().max() / expected.abs().max()) > 1e-2


def test_neighbours_stay_as_they_are_to_the_last_bit(model: LoadedModel, stored: dict[str, Stored]) -> None:
    """Reproducibly, whoever else is in the batch."""
    requests = {key: each.with_defaults(model.info.defaults) for key, each in requests_for(stored).items()}
    alone = {key: together(model, {key: requests[key]}, reproducible=True)[0][key] for key in ("plain", "vectors")}
    crowd, _ = together(model, {key: requests[key] for key in ("plain", "two", "vectors")}, reproducible=True)
    assert torch.equal(crowd["plain"], alone["plain"])
    assert torch.equal(crowd["vectors"], alone["vectors"])


def test_plain_rows_are_untouched_without_reproducible_too(tiny_model: LoadedModel, tmp_path: Path) -> None:
    model = load_model(tiny_model.info.source, device="cpu")
    file = read_concept(store(tmp_path / "c.safetensors", model, 3).path, model)
    assert isinstance(file, LoraFile)
    slots = LoraSlots(model.unet, 4)
    slots.put(2, file)

    @torch.no_grad()
    def run(uses: list[dict[int, float]]) -> torch.Tensor:
        slots.route(*routing(uses))
        return model.unet(**inputs(model, range(len(uses)))).sample

    plain, mixed = run([{}] * 4), run([{}, {2: 1.0}, {2: 0.5}, {}])
    assert torch.equal(mixed[[0, 3]], plain[[0, 3]])
    assert float((mixed[1] - plain[1]).abs().max()) > 1e-3
    # Rows of a forward beyond the routing, and of the routing beyond the forward.
    slots.route(*routing([{2: 1.0}]))
    with torch.no_grad():
        assert torch.equal(model.unet(**inputs(model, range(4))).sample[1:], plain[1:])
    slots.clear(2)
    assert torch.equal(run([{}] * 4), plain)


def test_with_five_it_is_merged(model: LoadedModel, stored: dict[str, Stored]) -> None:
    """More than four share no batch: the differences go into a copy's weights, to the same effect."""
    weights = {"whole": 0.3, "other": 0.2, "vectors": 0.4, "lora": 0.5}
    asked = request(stored, weights)
    fifth = ConceptUse(name="fifth", path=str(stored["lora"].path), weight=0.2)
    asked = ImageRequest(
        **{field: getattr(asked, field) for field in asked.__struct_fields__ if field != "concepts"},
        concepts=[*asked.concepts, fifth],
    ).with_defaults(model.info.defaults)
    latents, _ = together(model, {"five": asked})
    assert_same(latents["five"], with_changed_weights(model, asked, {**stored, "fifth": stored["lora"]}))


def test_what_can_not_be_by_row_is_merged(tiny_model: LoadedModel, tmp_path: Path) -> None:
    """A matrix's whole difference, and a whole weight in the place of a difference."""
    matrix = {"lora_unet_conv_in.diff": torch.ones(8, 4, 3, 3), "lora_unet_conv_in.diff_b": torch.ones(8)}
    whole = {"unet.conv_in.bias": torch.ones(8)}
    for number, tensors in enumerate((matrix, whole)):
        path = write(tmp_path / f"{number}.safetensors", tensors)
        assert isinstance(read_concept(path, tiny_model), MergedFile)


TABLE = "lora_te_text_model_embeddings_token_embedding"
MISFITS = [
    ("a row that is not there", torch.ones(2, 16), torch.tensor([0, 100_000]), "are not 0 to"),
    ("below nothing", torch.ones(1, 16), torch.tensor([-1]), "are not 0 to"),
    ("the same row twice", torch.ones(2, 16), torch.tensor([3, 3]), "are not 0 to"),
    ("another number of rows", torch.ones(2, 16), torch.tensor([3]), "don’t fit"),
    ("another width", torch.ones(1, 15), torch.tensor([3]), "doesn’t fit"),
    ("no whole numbers", torch.ones(1, 16), torch.tensor([3.0]), "I64"),
    ("infinite", torch.full((1, 16), torch.inf), torch.tensor([3]), "NaN or infinite"),
]


@pytest.mark.parametrize(("values", "ids", "said"), [case[1:] for case in MISFITS], ids=[case[0] for case in MISFITS])
def test_rows_that_do_not_fit(
    tiny_model: LoadedModel, tmp_path: Path, values: torch.Tensor, ids: torch.Tensor, said: str
) -> None:
    path = write(tmp_path / "rows.safetensors", {f"{TABLE}.diff_rows": values, f"{TABLE}.diff_row_ids": ids})
    with pytest.raises(ConceptRefused, match=said):
        read_concept(path, tiny_model)


def test_rows_without_their_numbers(tiny_model: LoadedModel, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.safetensors", {f"{TABLE}.diff_rows": torch.ones(1, 16)})
    with pytest.raises(ConceptRefused, match="whole layer"):
        read_concept(path, tiny_model)
