"""Did it learn? The figures, and a whole card of a model that draws nothing like the photos."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from generation.engine import Engine
from generation.model import LoadedModel
from generation.request import ConceptUse
from tests.training.small_training import tiny
from training.events import Phase, Stepped
from training.judge import judge_for
from training.learned import (
    among,
    did_it_learn,
    drift,
    fidelity,
    scaled_between,
    verdict_of_losses,
    verdict_of_similarity,
)
from training.order import Card, Method, TrainingOrder, Verdict
from training.tensors import write_tensors
from training.views import views

Value = TypeVar("Value")


def ended(steps: Generator[Stepped, None, Value]) -> tuple[list[Stepped], Value]:
    seen: list[Stepped] = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return seen, end.value


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for view, path in zip(views("tent", 0)[0], paths, strict=True):
        view.save(path)
    return paths


def judged(model: LoadedModel, method: Method, photos: list[Path], folder: Path) -> tuple[list[Stepped], Card]:
    width = model.text_encoders[0].config.hidden_size
    write_tensors(folder / "it.safetensors", {"<it>": torch.zeros(2, width)})
    order = TrainingOrder(job="j", method=method, name="it", class_word="house")
    use = ConceptUse(name="it", path=str(folder / "it.safetensors"))
    engine = Engine(model)
    try:
        judge = judge_for(model)
        return ended(did_it_learn(engine, model, judge, order, use, photos[:4], photos[4], 0.3, 0.2))
    finally:
        engine.close()


def test_a_model_that_draws_nothing_of_the_kind_has_not_learned(
    tiny_model: LoadedModel, photos: list[Path], tmp_path: Path
) -> None:
    steps, card = judged(tiny_model, Method.TEXTUAL_INVERSION, photos, tmp_path)
    assert card.verdict is Verdict.NOT_LEARNED
    assert card.similarity is not None
    assert abs(card.similarity) < 0.25
    assert (card.held_out, card.loss_before, card.loss_after) == (True, 0.3, 0.2)
    assert card.drift == 0.0  # a word of its own leaves the class word as it is
    assert {step.phase for step in steps} == {Phase.JUDGING}
    assert steps[-1].step == steps[-1].total > 0


def test_without_a_judge_the_loss_tells(tiny_model: LoadedModel, photos: list[Path]) -> None:
    order = TrainingOrder(job="j", method=Method.LORA, name="it", class_word="house")
    use = ConceptUse(name="it", path="nowhere.safetensors")
    engine = Engine(tiny_model)
    steps, card = ended(did_it_learn(engine, tiny_model, None, order, use, photos, None, 0.3, 0.2))
    engine.close()
    assert not steps
    assert card == Card(verdict=Verdict.LEARNED, loss_before=0.3, loss_after=0.2)


def test_verdicts() -> None:
    assert [verdict_of_similarity(value) for value in (0.9, 0.5, 0.3, 0.1, -1)] == [
        Verdict.LEARNED,
        Verdict.LEARNED,
        Verdict.PARTLY,
        Verdict.NOT_LEARNED,
        Verdict.NOT_LEARNED,
    ]
    assert verdict_of_losses(0.2, 0.199) is Verdict.PARTLY
    assert verdict_of_losses(0.2, 0.21) is Verdict.NOT_LEARNED
    assert verdict_of_losses(0.2, float("nan")) is Verdict.NOT_LEARNED
    assert verdict_of_losses(None, 0.1) is Verdict.NOT_LEARNED


def test_figures() -> None:
    assert scaled_between(0.6, 0.2, 1.0) == pytest.approx(0.5)
    assert scaled_between(0.6, 0.5, 0.5) == 0.0
    assert fidelity(["red", "green", "white", "yellow"], ["red", "green", "blue", "yellow"]) == 0.75
    assert fidelity(["red"] * 4, ["white"] * 4) is None
    right_angles = torch.eye(3)
    assert among(right_angles) == pytest.approx(0.0)
    base, photos = right_angles[:2], right_angles[2:]
    assert drift(base, base, photos) == pytest.approx(0.0)
    assert drift(photos.expand(2, -1), base, photos) == pytest.approx(1.0)
    halfway = (base + photos) / 2**0.5
    assert drift(halfway, base, photos) == pytest.approx(1 - 0.5**0.5)
