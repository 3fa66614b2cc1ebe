"""Class pictures: drawn once, for everybody, and the same whatever happens in between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from PIL import Image

from generation.engine import Engine
from generation.generate import generate
from generation.model import LoadedModel
from generation.request import ImageRequest
from tests.training.small_training import tiny
from training import prior
from training.chance import number_of
from training.events import Phase, Stepped
from training.prior import class_pictures

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


def pictures(model: LoadedModel, folder: Path, count: int, word: str = "apple") -> tuple[list[Path], list[Stepped]]:
    steps, events = class_pictures(Engine(model), model, word, count, folder), list[Stepped]()
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            return end.value, events


def test_the_second_concept_of_a_class_pays_nothing(model: LoadedModel, tmp_path: Path) -> None:
    first, events = pictures(model, tmp_path, 6)
    assert len(first) == len(set(first)) == 6
    assert {event.phase for event in events} == {Phase.CLASS_PICTURES}
    assert [event.step for event in events] == sorted(event.step for event in events)
    assert (events[-1].step, events[-1].total) == (8, 8)
    dates = [path.stat().st_mtime_ns for path in first]
    again, events = pictures(model, tmp_path, 6)
    assert (again, events) == (first, [])
    assert [path.stat().st_mtime_ns for path in again] == dates
    assert not list(tmp_path.rglob("*.tmp"))


def test_they_are_what_the_model_draws_for_the_word(model: LoadedModel, tmp_path: Path) -> None:
    paths, _ = pictures(model, tmp_path, 4)
    seed = number_of("apple", "class pictures") % 2**31
    expected = generate(model, ImageRequest(prompt="a photo of an apple", seed=seed, count=4))
    assert [Image.open(path).tobytes() for path in paths] == [drawn.image.tobytes() for drawn in expected]
    assert len({path.read_bytes() for path in paths}) == 4


def test_more_pictures_keep_those_that_are_there(model: LoadedModel, tmp_path: Path) -> None:
    few, _ = pictures(model, tmp_path / "a", 3)
    many, _ = pictures(model, tmp_path / "b", 7)
    assert [path.read_bytes() for path in many[:3]] == [path.read_bytes() for path in few]


def test_stopped_in_between_they_are_the_same(model: LoadedModel, tmp_path: Path) -> None:
    """To the last bit: what is half done is drawn again in the same company."""
    whole, _ = pictures(model, tmp_path / "whole", 8)
    steps = class_pictures(Engine(model), model, "apple", 8, tmp_path / "stopped")
    while next(steps).step < 4:
        pass
    next(steps)
    steps.close()
    (own,) = {path.parent.relative_to(tmp_path / "whole") for path in whole}
    assert len(list((tmp_path / "stopped" / own).iterdir())) == 4
    (tmp_path / "stopped" / own / "0002.png").unlink()  # killed between two files of a group
    resumed, events = pictures(model, tmp_path / "stopped", 8)
    assert events[-1].total == 8
    assert [path.read_bytes() for path in resumed] == [path.read_bytes() for path in whole]


def test_other_words_and_other_models_have_their_own(model: LoadedModel, tmp_path: Path) -> None:
    (apple, *_), _ = pictures(model, tmp_path, 4)
    (fox, *_), _ = pictures(model, tmp_path, 4, word="fox")
    assert apple.parent != fox.parent
    assert apple.read_bytes() != fox.read_bytes()
    other = replace(model, info=msgspec.structs.replace(model.info, hash="0" * 64))
    (path, *_), _ = pictures(other, tmp_path, 4)
    assert path.parent.parent != apple.parent.parent


def a_class(folder: Path, name: str, size: int, used: int) -> Path:
    """Class pictures of so many bytes that were last used `used` seconds after 1970."""
    own = folder / name
    own.mkdir(parents=True)
    (own / "0000.png").write_bytes(b"x" * size)
    os.utime(own, (used, used))
    return own


def test_what_was_used_longest_ago_goes_where_there_is_too_much(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path, *_), _ = pictures(model, tmp_path, 4)
    own = path.parent
    os.utime(own, (1, 1))  # longest ago, until it is used again
    old, older = a_class(tmp_path, "other/old", 1000, 30), a_class(tmp_path, "other/older", 1000, 20)
    new = a_class(tmp_path, f"{own.parent.name}/new", 1000, 40)
    held = sum(file.stat().st_size for file in own.iterdir())
    monkeypatch.setattr(prior, "MOST_BYTES", held + 2500)
    assert pictures(model, tmp_path, 4)[1] == []
    assert [each.exists() for each in (own, new, old, older)] == [True, True, True, False]
    monkeypatch.setattr(prior, "MOST_BYTES", 0)
    assert pictures(model, tmp_path, 4)[1] == [], "what is in use stays, however much it is"
    assert [folder.name for folder in tmp_path.iterdir()] == [own.parent.name], "a model without any goes as well"
    assert list(own.parent.iterdir()) == [own]
