"""Concepts come and go: reading in the background, slots, lanes, what waits, what is evicted, what is forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from generation.concepts import file_cache, lanes
from generation.concepts.files import ConceptRefused
from generation.concepts.store import ConceptStore, Placement, Ticket
from generation.model import LoadedModel, load_model
from generation.request import ConceptUse
from tests.generation.concepts.writing import attention_only, peft_style, random_layers, write


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LoadedModel:
    return load_model(str(tiny_folder), device="cpu")


@pytest.fixture
def make_store(model: LoadedModel) -> Iterator[Callable[..., ConceptStore]]:
    made: list[ConceptStore] = []

    def make(**options: Any) -> ConceptStore:
        made.append(ConceptStore(model, **options))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: Callable[..., ConceptStore]) -> ConceptStore:
    return make_store(slots=4, ranks=512)


@pytest.fixture
def lora(model: LoadedModel, tmp_path: Path) -> Callable[..., Path]:
    """A file of its own for each seed."""

    def make(seed: int, *, rank: int = 2, text: bool = False, unet: bool = True) -> Path:
        path = tmp_path / f"{seed}.safetensors"
        if path.exists():
            return path
        layers = random_layers(model.unet, seed=seed, rank=rank, wanted=attention_only) if unet else None
        encoder = [random_layers(model.text_encoders[0], seed=seed, rank=rank)] if text else []
        return write(path, peft_style(layers, *encoder))

    return make


@pytest.fixture
def inversion(tmp_path: Path) -> Path:
    return write(tmp_path / "thing.safetensors", {"<thing>": torch.randn(2, 16)})


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were really read, by name."""
    names: list[str] = []
    read = file_cache.read_concept

    def count(path: Path, model: LoadedModel) -> Any:
        names.append(path.stem)
        return read(path, model)

    monkeypatch.setattr(file_cache, "read_concept", count)
    return names


def use(path: Path, weight: float = 1.0, trigger: str = "") -> ConceptUse:
    return ConceptUse(name=path.stem, path=str(path), weight=weight, trigger=trigger)


def wait_for(store: ConceptStore, ticket: Ticket) -> None:
    deadline = time.monotonic() + 20
    while not ticket.ready():
        store.wait(1)
        assert time.monotonic() < deadline


def place(store: ConceptStore, *uses: ConceptUse) -> Placement | None:
    """At once where there is room, None where there is none."""
    ticket = store.begin(uses)
    wait_for(store, ticket)
    placement = store.acquire(ticket)
    if placement is None and ticket.lane is not None:
        wait_for(store, ticket)
        placement = store.acquire(ticket)
    return placement


def taken(store: ConceptStore, *uses: ConceptUse) -> Placement:
    placement = place(store, *uses)
    assert placement is not None
    return placement


def loaded(store: ConceptStore) -> int:
    return len(store.lora_slots._loaded)


def test_slots_and_weights(store: ConceptStore, lora: Callable[..., Path], model: LoadedModel) -> None:
    first, second = use(lora(1), 0.5, "a fox"), use(lora(2), -1.0)
    placement = taken(store, first, second)
    assert (placement.lane, placement.unet) == ("", model.unet)
    assert len(set(placement.slots[:2])) == 2
    assert 0 not in placement.slots[:2]
    assert placement.slots[2:] == (0, 0)
    assert placement.weights == (0.5, -1.0, 0.0, 0.0)
    assert [(name, weight, len(sha)) for name, weight, sha in placement.used] == [("1", 0.5, 64), ("2", -1.0, 64)]
    assert placement.text.triggers == {"1": "a fox", "2": ""}
    store.lora_slots.route(torch.tensor([placement.slots]), torch.tensor([placement.weights]))


def test_what_needs_no_slot(store: ConceptStore, lora: Callable[..., Path], inversion: Path) -> None:
    text_only = lora(2, text=True, unet=False)
    placement = taken(store, use(inversion), use(lora(1), 0.0, "a fox"), use(text_only))
    assert placement.slots == (0, 0, 0, 0)
    assert [tuple(tensor.shape) for tensor in placement.text.vectors["thing"]] == [(2, 16)]
    assert placement.text.triggers == {"1": "a fox", "2": ""}
    assert [weight for weight, _ in placement.text.loras] == [1.0]
    assert [name for name, _, _ in placement.used] == ["thing", "1", "2"]


