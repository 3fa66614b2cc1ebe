"""A card of a made-up size, with the real accounting: who gets in, who waits, who is told that it can't be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from generation import card as card_module
from generation.card import Card
from generation.engine import Engine
from generation.events import Event, Failed, Finished
from generation.memory import GIB, RESERVED, DoesNotFit, Needs, Plan
from generation.model import LoadedModel, Memory
from generation.request import ImageRequest
from tests.generation.stock import Evaluations

NEEDS = Needs(
    text_encoders=GIB // 4,
    unet=GIB,
    vae=GIB // 8,
    area=64,
    base=0.0,
    per_row=GIB / 2,
    decode=GIB / 4,
    decode_tiled=GIB / 16,
)
"""Of latents of 8×8. All in all 1 3/8 GB of weights, and half a GB for each row."""


def on_a_card(model: LoadedModel, gib: float, monkeypatch: pytest.MonkeyPatch, *offloaded: str) -> LoadedModel:
    monkeypatch.setattr(card_module, "card_bytes", lambda _: gib * GIB + RESERVED)
    return replace(model, memory=Memory(NEEDS, Plan(rows=1, offloaded=offloaded)))


def draw(engine: Engine, **changes: object) -> list[Event]:
    engine.admit("a", ImageRequest(**{"prompt": "a red apple", "seed": 5, "num_inference_steps": 2, **changes}))
    events: list[Event] = []
    while engine.busy:
        events += engine.step()
    return events


@pytest.mark.parametrize(("gib", "rows"), [(1.9, 1), (2.4, 2), (3.4, 4), (5.4, 8)])
def test_a_forward_has_as_many_rows_as_fit(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch, gib: float, rows: int
) -> None:
    """1 3/8 GB and half a GB a row, to a power of two."""
    engine = Engine(on_a_card(tiny_model, gib, monkeypatch))
    with Evaluations(tiny_model.unet) as evaluations:
        events = draw(engine, count=4)
    assert isinstance(events[-1], Finished)
    assert max(evaluations.rows) == rows


def test_a_larger_picture_gets_fewer_rows(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(on_a_card(tiny_model, 3.4, monkeypatch), 32)
    assert [card.rows(size) for size in ((8, 8), (16, 8), (16, 16))] == [4, 2, 1]


def test_what_is_offloaded_makes_room(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the text encoders' quarter of a GB, and the VAE's eighth, a second row fits into 2.1 GB."""
    assert Card(on_a_card(tiny_model, 2.1, monkeypatch), 32).rows((8, 8)) == 1
    assert Card(on_a_card(tiny_model, 2.1, monkeypatch, "text_encoders", "vae"), 32).rows((8, 8)) == 2


def test_a_picture_that_cannot_fit_is_refused_with_the_gigabytes(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times the area: two GB a row."""
    model = on_a_card(tiny_model, 2.4, monkeypatch)
    with pytest.raises(DoesNotFit):
        Card(model, 32).rows((16, 16))
    events = draw(Engine(model), width=128, height=128)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.reason == ("A picture of this size needs 4.4 GB of graphics memory; there are 3.4 GB.")


def test_without_a_card_nothing_is_planned(tiny_model: LoadedModel) -> None:
    assert tiny_model.memory is None
    assert Card(tiny_model, 32).rows((512, 512)) == 32
