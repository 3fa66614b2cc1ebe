"""DreamBooth on tiny models: what moves, what doesn't, and what is stored of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generation.concepts.changes import LoraLayer, RowsDifference
from generation.concepts.files import LoraFile, MergedFile, read_concept
from generation.engine import Engine
from generation.events import ImageReady
from generation.model import LoadedModel
from generation.request import ConceptUse, ImageRequest
from tests.training.small_training import finish, order, settings, tiny, trainer, weights_hash
from training.dreambooth import DreamBooth
from training.events import Phase, Stepped, TrainingRefused
from training.order import Method
from training.rare_tokens import rare_token

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


def learner(model: LoadedModel, **values: object) -> DreamBooth:
    return DreamBooth(model, order(Method.DREAMBOOTH), settings(**values))


def train(learner: DreamBooth, rate: float = 1e-2) -> None:
    """Two steps of its own parameters on made-up numbers."""
    optimizer = torch.optim.AdamW(
        [{"params": g.parameters, "lr": rate, "weight_decay": g.weight_decay} for g in learner.groups()]
    )
    generator = torch.Generator().manual_seed(5)
    for _ in range(2):
        conditioning = learner.encode([learner.instance_caption("a photo of {}"), "a photo of an apple"])
        noisy = torch.randn(2, 4, 16, 16, generator=generator)
        learner.predict(noisy, torch.tensor([20, 700]), conditioning).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def drawn(model: LoadedModel, **values: object) -> bytes:
    engine = Engine(model, reproducible=True, threads=1)
    engine.admit("a", ImageRequest(**{"prompt": "a red fox", "seed": 3, **values}))
    (image,) = [e.image for _ in range(2000) if engine.busy for e in engine.step() if isinstance(e, ImageReady)]
    engine.close()
    return image.tobytes()


def test_from_photos_to_a_file_that_shares_the_batch(model: LoadedModel, tmp_path: Path) -> None:
    before, unrelated = weights_hash(model), drawn(model)
    training = settings(prior_images=4, prior_loss_weight=1.0, max_steps=4, samples=0)
    concept, events = finish(trainer(model, tmp_path, order=order(Method.DREAMBOOTH), settings=training))
    assert weights_hash(model) == before
    assert drawn(model) == unrelated
    phases = list(dict.fromkeys(event.phase for event in events if isinstance(event, Stepped)))
    assert phases[:3] == [Phase.PREPARING, Phase.CLASS_PICTURES, Phase.TRAINING]
    assert concept.trigger == f"{rare_token(model.tokenizers[0], 'job')} apple"
    file = read_concept(Path(concept.file), model)
    assert isinstance(file, LoraFile)
    use = ConceptUse(name="ball", path=concept.file, trigger=concept.trigger)
    assert drawn(model, prompt="a red <ball>", concepts=[use]) != unrelated


def test_a_learning_rate_of_zero_changes_nothing(model: LoadedModel, tmp_path: Path) -> None:
    still = settings(learning_rate=0.0, text_learning_rate=0.0, max_steps=2, samples=0)
    concept, _ = finish(trainer(model, tmp_path, order=order(Method.DREAMBOOTH), settings=still))
    assert not any(bool(values.any()) for values in load_file(concept.file).values())
    assert concept.card.loss_before == concept.card.loss_after


def test_everything_of_both_networks_moves_but_rows_of_words_that_no_caption_has(model: LoadedModel) -> None:
    own = learner(model, weight_decay=0.5)
    start = {name: values.clone() for name, values in own.state().items()}
    train(own)
    moved = {name: values != start[name] for name, values in own.state().items()}
    # A key's bias adds the same to every query's products, which the softmax doesn't see.
    assert {name for name, changed in moved.items() if not bool(changed.any())} <= {
        name for name in moved if name.endswith("k_proj.bias")
    }
    rows = moved["text_encoder.embeddings.token_embedding.weight"].any(dim=1).nonzero().flatten().tolist()
    tokenizer = model.tokenizers[0]
    read = tokenizer([own.instance_caption("a photo of {}"), "a photo of an apple"], padding="max_length")
    assert set(rows) <= {token for ids in read["input_ids"] for token in ids}
    assert rows


def test_decay_is_for_matrices_alone(model: LoadedModel) -> None:
    groups = learner(model, learning_rate=3e-4, text_learning_rate=2e-4, weight_decay=0.1).groups()
    parameters = {name: group for group in groups for name in group.names}
    assert len(parameters) == len([p for net in (model.unet, *model.text_encoders) for p in net.parameters()])
    for name, group in parameters.items():
        decays = name.endswith(".weight") and "norm" not in name and "embedding.weight" not in name
        assert group.weight_decay == (0.1 if decays else 0.0), name
        assert group.learning_rate == (3e-4 if name.startswith("unet.") else 2e-4)


def test_what_is_stored_is_what_was_trained(model: LoadedModel, tmp_path: Path) -> None:
    """Matrices with nearly all of the energy, everything else to rounding."""
    own = learner(model)
    train(own)
    for _ in own.save(path := tmp_path / "stored.safetensors"):
        pass
    file = read_concept(path, model)
    assert isinstance(file, LoraFile)
    trained = own.state()
    for prefix, changes, network in zip(
        ("unet", "text_encoder"), file.changes(), (model.unet, *model.text_encoders), strict=True
    ):
        for name, parameter in network.named_parameters():
            wanted = trained[f"{prefix}.{name}"] - parameter.detach()
            stored = changes[name].change(parameter.detach(), 1.0) if name in changes else torch.zeros_like(wanted)
            if isinstance(changes.get(name), LoraLayer):
                assert float((stored - wanted).square().sum()) <= 0.0101 * float(wanted.square().sum())
            else:
                torch.testing.assert_close(stored, wanted, rtol=0, atol=1e-7)
    assert isinstance(file.text_differences[0]["embeddings.token_embedding.weight"], RowsDifference)


def test_full_weights_are_all_of_it_in_a_lane(model: LoadedModel, tmp_path: Path) -> None:
    own = learner(model)
    train(own)
    own.save_full_weights(path := tmp_path / "full.safetensors")
    file = read_concept(path, model)
    assert isinstance(file, MergedFile)
    for prefix, changes, network in zip(
        ("unet", "text_encoder"), file.changes(), (model.unet, *model.text_encoders), strict=True
    ):
        for name, parameter in network.named_parameters():
            whole = parameter.detach() + changes[name].change(parameter.detach(), 1.0)
            torch.testing.assert_close(whole, own.state()[f"{prefix}.{name}"], rtol=0, atol=1e-6)


def test_it_goes_on_from_its_state(model: LoadedModel) -> None:
    own, other = learner(model), learner(model)
    train(own)
    other.load_state({name: values.clone() for name, values in own.state().items()})
    assert all(torch.equal(values, other.state()[name]) for name, values in own.state().items())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_while_class_pictures_are_drawn_the_file_is_the_same(model: LoadedModel, tmp_path: Path) -> None:
    few = settings(max_steps=2, prior_images=6, prior_loss_weight=1.0, samples=0)
    whole, _ = finish(trainer(model, tmp_path / "whole", order=order(Method.DREAMBOOTH), settings=few))
    for pictures in (0, 4):  # in the first group of four, and in the second
        training = trainer(model, tmp_path / "killed", order=order(Method.DREAMBOOTH), settings=few)
        process = os.fork()
        if process == 0:
            for event in training.steps():
                if isinstance(event, Stepped) and (event.phase, event.step) == (Phase.CLASS_PICTURES, pictures):
                    next(training._events)
                    os.kill(os.getpid(), signal.SIGKILL)
            os._exit(1)
        _, status = os.waitpid(process, 0)
        assert os.WIFSIGNALED(status)
        training.close()
    concept, _ = finish(trainer(model, tmp_path / "killed", order=order(Method.DREAMBOOTH), settings=few))
    assert Path(concept.file).read_bytes() == Path(whole.file).read_bytes()


def test_models_with_two_text_encoders_are_refused(tmp_path: Path) -> None:
    model = tiny(tmp_path, xl=True)
    with pytest.raises(TrainingRefused, match="has two"):
        learner(model)
