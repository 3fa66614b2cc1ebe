from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from generation.concepts.files import TextualInversionFile, read_concept
from generation.concepts.text import TextConcepts
from generation.conditioning import TextConditioning
from generation.model import LoadedModel
from generation.placeholders import spliced
from tests.training.small_training import SIDE, order, settings, tiny
from training.order import Method
from training.textual_inversion import TextualInversion

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    return tiny(folder)


@pytest.fixture(scope="module")
def xl_model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny(tmp_path_factory.mktemp("tiny-xl"), xl=True)


def learner(model: LoadedModel, **values: Any) -> TextualInversion:
    return TextualInversion(model, order(Method.TEXTUAL_INVERSION), settings(**{"vectors": 3, **values}))


def shaken(learner: TextualInversion) -> TextualInversion:
    """Rows that are no word's."""
    with torch.no_grad():
        for rows in learner.rows:
            rows.add_(torch.randn(rows.shape, generator=torch.Generator().manual_seed(3)))
    return learner


@pytest.mark.parametrize("family", ["model", "xl_model"])
def test_captions_are_encoded_as_prompts_with_its_file_are(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model: LoadedModel = request.getfixturevalue(family)
    trained = shaken(learner(model))
    trained.save(tmp_path / "ball.safetensors")
    file = read_concept(tmp_path / "ball.safetensors", model)
    assert isinstance(file, TextualInversionFile)
    concepts = TextConcepts("key", {"ball": file.vectors}, {}, model.text_encoders)
    captions = ["a <ball> on the left", "the red <ball>"]
    with torch.no_grad():
        ours = trained.encode(captions)
    for index, caption in enumerate(captions):
        theirs = TextConditioning(model).encode(caption, negative=False, width=SIDE, height=SIDE, concepts=concepts)
        torch.testing.assert_close(ours.hidden[index : index + 1], theirs.hidden, atol=1e-5, rtol=1e-5)
        assert ours.added.keys() == theirs.added.keys()
        for name, values in theirs.added.items():
            torch.testing.assert_close(ours.added[name][index : index + 1], values, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_diffusers_reads_its_file(folder: Path, model: LoadedModel, tmp_path: Path) -> None:
    trained = shaken(learner(model))
    trained.save(tmp_path / "learned_embeds.safetensors")
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder, requires_safety_checker=False)
    pipeline.load_textual_inversion(tmp_path, weight_name="learned_embeds.safetensors")
    with torch.no_grad():
        theirs, _ = pipeline.encode_prompt("a <ball> on the left", "cpu", 1, do_classifier_free_guidance=False)
        ours = trained.encode(["a <ball> on the left"]).hidden
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["model", "xl_model"])
def test_gradients_reach_the_new_rows_and_nothing_else(family: str, request: pytest.FixtureRequest) -> None:
    model: LoadedModel = request.getfixturevalue(family)
    trained = learner(model)
    channels = model.unet_config.in_channels
    noisy = torch.randn(2, channels, *model.latent_size, generator=torch.Generator().manual_seed(1))
    conditioning = trained.encode(["a <ball>", "the <ball>"])
    trained.predict(noisy, torch.tensor([10, 900]), conditioning).square().mean().backward()
    for group in trained.groups():
        assert group.weight_decay == 0
        assert all(parameter.grad is not None and bool(parameter.grad.any(1).all()) for parameter in group.parameters)
    assert sum(len(group.parameters) for group in trained.groups()) == len(model.text_encoders)
    shared = [weight for network in (model.unet, *model.text_encoders) for weight in network.parameters()]
    assert all(weight.grad is None for weight in shared)


def test_several_threads_sum_the_rows_gradient_in_one_order(model: LoadedModel) -> None:
    """Else a killed training that goes on ends in another file."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    gradients = set[bytes]()
    embedding: Any = torch.nn.Embedding(4, 768)
    encoder = SimpleNamespace(get_input_embeddings=lambda: embedding)
    ids = torch.arange(77).remainder(7).expand(6, -1)  # from 4 on they are the new word's
    try:
        for _ in range(40):
            rows = torch.nn.Parameter(torch.zeros(3, 768))
            with spliced(encoder, 4, [rows]):
                output = embedding(ids)
            (output * torch.randn(output.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
            assert rows.grad is not None
            gradients.add(rows.grad.numpy().tobytes())
    finally:
        torch.set_num_threads(before)
    assert len(gradients) == 1


def test_rows_start_as_the_class_words_and_stay_no_longer_than_the_median_word(model: LoadedModel) -> None:
    table = model.text_encoders[0].get_input_embeddings().weight.detach()
    median = table.norm(dim=1).median()
    ids = model.tokenizers[0]("red apple", add_special_tokens=False)["input_ids"]
    trained = TextualInversion(
        model, order(Method.TEXTUAL_INVERSION, class_word="red apple"), settings(vectors=3, norm_limit=100.0)
    )
    assert torch.equal(trained.rows[0].detach(), table[[ids[0], ids[1], ids[0]]])
    limited = learner(model)
    with torch.no_grad():
        limited.rows[0].mul_(50)
    limited.after_step()
    torch.testing.assert_close(limited.rows[0].detach().norm(dim=1), median.expand(3))
