"""Which form of a concept is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from generation.generate import GenerationFailed
from training import finish
from training.events import Phase, Stepped
from training.finish import Finish
from training.order import Card, Method, TrainingOrder, Verdict


class Small:
    trigger = "zwqk dog"


class Whole(Small):
    def save_full_weights(self, path: Path) -> None:
        path.write_bytes(b"whole")


class Forgetful:
    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def forget_concept(self, sha256: str) -> None:
        self.forgotten.append(sha256)


def card(similarity: float | None) -> Card:
    return Card(verdict=Verdict.LEARNED, similarity=similarity)


def chosen(
    learner: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, judged: dict[str, float | Exception | None]
) -> tuple[Path, Card]:
    """`judged` has by file what the judge says. What isn't kept is forgotten by the engine as well."""

    def did_it_learn(*given: Any) -> Generator[Stepped, None, Card]:
        use = given[4]
        assert Path(use.path).is_file()
        assert (use.name, use.trigger) == ("rex", "zwqk dog")
        yield Stepped(Phase.JUDGING, 1, 1)
        said = judged[Path(use.path).name]
        if isinstance(said, Exception):
            raise said
        return card(said)

    monkeypatch.setattr(finish, "did_it_learn", did_it_learn)
    (file := folder / "concept.safetensors").write_bytes(b"small")
    nothing: Any = None
    engine: Any = Forgetful()
    order = TrainingOrder(job="j", method=Method.DREAMBOOTH, name="rex", class_word="dog")
    choosing = Finish(engine, nothing, nothing, order, [], None, 1.0, 0.5).choose(learner, file)
    while True:
        try:
            next(choosing)
        except StopIteration as end:
            kept: Path = end.value[0]
            dropped = {b"small", b"whole"} - {kept.read_bytes()} if len(judged) > 1 else set[bytes]()
            assert engine.forgotten == [hashlib.sha256(content).hexdigest() for content in dropped]
            return end.value


@pytest.mark.parametrize(("full", "kept"), [(0.84, "concept"), (0.86, "full"), (0.2, "concept"), (None, "concept")])
def test_full_weights_are_kept_where_the_smaller_form_loses_more_than_a_twentieth(
    full: float | None, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: dict[str, float | Exception | None] = {"concept.safetensors": 0.8, "full.safetensors": full}
    file, said = chosen(Whole(), tmp_path, monkeypatch, judged)
    assert file == tmp_path / f"{kept}.safetensors"
    assert said == card(full if kept == "full" else 0.8)
    assert list(tmp_path.iterdir()) == [file]


def test_where_full_weights_cannot_be_drawn_with_the_smaller_form_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For want of memory, say: the training was not for nothing."""
    refused = GenerationFailed("There is not enough memory for these concepts.")
    judged: dict[str, float | Exception | None] = {"concept.safetensors": 0.3, "full.safetensors": refused}
    file, said = chosen(Whole(), tmp_path, monkeypatch, judged)
    assert (file.read_bytes(), said) == (b"small", card(0.3))
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(("learner", "similarity"), [(Small(), 0.1), (Whole(), None)])
def test_there_is_nothing_to_compare(
    learner: Any, similarity: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, said = chosen(learner, tmp_path, monkeypatch, {"concept.safetensors": similarity})
    assert (file.read_bytes(), said) == (b"small", card(similarity))
    assert list(tmp_path.iterdir()) == [file]
