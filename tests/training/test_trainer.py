"""Trainings from photos to file, on tiny models."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from generation.concepts.files import LoraFile, TextualInversionFile, read_concept
from generation.engine import Engine
from generation.model import LoadedModel
from tests.training.small_training import finish, order, settings, tiny, trainer, weights_hash, write_photos
from training import checkpoint
from training.defaults import TrainingSettings
from training.events import Phase, Sampled, Stepped, TrainingRefused
from training.order import Method
from training.trainer import Folders, Trainer

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

METHODS = (Method.TEXTUAL_INVERSION, Method.LORA)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def xl_model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny(tmp_path_factory.mktemp("tiny-xl"), xl=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["model", "xl_model"])
def test_from_photos_to_a_file_and_no_weight_of_the_model_moves(
    method: Method, family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model: LoadedModel = request.getfixturevalue(family)
    before = weights_hash(model)
    few = settings(max_steps=4, samples=0)
    concept, _ = finish(trainer(model, tmp_path, order=order(method), settings=few))
    assert weights_hash(model) == before
    assert all(not weight.requires_grad and weight.grad is None for weight in model.unet.parameters())
    file = read_concept(Path(concept.file), model)
    assert isinstance(file, TextualInversionFile if method is Method.TEXTUAL_INVERSION else LoraFile)
    assert file.sha256 == concept.sha256
    assert (concept.trigger == "") == (method is Method.TEXTUAL_INVERSION)
    assert (concept.steps, concept.stopped_early, concept.full_weights) == (4, False, False)
    assert concept.card.loss_before != concept.card.loss_after


def test_what_a_training_says(model: LoadedModel, tmp_path: Path) -> None:
    _, events = finish(trainer(model, tmp_path, order=order(), settings=settings(micro_rows=1)))
    steps = [event for event in events if isinstance(event, Stepped)]
    phases = list(dict.fromkeys(event.phase for event in steps))
    assert phases == [Phase.PREPARING, Phase.TRAINING, Phase.SAMPLING]
    assert [event.step for event in steps if event.phase is Phase.PREPARING] == [1, 2, 3, 4, 5]
    training = [event for event in steps if event.phase is Phase.TRAINING]
    assert [event.step for event in training] == sorted(event.step for event in training)
    # Steps of two rows, one row each micro-step: the one that ends a step says the next number.
    without_loss = Counter(event.step for event in training if event.loss is None)
    assert all(without_loss[step] >= 2 for step in range(1, 8))
    assert [event.step for event in training if event.loss is not None] == [0, 4, 8]
    sampled = [event for event in events if isinstance(event, Sampled)]
    assert [event.fraction for event in sampled] == [0.25, 0.5, 0.75, 1.0]
    assert [recipe.concepts[0].name for event in sampled for _, recipe in event.images] == ["ball"] * 4


@pytest.mark.parametrize("method", METHODS)
def test_a_learning_rate_of_zero_changes_nothing(method: Method, model: LoadedModel, tmp_path: Path) -> None:
    still = settings(learning_rate=0.0, text_learning_rate=0.0, vectors=2, norm_limit=100.0, samples=0)
    concept, _ = finish(trainer(model, tmp_path, order=order(method), settings=still))
    tensors = load_file(concept.file)
    if method is Method.TEXTUAL_INVERSION:
        (apple,) = model.tokenizers[0]("apple", add_special_tokens=False)["input_ids"]
        row = model.text_encoders[0].get_input_embeddings().weight[apple]
        assert torch.equal(tensors["<ball>"], torch.stack([row, row]))
    else:
        ups = [values for name, values in tensors.items() if name.endswith("lora_up.weight")]
        assert ups
        assert not any(bool(values.any()) for values in ups)
    assert concept.card.loss_before == concept.card.loss_after


def test_it_stops_when_the_loss_no_longer_falls(model: LoadedModel, tmp_path: Path) -> None:
    # The rate is 0, so the loss stays what it is: evaluations at 0, 2, 4 and 6, the last two are the second and
    # third without a better one, and before 5 steps nothing stops.
    still = settings(learning_rate=0.0, evaluate_every=2, patience=2, min_steps=5, samples=0, max_steps=20)
    concept, _ = finish(trainer(model, tmp_path, order=order(), settings=still))
    assert (concept.steps, concept.stopped_early) == (6, True)


@pytest.mark.parametrize("count", [0, 2, 11])
def test_too_few_photos_or_too_many_are_refused(count: int, model: LoadedModel, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(count)]
    with pytest.raises(TrainingRefused, match=f"3 to 10 photos, not {count}"):
        Trainer(model, order(), paths, None, None, settings=settings())  # type: ignore[arg-type]


def test_closed_in_the_middle_it_takes_its_pictures_back(model: LoadedModel, tmp_path: Path) -> None:
    engine = Engine(model)
    training = trainer(model, tmp_path, order=order(), settings=settings(samples=4), engine=engine)
    for event in training.steps():
        if isinstance(event, Stepped) and event.phase is Phase.SAMPLING:
            break
    assert engine.busy
    training.close()
    training.close()
    assert not engine.busy


@pytest.mark.parametrize("at", [2, 8])
def test_closed_while_it_shows_itself_the_engine_forgets_what_it_saw(
    at: int, model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a quarter and at the end: nobody will know these files any more, so nobody could have them forgotten."""
    engine, forgotten, seen = Engine(model), list[str](), ""
    monkeypatch.setattr(engine, "forget_concept", forgotten.append)
    training = trainer(model, tmp_path, order=order(), settings=settings(), engine=engine)
    step = 0
    for event in training.steps():
        if isinstance(event, Stepped) and event.phase is Phase.TRAINING:
            step = event.step
        if isinstance(event, Stepped) and event.phase is Phase.SAMPLING and step == at:
            (file,) = [*(tmp_path / "work").glob("sample-*"), *(tmp_path / "concept").glob("*.safetensors")]
            seen = hashlib.sha256(file.read_bytes()).hexdigest()
            break
    assert seen not in forgotten
    training.close()
    assert forgotten[-1] == seen
    assert not list((tmp_path / "work").glob("sample-*"))