def test_the_texts_key_says_what_changes_the_text(store: ConceptStore, lora: Callable[..., Path]) -> None:
    plain, text = lora(1), lora(2, text=True)

    def key(path: Path, weight: float, trigger: str = "") -> Any:
        placement = taken(store, use(path, weight, trigger))
        store.release(placement)
        return placement.text.key

    assert key(plain, 1.0) == key(plain, 0.5)
    assert key(plain, 1.0) != key(plain, 1.0, "a fox")
    assert key(text, 1.0) != key(text, 0.5)
    assert key(text, 1.0) == key(text, 1.0)
    before = key(text, 1.0)
    lora(3, text=True).replace(text)
    assert key(text, 1.0) != before


def test_the_least_recently_used_goes(store: ConceptStore, lora: Callable[..., Path], readings: list[str]) -> None:
    paths = [lora(seed) for seed in range(6)]
    placements = [taken(store, use(path)) for path in paths[:4]]
    slots = [placement.slots[0] for placement in placements]
    assert sorted(slots) == [1, 2, 3, 4]
    for placement in (placements[2], placements[0], placements[1]):
        store.release(placement)
    assert loaded(store) == 4  # idle ones stay
    assert taken(store, use(paths[0])).slots[0] == slots[0]
    assert taken(store, use(paths[4])).slots[0] == slots[2]
    assert taken(store, use(paths[5])).slots[0] == slots[1]
    assert place(store, use(paths[1])) is None
    assert readings == ["0", "1", "2", "3", "4", "5"]


def test_a_slot_is_shared_and_counted(store: ConceptStore, lora: Callable[..., Path]) -> None:
    shared, others = lora(0), [lora(seed) for seed in range(1, 5)]
    first, second = taken(store, use(shared)), taken(store, use(shared, 0.3))
    assert first.slots == second.slots
    for other in others[:3]:
        taken(store, use(other))
    store.release(first)
    assert place(store, use(others[3])) is None
    store.release(second)
    assert taken(store, use(others[3])).slots == second.slots


def test_the_same_file_twice_in_a_request(store: ConceptStore, lora: Callable[..., Path], tmp_path: Path) -> None:
    path = lora(1)
    copied = tmp_path / "copy.safetensors"
    copied.write_bytes(path.read_bytes())
    placement = taken(store, use(path, 0.5), use(copied, 0.25))
    assert placement.slots[0] == placement.slots[1]
    store.release(placement)
    store.forget(placement.used[0][2])
    assert loaded(store) == 0


def test_nothing_is_evicted_in_vain(store: ConceptStore, lora: Callable[..., Path], readings: list[str]) -> None:
    paths = [lora(seed) for seed in range(6)]
    for path in paths[:3]:
        taken(store, use(path))
    idle = taken(store, use(paths[3]))
    store.release(idle)
    ticket = store.begin([use(paths[4]), use(paths[5])])
    wait_for(store, ticket)
    assert store.acquire(ticket) is None
    assert ticket.ready()
    assert taken(store, use(paths[3])).slots == idle.slots
    assert loaded(store) == 4


def test_ranks_are_bounded(make_store: Callable[..., ConceptStore], lora: Callable[..., Path]) -> None:
    store = make_store(slots=16, ranks=512)
    placements = [taken(store, use(lora(seed, rank=128))) for seed in range(4)]
    small = lora(9)
    assert place(store, use(small)) is None
    store.release(placements[1])
    assert taken(store, use(small)).slots[0] == placements[1].slots[0]
    for field, value in (("slots", 3), ("ranks", 127), ("lanes", -1)):
        with pytest.raises(ValueError, match=f"{field} must"):
            make_store(**{field: value})


def test_a_file_is_read_again_when_it_changed(
    make_store: Callable[..., ConceptStore], lora: Callable[..., Path], readings: list[str]
) -> None:
    path, other = lora(1), lora(2)
    store = make_store(slots=4, ranks=512, file_bytes=path.stat().st_size + 10)
    first = taken(store, use(path))
    assert taken(store, use(path)).slots == first.slots
    assert readings == ["1"]
    other.replace(path)
    second = taken(store, use(path))
    assert second.used[0][2] != first.used[0][2]
    assert second.slots != first.slots
    assert readings == ["1", "1"]
    taken(store, use(lora(3)))  # more than may be kept
    taken(store, use(path))
    assert readings == ["1", "1", "3", "1"]


