"""What the UNet is told, against the stock pipelines' `encode_prompt` and `load_textual_inversion`."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file

from generation.conditioning import Conditioning, TextConditioning
from generation.model import LoadedModel, load_model
from generation.request import InvalidRequest

PROMPTS = ["", "a red apple", "a Big zebra's house, on the left of the fox! " * 4]


@dataclass(frozen=True)
class Concepts:
    """Only vectors and words; the encoders stay as they are."""

    text_encoders: tuple[Any, ...]
    vectors: dict[str, tuple[torch.Tensor, ...]] = field(default_factory=dict)
    triggers: dict[str, str] = field(default_factory=dict)
    key: str = "concepts"

    @contextmanager
    def encoders(self) -> Iterator[Sequence[Any]]:
        yield self.text_encoders


def stock(request: pytest.FixtureRequest) -> Any:
    kind: Any = StableDiffusionXLPipeline if request.param == "tiny_xl" else StableDiffusionPipeline
    pipeline = kind.from_pretrained(request.getfixturevalue(f"{request.param}_folder"), local_files_only=True)
    # diffusers 0.42 looks for the final layer norm where older transformers keep it. Not as a submodule of itself.
    object.__setattr__(pipeline.text_encoder, "text_model", pipeline.text_encoder)
    return pipeline


@pytest.fixture(scope="module", params=["tiny_sd2", "tiny_xl", "tiny"])
def both(request: pytest.FixtureRequest) -> tuple[LoadedModel, Any]:
    """One of the models, and the stock pipeline for it."""
    return request.getfixturevalue(f"{request.param}_model"), stock(request)


@pytest.fixture(scope="module", params=["tiny_sd2", "tiny_xl", "tiny"])
def with_concepts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model, what its concepts mean, and the stock pipeline with the same ones loaded into it."""
    model: LoadedModel = request.getfixturevalue(f"{request.param}_model")
    concepts, pipeline = concepts_of(model), stock(request)
    load_into(pipeline, concepts, tmp_path_factory.mktemp("concepts"))
    return model, concepts, pipeline


@pytest.fixture
def conditioning(tiny_model: LoadedModel) -> TextConditioning:
    return TextConditioning(tiny_model)


