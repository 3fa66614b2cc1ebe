"""training.pictures: what a training draws for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from generation.engine import Engine
from generation.generate import GenerationFailed, generate
from generation.model import LoadedModel
from generation.request import ConceptUse, ImageRequest
from tests.training.small_training import tiny
from training.pictures import draw

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


def test_pictures_come_in_order_and_progress_is_counted(model: LoadedModel) -> None:
    requests = [ImageRequest(prompt=["a fox", "a house"], seed=3), ImageRequest(prompt="an apple", seed=9)]
    drawing = draw(Engine(model), "sample", requests)
    said: list[tuple[int, int]] = []
    while True:
        try:
            said.append(next(drawing))
        except StopIteration as end:
            drawn = end.value
            break
    assert [(recipe.prompt, recipe.seed) for _, recipe in drawn] == [("a fox", 3), ("a house", 4), ("an apple", 9)]
    assert said == sorted(said)
    assert said[-1] == (4, 4)  # two requests of two steps
    alone = generate(model, requests[1])[0].image
    assert max(abs(a - b) for a, b in zip(drawn[2][0].tobytes(), alone.tobytes(), strict=True)) <= 2


def test_what_can_not_be_drawn_is_an_error_and_nothing_is_left(model: LoadedModel, tmp_path: Path) -> None:
    engine = Engine(model)
    lost = ConceptUse(name="lost", path=str(tmp_path / "lost.safetensors"))
    requests = [ImageRequest(prompt="a fox", seed=1), ImageRequest(prompt="<lost>", seed=1, concepts=[lost])]
    with pytest.raises(GenerationFailed, match="can't be read"):
        list(draw(engine, "sample", requests))
    assert not engine.busy


def test_closed_early_it_takes_its_requests_back(model: LoadedModel) -> None:
    engine = Engine(model)
    engine.admit("another", ImageRequest(prompt="a fox", seed=1))
    drawing = draw(engine, "sample", [ImageRequest(prompt="a fox", seed=1)])
    next(drawing)
    drawing.close()
    assert not engine.holds("sample-0")
    assert engine.holds("another")
