"""A card of a made-up size, with the real accounting: who gets in, who waits, who is told that it can't be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from generation.card import Card
from generation.engine import Engine
from generation.events import Event, Failed, Finished
from generation.memory import GIB, RESERVED, DoesNotFit, Needs, Plan
from generation.model import LoadedModel, Memory
from generation.offload import Offload
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
    per_rank=GIB / 1024,
)
"""Of latents of 8×8. All in all 1 3/8 GB of weights, and half a GB for each row."""


def on_a_card(model: LoadedModel, gib: float, *offloaded: str) -> LoadedModel:
    return replace(model, memory=Memory(NEEDS, Plan(rows=1, offloaded=offloaded, total=gib * GIB + RESERVED)))


def draw(engine: Engine, **changes: object) -> list[Event]:
    engine.admit("a", ImageRequest(**{"prompt": "a red apple", "seed": 5, "num_inference_steps": 2, **changes}))
    events: list[Event] = []
    while engine.busy:
        events += engine.step()
    return events


@pytest.mark.parametrize(("gib", "rows"), [(1.9, 1), (2.4, 2), (3.4, 4), (5.4, 8)])
def test_a_forward_has_as_many_rows_as_fit(tiny_model: LoadedModel, gib: float, rows: int) -> None:
    """1 3/8 GB and half a GB a row, to a power of two."""
    engine = Engine(on_a_card(tiny_model, gib))
    with Evaluations(tiny_model.unet) as evaluations:
        events = draw(engine, count=4)
    assert isinstance(events[-1], Finished)
    assert max(evaluations.rows) == rows


def test_a_larger_picture_gets_fewer_rows(tiny_model: LoadedModel) -> None:
    card = Card(on_a_card(tiny_model, 3.4), 32)
    assert [card.rows(size) for size in ((8, 8), (16, 8), (16, 16))] == [4, 2, 1]


def test_what_is_offloaded_makes_room(tiny_model: LoadedModel) -> None:
    """Without the text encoders' quarter of a GB, and the VAE's eighth, a second row fits into 2.1 GB."""
    assert Card(on_a_card(tiny_model, 2.1), 32).rows((8, 8)) == 1
    assert Card(on_a_card(tiny_model, 2.1, "text_encoders", "vae"), 32).rows((8, 8)) == 2


def test_a_picture_that_cannot_fit_is_refused_with_the_gigabytes(tiny_model: LoadedModel) -> None:
    """Four times the area: two GB a row."""
    model = on_a_card(tiny_model, 2.4)
    with pytest.raises(DoesNotFit):
        Card(model, 32).rows((16, 16))
    events = draw(Engine(model), width=128, height=128)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.reason == ("A picture of this size needs 4.4 GB of graphics memory; there are 3.4 GB.")


def test_without_a_card_nothing_is_planned(tiny_model: LoadedModel) -> None:
    assert tiny_model.memory is None
    assert Card(tiny_model, 32).rows((512, 512)) == 32


def test_offloaded_parts_are_only_used_while_they_visit(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Texts, start images, previews and pictures: wherever a network runs, `Offload.using` has brought it."""
    visiting: list[str] = []
    outside: list[str] = []
    using = Offload.using

    @contextmanager
    def watched(offload: Offload, name: str) -> Iterator[None]:
        visiting.append(name)
        with using(offload, name):
            yield
        visiting.remove(name)

    monkeypatch.setattr(Offload, "using", watched)

    def check(part: str) -> Callable[..., None]:
        return lambda *_: None if part in visiting else outside.append(part)

    handles = [
        tiny_model.text_encoders[0].register_forward_pre_hook(check("text_encoders")),
        tiny_model.vae.encoder.register_forward_pre_hook(check("vae")),
        tiny_model.vae.decoder.register_forward_pre_hook(check("vae")),
    ]
    model = on_a_card(tiny_model, 3.4, "text_encoders", "vae")
    monkeypatch.setattr(Card, "measure", lambda _: None)  # by CUDA's allocator
    start = tmp_path / "start.png"
    Image.new("RGB", (64, 64), "orange").save(start)
    engine = Engine(model)
    engine.prepare()
    events = draw(engine, init_image=str(start), strength=1.0)
    lazily = Engine(model)
    lazily.admit("a", ImageRequest(prompt="a red apple", seed=5, num_inference_steps=3))
    for _ in range(3):
        lazily.step()
    assert lazily.preview("a") is not None
    for handle in handles:
        handle.remove()
    assert isinstance(events[-1], Finished)
    assert not visiting
    assert not outside


def test_reproducible_on_a_small_card(tiny_model: LoadedModel) -> None:
    engine = Engine(on_a_card(tiny_model, 3.4), reproducible=True)
    with Evaluations(tiny_model.unet) as evaluations:
        events = draw(engine, count=3)
    assert isinstance(events[-1], Finished)
    assert set(evaluations.rows) == {4}


# ── concepts ──


@pytest.mark.parametrize(
    ("gib", "ranks", "lanes", "gathered"),
    [
        (1.9, 128, 0, 0.025 / 4),  # there is always room for one file
        # Eight rows take 5 3/8 GB. 1024 ranks are 1 GB here, and growing takes half as much again.
        (5.375 + 0.75, 256, 0, 0.75 / 4),
        (5.375 + 1.5, 512, 0, 1.5 / 4),
        # A lane is 1 1/4 GB, and 128 ranks stand beside it.
        (5.375 + 1.25 + 0.37, 512, 0, 1.62 / 4),
        (5.375 + 1.25 + 0.38, 128, 1, 0.38 / 4),
        (5.375 + 1.25 + 3, 1024, 1, 3 / 4),
    ],
)
def test_concepts_get_what_is_left(
    tiny_model: LoadedModel, gib: float, ranks: int, lanes: int, gathered: float
) -> None:
    limits = Card(on_a_card(tiny_model, gib), 8).concept_limits()
    assert (limits["ranks"], limits["lanes"]) == (ranks, lanes)
    assert limits["gathered_bytes"] == pytest.approx(gathered * GIB, abs=4)
    assert Card(tiny_model, 8).concept_limits() == {}


def test_what_concepts_may_have_is_kept_from_larger_pictures(tiny_model: LoadedModel) -> None:
    """1.5 GB are for concepts: 0.75 for 512 ranks and twice 0.375 for what is gathered. Eight larger rows want 1."""
    card = Card(on_a_card(tiny_model, 5.375 + 1.5), 8)
    assert card.rows((8, 8)) == 8
    assert card.rows((10, 8)) == 4
    # One row of 4.5 GB leaves too little for concepts: drawn all the same.
    assert card.rows((24, 24)) == 1


# ── measuring ──


def measuring(model: LoadedModel, gib: float, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Needs]) -> Card:
    monkeypatch.setattr("generation.card.measured_needs", run)
    card = Card(on_a_card(model, gib), 32)
    card.measure()
    return card


def test_measured_needs_count(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    card = measuring(tiny_model, 3.4, monkeypatch, lambda needs, *_: replace(needs, per_row=GIB * 0.6))
    assert card.rows((8, 8)) == 2


def test_two_rows_are_not_tried_where_one_fits(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Needs:
        raise AssertionError

    assert measuring(tiny_model, 1.9, monkeypatch, never).rows((8, 8)) == 1


def test_what_cannot_be_measured_stays_computed(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Needs:
        raise torch.OutOfMemoryError

    assert measuring(tiny_model, 3.4, monkeypatch, fail).rows((8, 8)) == 4