def theirs(pipeline: Any, prompt: str, **options: Any) -> list[torch.Tensor | None]:
    """Prompt, negative, pooled prompt and pooled negative (None where there is no such thing)."""
    where = {"device": torch.device("cpu"), "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    with torch.no_grad():
        encoded = pipeline.encode_prompt(prompt=prompt, **where, **options)
    return [*encoded, None, None][:4]


def same(ours: Conditioning, hidden: torch.Tensor | None, pooled: torch.Tensor | None) -> None:
    assert hidden is not None
    assert ours.hidden.shape == hidden.shape
    assert torch.allclose(ours.hidden, hidden, rtol=0, atol=2e-6)
    assert ("text_embeds" in ours.added) == (pooled is not None)
    if pooled is not None:
        assert torch.allclose(ours.added["text_embeds"], pooled, rtol=0, atol=2e-6)


@pytest.mark.parametrize("clip_skip", [None, 0, 1, 2])
@pytest.mark.parametrize("negative", ["", "blue fox"])
@pytest.mark.parametrize("prompt", PROMPTS, ids=["empty", "short", "long"])
def test_equals_the_stock_pipeline(
    both: tuple[LoadedModel, Any], prompt: str, negative: str, clip_skip: int | None
) -> None:
    model, pipeline = both
    conditioning = TextConditioning(model)
    hidden, negative_hidden, pooled, negative_pooled = theirs(
        pipeline, prompt, negative_prompt=negative or None, clip_skip=clip_skip
    )
    size = {"width": 64, "height": 96, "clip_skip": clip_skip}
    same(conditioning.encode(prompt, negative=False, **size), hidden, pooled)
    same(conditioning.encode(negative, negative=True, **size), negative_hidden, negative_pooled)


def test_a_model_may_encode_an_empty_negative_prompt(xl_without_zeros: Path) -> None:
    pipeline = StableDiffusionXLPipeline.from_pretrained(xl_without_zeros, local_files_only=True)
    _, negative, _, pooled = theirs(pipeline, "fox")
    assert negative is not None
    assert negative.any()
    model = load_model(str(xl_without_zeros), device="cpu")
    same(TextConditioning(model).encode("", negative=True, width=64, height=64), negative, pooled)


@pytest.fixture
def xl_without_zeros(tiny_xl_folder: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(tiny_xl_folder, tmp_path / "model"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": False}))
    return folder


def test_sdxl_is_told_the_pictures_size(tiny_xl_model: LoadedModel, tiny_xl_folder: Path) -> None:
    pipeline: Any = StableDiffusionXLPipeline.from_pretrained(tiny_xl_folder, local_files_only=True)
    expected = pipeline._get_add_time_ids((96, 64), (0, 0), (96, 64), torch.float32, 20)
    conditioning = TextConditioning(tiny_xl_model)
    for negative in (False, True):
        told = conditioning.encode("fox", negative=negative, width=64, height=96)
        assert torch.equal(told.added["time_ids"], expected)
    wide = conditioning.encode("fox", negative=False, width=128, height=64).added["time_ids"]
    assert wide.tolist() == [[64, 128, 0, 0, 64, 128]]


def test_more_layers_skipped_than_there_are(tiny_xl_model: LoadedModel, tiny_model: LoadedModel) -> None:
    for model, deepest in ((tiny_xl_model, 2), (tiny_model, 2)):
        conditioning = TextConditioning(model)
        conditioning.encode("fox", negative=False, width=64, height=64, clip_skip=deepest)
        with pytest.raises(InvalidRequest, match=f"clip_skip must be at most {deepest} for this model, not 3"):
            conditioning.encode("fox", negative=False, width=64, height=64, clip_skip=3)


def hidden(conditioning: TextConditioning, text: str) -> torch.Tensor:
    return conditioning.encode(text, negative=False, width=64, height=64).hidden


def test_a_text_is_encoded_once(conditioning: TextConditioning, tiny_model: LoadedModel) -> None:
    calls: list[int] = []
    handle = tiny_model.text_encoders[0].register_forward_pre_hook(lambda *_: calls.append(1))
    first = hidden(conditioning, "a red apple")
    assert torch.equal(hidden(conditioning, "a red apple"), first)
    assert conditioning.encode("a red apple", negative=True, width=128, height=64).hidden is first
    assert len(calls) == 1
    for number in range(100):
        hidden(conditioning, f"apple {number}")
    hidden(conditioning, "a red apple")
    handle.remove()
    assert len(calls) == 102  # pushed out in between: the cache is bounded


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("", []),
        ("apple " * 14, []),
        ("apple " * 14 + "fox", ["fox"]),
        ("apple " * 14 + "Fox, the  Car!", ["Fox,", "the", "Car!"]),
        # 13 tokens, then a word of several: it is read in part only, so it counts as not read.
        ("apple " * 13 + "zebra car", ["zebra", "car"]),
        ("apple " * 14 + "🍎 яблоко", ["🍎", "яблоко"]),
        ("fox " * 15, ["fox"]),
    ],
)
def test_words_not_read(conditioning: TextConditioning, text: str, unread: list[str]) -> None:
    assert conditioning.words_not_read(text) == unread


# Concepts

CONCEPT_PROMPTS = [
    "<my-cat>",
    "a <my-cat> on the left",
    "big<my-cat>car, <My-Cat>!",
    "the fox and <my-dog> and <my-cat>",
    "apple " * 12 + "<my-cat> fox",  # two of its three vectors are read
    "apple " * 20 + "<my-cat>",
    "a <my-bird> and <my-catfish>",  # of no concept: text
]


def vectors_of(model: LoadedModel, rows: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn((rows, encoder.config.hidden_size), generator=generator) * 0.02 for encoder in model.text_encoders
    )


def concepts_of(model: LoadedModel) -> Concepts:
    vectors = {"my-cat": vectors_of(model, 3, seed=1), "my-dog": vectors_of(model, 1, seed=2)}
    return Concepts(model.text_encoders, vectors, {"my-car": "a small blue car"})


@pytest.fixture
def concepts(both: tuple[LoadedModel, Any]) -> Concepts:
    return concepts_of(both[0])


def load_into(pipeline: Any, concepts: Concepts, folder: Path) -> None:
    for name, vectors in concepts.vectors.items():
        for index, (encoder, tokenizer, rows) in enumerate(
            zip(("text_encoder", "text_encoder_2"), ("tokenizer", "tokenizer_2"), vectors, strict=False)
        ):
            path = folder / f"{name}-{index}.safetensors"
            save_file({f"<{name}>": rows}, path)
            parts = {"text_encoder": getattr(pipeline, encoder), "tokenizer": getattr(pipeline, tokenizer)}
            pipeline.load_textual_inversion(str(path), **parts)


def as_diffusers_finds_it(prompt: str) -> str:
    """It puts in a concept's further vectors only where its name is written as in the file."""
    return prompt.replace("<My-Cat>", "<my-cat>")


@pytest.mark.parametrize("prompt", CONCEPT_PROMPTS)
def test_vectors_equal_load_textual_inversion(with_concepts: Any, prompt: str) -> None:
    model, concepts, pipeline = with_concepts
    expected, _, pooled, _ = theirs(pipeline, as_diffusers_finds_it(prompt), clip_skip=1)
    size = {"width": 64, "height": 64, "clip_skip": 1}
    same(TextConditioning(model).encode(prompt, negative=False, **size, concepts=concepts), expected, pooled)


def test_vectors_in_a_negative_prompt(with_concepts: Any) -> None:
    model, concepts, pipeline = with_concepts
    _, expected, _, pooled = theirs(pipeline, "a fox", negative_prompt="ugly <my-dog>")
    told = TextConditioning(model).encode("ugly <my-dog>", negative=True, width=64, height=64, concepts=concepts)
    same(told, expected, pooled)


def test_the_model_is_as_before(both: tuple[LoadedModel, Any], concepts: Concepts) -> None:
    model, _ = both
    tables = [encoder.get_input_embeddings() for encoder in model.text_encoders]
    before = [table.weight.clone() for table in tables], [len(tokenizer) for tokenizer in model.tokenizers]
    plain = hidden(TextConditioning(model), "a <my-cat>")
    conditioning = TextConditioning(model)
    with_concept = conditioning.encode("a <my-cat>", negative=False, width=64, height=64, concepts=concepts)
    assert not torch.equal(with_concept.hidden, plain)
    assert torch.equal(hidden(conditioning, "a <my-cat>"), plain)
    assert all(torch.equal(table.weight, copy) for table, copy in zip(tables, before[0], strict=True))
    assert [len(tokenizer) for tokenizer in model.tokenizers] == before[1]
    assert not any(table._forward_hooks or table._forward_pre_hooks for table in tables)


@pytest.mark.parametrize("mention", ["<my-car>", "<MY-Car>", "＜ｍｙ-car＞"])
def test_words_stand_for_a_concept(both: tuple[LoadedModel, Any], concepts: Concepts, mention: str) -> None:
    model, _ = both
    conditioning = TextConditioning(model)
    told = conditioning.encode(f"fox, {mention}", negative=False, width=64, height=64, concepts=concepts)
    assert torch.equal(told.hidden, hidden(conditioning, "fox, a small blue car"))


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("apple " * 11 + "<my-cat>", []),
        ("apple " * 12 + "<my-cat> fox", ["<my-cat>", "fox"]),
        ("apple " * 13 + "<my-dog>", []),
        ("apple " * 14 + "big<my-dog>fox on", ["big<my-dog>fox", "on"]),
        ("apple " * 11 + "<my-car> fox", ["<my-car>", "fox"]),
        ("apple " * 10 + "<my-car>", []),
    ],
)
def test_placeholders_count_as_words(
    both: tuple[LoadedModel, Any], concepts: Concepts, text: str, unread: list[str]
) -> None:
    assert TextConditioning(both[0]).words_not_read(text, concepts) == unread


def test_the_encoders_are_those_of_the_concepts(both: tuple[LoadedModel, Any]) -> None:
    """A text-encoder LoRA hands over its own, and its key keeps the cache apart."""
    model, _ = both
    encoders = copy.deepcopy(model.text_encoders)
    with torch.no_grad():
        encoders[0].get_input_embeddings().weight.mul_(2)
    conditioning = TextConditioning(model)
    plain = hidden(conditioning, "a fox")
    concepts = Concepts(encoders, key="doubled")
    changed = conditioning.encode("a fox", negative=False, width=64, height=64, concepts=concepts)
    with torch.no_grad():
        ids = model.tokenizers[0]("a fox", padding="max_length", max_length=16, return_tensors="pt").input_ids
        layers = encoders[0](ids, output_hidden_states=True)
    expected = layers.hidden_states[-2] if len(encoders) == 2 else layers.last_hidden_state
    assert torch.allclose(changed.hidden[..., :16], expected, rtol=0, atol=2e-6)
    assert not torch.allclose(changed.hidden[..., :16], plain[..., :16])