def test_what_a_killed_one_has_half_written_goes(model: LoadedModel, tmp_path: Path) -> None:
    half = [tmp_path / "work/.checkpoint.safetensors.a1.tmp", tmp_path / "concept/.concept.safetensors.b2.tmp"]
    for file in half:
        file.parent.mkdir()
        file.write_bytes(b"half")
    (tmp_path / "work/samples").mkdir()
    trainer(model, tmp_path, order=order(), settings=settings()).close()
    assert not any(file.exists() for file in half)
    assert (tmp_path / "work/samples").is_dir()


def _killed_at(training: Trainer, event_number: int, checkpoint: Path) -> None:
    """Train in a process of its own, which is killed after so many events, once there is any checkpoint."""
    process = os.fork()
    if process == 0:
        try:
            for number, _ in enumerate(training.steps()):
                if number >= event_number and checkpoint.exists():
                    os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def _same_file_in_spite_of(
    kills: Sequence[int], model: LoadedModel, tmp_path: Path, settings: TrainingSettings, method: Method
) -> None:
    """Train once, and once more with a process for each of `kills`, which dies after so many events."""
    whole, _ = finish(trainer(model, tmp_path / "whole", order=order(method), settings=settings))
    for event_number in kills:
        training = trainer(model, tmp_path / "killed", order=order(method), settings=settings)
        _killed_at(training, event_number, tmp_path / "killed/work" / checkpoint.FILE)
        training.close()
    concept, events = finish(trainer(model, tmp_path / "killed", order=order(method), settings=settings))
    steps = [event.step for event in events if isinstance(event, Stepped) and event.phase is Phase.TRAINING]
    assert steps[0] >= settings.checkpoint_every, "it took up no checkpoint"
    assert Path(concept.file).read_bytes() == Path(whole.file).read_bytes()
    assert concept.card == whole.card


kills = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")


@kills
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", [*METHODS, Method.DREAMBOOTH])
def test_killed_three_times_the_file_is_the_same(method: Method, model: LoadedModel, tmp_path: Path) -> None:
    few = settings(max_steps=14, checkpoint_every=2, vectors=2, patience=5, warmup_steps=4, samples=0)
    _same_file_in_spite_of((11, 5, 6), model, tmp_path, few, method)


@kills
@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", [*METHODS, Method.DREAMBOOTH])
def test_killed_twenty_times_the_file_is_the_same(method: Method, model: LoadedModel, tmp_path: Path) -> None:
    many = settings(max_steps=60, checkpoint_every=2, vectors=2, micro_rows=1, patience=20)
    at = torch.randint(3, 9, (20,), generator=torch.Generator().manual_seed(1)).tolist()
    _same_file_in_spite_of([14, *at[1:]], model, tmp_path, many, method)


def test_a_checkpoint_of_other_photos_is_not_taken_up(model: LoadedModel, tmp_path: Path) -> None:
    few = settings(max_steps=4, samples=0)
    finish(trainer(model, tmp_path, order=order(), settings=few))
    _, events = finish(trainer(model, tmp_path, order=order(), settings=few, photos=4))
    training = [event.step for event in events if isinstance(event, Stepped) and event.phase is Phase.TRAINING]
    assert training[0] == 0


def test_nor_what_the_vae_said_of_them(model: LoadedModel, tmp_path: Path) -> None:
    """On the command line, what was stopped may be asked for again with other photos, as many as before."""
    photos = write_photos(tmp_path / "photos", 3)
    folders = Folders(work=tmp_path / "work", prior=tmp_path / "prior", concept=tmp_path / "concept")

    def encoded() -> int:
        training = Trainer(model, order(), photos, folders, Engine(model), settings=settings(samples=0))
        until = itertools.takewhile(lambda event: getattr(event, "phase", None) is Phase.PREPARING, training.steps())
        count = len(list(until))
        training.close()
        return count

    assert (encoded(), encoded()) == (3, 0)
    Image.open(photos[1]).rotate(90).save(photos[1])
    assert encoded() == 3
