"""Two lines of requests on one model: neither moves, changes or waits for the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generation.concepts import file_cache
from generation.engine import Engine
from generation.events import Event, Finished, ImageReady
from generation.model import LoadedModel
from generation.request import ConceptUse, ImageRequest
from tests.generation.concepts.writing import linear_only, peft_style, random_layers, write


def request(prompt: str = "a red apple", **changes: Any) -> ImageRequest:
    return ImageRequest(**{"prompt": prompt, "seed": 5, "num_inference_steps": 4, **changes})


@pytest.fixture
def concept(tiny_model: LoadedModel, tmp_path: Path) -> ConceptUse:
    layers = random_layers(tiny_model.unet, seed=3, rank=4, wanted=linear_only)
    return ConceptUse(name="thing", path=str(write(tmp_path / "thing.safetensors", peft_style(layers))))


def drawn(events: list[Event]) -> dict[str, np.ndarray[Any, Any]]:
    ready = (event for event in events if isinstance(event, ImageReady))
    return {f"{event.request_id}{event.index}": np.asarray(event.image) for event in ready}


def to_the_end(engine: Engine, after_each: Callable[[], object] = lambda: None) -> dict[str, np.ndarray[Any, Any]]:
    events: list[Event] = []
    while engine.busy:
        events += engine.step()
        after_each()
    return drawn(events)


def test_a_step_of_one_line_leaves_the_other_where_it_is(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    beside = engine.beside()
    engine.admit("one", request())
    assert engine.busy
    assert not beside.busy
    assert beside.step() == []
    beside.admit("one", request("a green fox"))  # the same id: other requests
    for _ in range(3):
        engine.step()
    assert beside.preview("one") is None
    assert engine.preview("one") is not None
    assert not beside.cancel("two")
    assert beside.cancel("one")
    assert len(beside.step()) == 1
    assert not beside.holds("one")
    assert engine.holds("one")


def test_pictures_are_byte_equal_whatever_the_line_beside_draws(tiny_model: LoadedModel, concept: ConceptUse) -> None:
    engine = Engine(tiny_model, reproducible=True)
    beside = engine.beside()
    plain, using = request(count=2), request("a <thing>", concepts=(concept,))
    engine.admit("p", plain)
    engine.admit("u", using)
    expected = to_the_end(engine)
    assert not np.array_equal(expected["u0"], expected["p0"])

    engine.admit("p", plain)
    beside.admit("u", using)
    beside_said: list[Event] = []
    found = to_the_end(engine, lambda: beside_said.extend(beside.step()))
    found |= drawn(beside_said) | to_the_end(beside)
    assert {name: (found[name] == image).all() for name, image in expected.items()} == dict.fromkeys(expected, True)


def test_closing_the_line_beside_gives_its_slots_back_and_the_engine_goes_on(
    tiny_model: LoadedModel, concept: ConceptUse
) -> None:
    engine = Engine(tiny_model)
    beside = engine.beside()
    beside.admit("u", request("a <thing>", concepts=(concept,)))
    while beside.preview("u") is None:
        beside.step()
    beside.close()
    assert not beside.busy
    engine.admit("u", request("a <thing>", concepts=(concept,)))  # read by the thread that is still there
    events: list[Event] = []
    while engine.busy:
        events += engine.step()
    assert events[-1] == Finished("u")
    engine.close()


def test_a_step_that_could_only_wait_says_so(
    tiny_model: LoadedModel, concept: ConceptUse, monkeypatch: pytest.MonkeyPatch
) -> None:
    readable = threading.Event()
    read = file_cache.read_concept

    def read_later(*arguments: Any) -> Any:
        assert readable.wait(60)
        return read(*arguments)

    monkeypatch.setattr(file_cache, "read_concept", read_later)
    engine = Engine(tiny_model)
    assert engine.step() == []
    assert not engine.stalled
    engine.admit("u", request("a <thing>", concepts=(concept,)))
    for _ in range(2):
        assert engine.step() == []
        assert engine.stalled
    readable.set()
    while not engine.step():
        pass
    assert not engine.stalled
    engine.close()