def test_errors_reach_whoever_asked(store: ConceptStore, lora: Callable[..., Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no tensors")
    for path in (broken, tmp_path / "missing.safetensors"):
        ticket = store.begin([use(lora(1)), use(path)])
        wait_for(store, ticket)
        for _ in range(2):
            with pytest.raises(ConceptRefused, match=path.name):
                store.acquire(ticket)
    assert loaded(store) == 0
    lora(7).replace(broken)
    assert taken(store, use(broken)).slots[0]


def test_faults_of_the_program_are_raised_as_they_are(
    store: ConceptStore, lora: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(file_cache, "read_concept", fail)
    with pytest.raises(ZeroDivisionError):
        place(store, use(lora(1)))
    monkeypatch.undo()
    assert taken(store, use(lora(1))).slots[0]
    large = use(lora(2, rank=200))
    monkeypatch.setattr(lanes.Merging, "merged_copies", fail)
    with pytest.raises(ZeroDivisionError):
        place(store, large)
    gone = store.begin([large])
    assert store.acquire(gone) is None
    store.abandon(gone)
    store.wait(20)
    monkeypatch.undo()
    assert taken(store, large).lane


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate")])
def test_out_of_memory_is_a_sentence(
    store: ConceptStore, lora: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(store.lora_slots, "put", fail)
    ticket = store.begin([use(lora(1))])
    wait_for(store, ticket)
    for _ in range(2):
        with pytest.raises(ConceptRefused, match="not enough memory"):
            store.acquire(ticket)
        monkeypatch.undo()
    assert taken(store, use(lora(1))).slots[0]


def test_what_would_wait_for_ever_is_refused(
    make_store: Callable[..., ConceptStore], lora: Callable[..., Path]
) -> None:
    """Where a card leaves little to concepts: one large file, and no copy of the networks."""
    store = make_store(slots=4, ranks=128, lanes=0)
    for uses in ([use(lora(1, rank=128)), use(lora(2))], [use(lora(3, rank=129))]):
        ticket = store.begin(uses)
        wait_for(store, ticket)
        for _ in range(2):
            with pytest.raises(ConceptRefused, match="not enough memory for these concepts"):
                store.acquire(ticket)
    assert taken(store, use(lora(1, rank=128)), use(lora(1, rank=128))).slots[0]


def test_the_fifth_lora_and_large_ranks_are_merged(
    store: ConceptStore, lora: Callable[..., Path], inversion: Path, model: LoadedModel
) -> None:
    five = taken(store, use(inversion), *(use(lora(seed), 0.5) for seed in range(5)))
    assert five.lane
    assert five.unet is not model.unet
    assert (five.slots, five.weights) == ((0,) * 4, (0.0,) * 4)
    assert five.text.vectors.keys() == {"thing"}
    assert loaded(store) == 0
    large = use(lora(9, rank=129))
    assert place(store, large) is None  # one lane at most
    same = taken(store, *(use(lora(seed), 0.5) for seed in range(5)))
    assert (same.lane, same.unet) == (five.lane, five.unet)
    store.release(five)
    assert place(store, large) is None
    store.release(same)
    other = taken(store, large)
    assert other.lane != five.lane
    with torch.no_grad():
        inputs = torch.ones(1, 4, 8, 8), torch.tensor([3]), torch.ones(1, 16, 16)
        merged, plain = other.unet(*inputs).sample, model.unet(*inputs).sample
    assert float((merged - plain).abs().max()) > 1e-3


def test_text_encoders_alone_are_merged_in_the_shared_lane(
    store: ConceptStore, lora: Callable[..., Path], model: LoadedModel
) -> None:
    placement = taken(store, use(lora(1, rank=129, text=True, unet=False)))
    assert (placement.lane, placement.unet) == ("", model.unet)
    assert placement.text.text_encoders[0] is not model.text_encoders[0]
    assert not placement.text.loras
    assert place(store, use(lora(2, rank=129))) is None  # the copy counts
    store.release(placement)
    assert taken(store, use(lora(2, rank=129))).lane


def test_an_abandoned_ticket_gives_its_lane_back(store: ConceptStore, lora: Callable[..., Path]) -> None:
    ticket = store.begin([use(lora(1, rank=129))])
    wait_for(store, ticket)
    assert store.acquire(ticket) is None
    store.abandon(ticket)
    store.abandon(ticket)
    store.wait(20)
    assert taken(store, use(lora(2, rank=129))).lane


def test_forgetting(store: ConceptStore, lora: Callable[..., Path], readings: list[str], model: LoadedModel) -> None:
    """Idle: at once. In use: after release. Not placed yet: refused. Uploaded again: as new."""
    path, large = lora(1), lora(2, rank=129)
    idle, merged = taken(store, use(path)), taken(store, use(large))
    sha256 = idle.used[0][2]
    ticket = store.begin([use(path)])
    store.release(idle)
    store.forget(sha256)
    assert loaded(store) == 0
    assert not any(bank.values.any() for bank in (*store.lora_slots._downs.values(), store.lora_slots._ups))
    with pytest.raises(ConceptRefused, match="<1> was deleted"):
        store.acquire(ticket)
    used, again = taken(store, use(path)), taken(store, use(path))
    assert readings == ["1", "2", "1"]
    store.forget(sha256)
    store.release(used)
    assert loaded(store) == 1
    store.release(again)
    assert loaded(store) == 0
    used = taken(store, use(path))
    store.forget(sha256)
    again = taken(store, use(path))
    store.release(used)
    store.release(again)
    assert loaded(store) == 1
    store.forget(merged.used[0][2])
    assert store._lanes._lanes
    store.release(merged)
    assert not store._lanes._lanes


def test_a_file_that_is_being_read_is_forgotten_too(
    store: ConceptStore, lora: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lora(1)
    sha256 = taken(store, use(path)).used[0][2]
    store._files.forget("something else")
    store._files._readings.clear()
    go_on, read = threading.Event(), file_cache.read_concept

    def slowly(path: Path, model: LoadedModel) -> Any:
        assert go_on.wait(20)
        return read(path, model)

    monkeypatch.setattr(file_cache, "read_concept", slowly)
    before = store.begin([use(path)])
    assert not before.ready()
    assert store.acquire(before) is None
    store.forget(sha256)
    after = store.begin([use(path)])
    go_on.set()
    wait_for(store, after)
    with pytest.raises(ConceptRefused, match="deleted"):
        store.acquire(before)
    assert store.acquire(after) is not None


def test_the_batch_goes_on_while_a_file_is_read(
    store: ConceptStore, lora: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`begin`, `ready` and `acquire` return at once, and other requests' concepts can be released."""
    other = taken(store, use(lora(1)))
    go_on, read = threading.Event(), file_cache.read_concept

    def slowly(path: Path, model: LoadedModel) -> Any:
        assert go_on.wait(20)
        assert threading.current_thread() is not threading.main_thread()
        return read(path, model)

    monkeypatch.setattr(file_cache, "read_concept", slowly)
    ticket = store.begin([use(lora(2))])
    known = store.begin([use(lora(1))])
    assert known.ready()
    assert store.acquire(known) is not None
    assert store.acquire(ticket) is None
    store.wait(0.01)
    store.release(other)
    assert not ticket.ready()
    go_on.set()
    wait_for(store, ticket)
    assert store.acquire(ticket) is not None


def test_closing_leaves_no_thread(make_store: Callable[..., ConceptStore], lora: Callable[..., Path]) -> None:
    others = set(threading.enumerate())  # of engines that earlier tests have left to the garbage collector
    store = make_store()
    taken(store, use(lora(1)))

    def own() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name.startswith("concepts") and t not in others]

    assert own()
    store.close()
    assert not own()


def test_forgetting_all_that_was_read_from_a_folder(
    store: ConceptStore, lora: Callable[..., Path], readings: list[str], tmp_path: Path
) -> None:
    path = lora(1)
    inside = tmp_path / "of-a-training" / "deeper" / path.name
    inside.parent.mkdir(parents=True)
    inside.write_bytes(lora(2).read_bytes())
    for file in (path, inside):
        store.release(taken(store, use(file)))
    store.forget_files(tmp_path / "of-a-training")
    assert len(store._table._entries) == 1
    store.release(taken(store, use(path)))
    assert readings == ["1", "1"], "what is elsewhere stays"
    store.release(taken(store, use(inside)))
    assert readings == ["1", "1", "1"]
