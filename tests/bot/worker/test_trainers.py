"""The training library inside of the worker's loops: the real trainer, on a tiny model."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from PIL import Image

import training.trainer
from bot.worker.beats import Beats
from bot.worker.drawing import DrawingLoop
from bot.worker.messages import Cancel, Cancelled, Done, Draw, Failed, Progress, Train
from bot.worker.pictures import CheckedFiles
from bot.worker.trainers import Trainers
from bot.worker.training import TrainingLoop
from bot.worker.work import Work
from generation.engine import Engine
from generation.model import LoadedModel, load_model
from generation.request import ConceptUse, ImageRequest
from training.events import Phase
from training.order import Method, TrainingOrder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> LoadedModel:
    """Whose pictures take two steps unless somebody says otherwise."""
    model = load_model(str(tiny_model_folder), device="cpu")
    defaults = msgspec.structs.replace(model.info.defaults, num_inference_steps=2)
    return dataclasses.replace(model, info=msgspec.structs.replace(model.info, defaults=defaults))


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the trainer's own figures, those that only cost time here."""
    usual = training.trainer.settings_for
    little = {"samples": 1, "checkpoint_every": 2, "evaluate_every": 4, "evaluation_rows": 1, "batch_size": 1}
    monkeypatch.setattr(
        training.trainer, "settings_for", lambda *model: msgspec.structs.replace(usual(*model), **little)
    )


class Worker:
    def __init__(self, model: LoadedModel, folder: Path) -> None:
        self.folder = folder
        self.said: list[Any] = []
        engine, files = Engine(model), CheckedFiles(lambda _: 0.1, 0.7)
        self.training = TrainingLoop(engine, Trainers(model), files, self.said.append)
        self.work = Work(DrawingLoop(engine, files, self.said.append), self.training, Beats(self.said.append))

    def train(self, method: Method, *, photos: int = 3, attempt: int = 1, max_steps: int = 4) -> None:
        paths = [self.folder / "photos" / f"{index}.png" for index in range(photos)]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for index, path in enumerate(paths):
            Image.new("RGB", (64, 64), (80 * index, 200, 90)).save(path)
        order = TrainingOrder(
            job="t",
            method=method,
            name="thing",
            class_word="apple",
            max_steps=max_steps,
            prior_preservation=False,
        )
        self.work.take(
            Train(
                job="t",
                attempt=attempt,
                order=order,
                photos=[str(path) for path in paths],
                work_dir=str(self.folder / "work"),
                prior_dir=str(self.folder / "prior"),
                concept_dir=str(self.folder / "concept"),
                request=ImageRequest(prompt="a <thing>", seed=4, num_inference_steps=3),
                output_dir=str(self.folder / "images"),
            )
        )

    def run(self, units: int | None = None) -> None:
        while self.work.patience < 1 and units != 0:
            self.work.step()
            units = None if units is None else units - 1

    def only(self, kind: type) -> list[Any]:
        return [message for message in self.said if isinstance(message, kind)]


def test_a_word_is_trained_and_the_next_picture_uses_it(model: LoadedModel, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    worker.train(Method.TEXTUAL_INVERSION)
    worker.run()
    assert worker.only(Failed) == []
    (done,) = worker.only(Done)
    assert done.trained.steps == 4
    assert {message.phase for message in worker.only(Progress)} >= {Phase.PREPARING, Phase.TRAINING, Phase.SAMPLING}
    with Image.open(tmp_path / "concept" / "strip.png") as strip:
        strip.load()
    use = ConceptUse(name="thing", path=done.trained.file, trigger=done.trained.trigger)
    request = ImageRequest(prompt="a <thing>", seed=4, num_inference_steps=3, concepts=[use])
    worker.work.take(Draw(job="p", attempt=1, request=request, output_dir=str(tmp_path / "p")))
    worker.run()
    with Image.open(done.images[0].path) as sample, Image.open(worker.only(Done)[-1].images[0].path) as picture:
        assert sample.tobytes() == picture.tobytes()


def test_too_few_photos_are_refused_with_the_trainers_sentence(model: LoadedModel, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    worker.train(Method.LORA, photos=2)
    worker.run()
    (failed,) = worker.only(Failed)
    assert "3 to 10 photos" in failed.reason


def test_cancelled_and_asked_for_again_it_goes_on_where_it_was(model: LoadedModel, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    worker.train(Method.LORA, max_steps=9)
    while not (tmp_path / "work" / "checkpoint.safetensors").exists():
        worker.run(1)
    worker.work.take(Cancel(job="t"))
    assert worker.only(Cancelled)
    worker.said.clear()
    worker.train(Method.LORA, max_steps=9, attempt=2)
    while not (steps := [message.step for message in worker.only(Progress) if message.phase is Phase.TRAINING]):
        worker.run(1)
    assert steps[0] >= 2
    worker.work.take(Cancel(job="t"))


def test_of_one_that_is_cancelled_while_it_draws_samples_nothing_stays_loaded(
    model: LoadedModel, tmp_path: Path
) -> None:
    worker = Worker(model, tmp_path)
    worker.train(Method.LORA)
    concepts = worker.training._engine._concepts  # type: ignore[attr-defined]
    for _ in range(500):
        if concepts._table._entries:
            break
        worker.run(1)
    assert concepts._table._entries
    shutil.rmtree(tmp_path / "work")  # as the bot does where its member wants to be forgotten
    worker.work.take(Cancel(job="t"))
    assert worker.only(Cancelled)
    assert not concepts._table._entries
    assert not concepts._files._readings


def test_what_is_expected_follows_the_order(model: LoadedModel, tmp_path: Path) -> None:
    trainers = Trainers(model)
    worker = Worker(model, tmp_path)
    worker.train(Method.LORA, max_steps=7)
    train = worker.training._waiting[0]
    expected = trainers.expected(train)
    assert (expected.photos, expected.steps, expected.class_pictures, expected.final_pictures) == (3, 7, 0, 1)
    prior = msgspec.structs.replace(train, order=msgspec.structs.replace(train.order, prior_preservation=True))
    assert trainers.expected(prior).class_pictures > 0
    assert trainers.expected(prior).rows_per_step == 2 * expected.rows_per_step
