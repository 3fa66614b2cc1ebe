"""One command does what is due, and goes on when called again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import generation
from training.base_model import stages
from training.base_model.configs import Config
from training.base_model.icons import IconSet, write_pack
from training.base_model.stages import Order, due, everything, take_over

BUNDLED = Path(generation.__file__).parent / "bundled"


@pytest.fixture
def order(tmp_path: Path, tiny: Config) -> Order:
    config = replace(tiny, autoencoder_minutes=0.003, minutes=0.01)
    work = tmp_path / "work"
    return Order(config, work, work / "packages", work / "model", torch.device("cpu"), compiled=False)


def prepare(order: Order, icon_set: IconSet) -> None:
    """What the stage ``data`` leaves, without npm."""
    order.work.mkdir()
    write_pack(icon_set, order.pack)
    shutil.copytree(BUNDLED / "tokenizer", order.work / "tokenizer")


def test_everything_from_a_pack_to_a_model(
    order: Order, icon_set: IconSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.base_model.train.draw_grid", lambda *_: None)
    assert due(order) == "data"
    prepare(order, icon_set)
    assert due(order) == "autoencoder"
    everything(order)
    assert due(order) is None
    done = [line.removeprefix("--- ") for line in capsys.readouterr().out.splitlines() if line.startswith("--- ")]
    assert done == ["autoencoder", "rows", "train", "export"]
    assert (order.output / "unet" / "diffusion_pytorch_model.safetensors").exists()


def test_a_call_without_enough_time_leaves_the_rest_to_the_next(
    order: Order, icon_set: IconSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(order, icon_set)
    minutes = iter([0.0, 0.0, 60 * 6.0])  # the start, before the autoencoder, after it

    def pretend(order: Order) -> None:
        (order.work / "autoencoder").mkdir()

    called: list[float | None] = []
    monkeypatch.setattr(stages.time, "monotonic", lambda: next(minutes))
    monkeypatch.setitem(stages.STAGES, "autoencoder", pretend)
    monkeypatch.setitem(stages.STAGES, "rows", lambda order: called.append(order.this_call_minutes) or done(order))

    def done(order: Order) -> None:
        (order.work / "rows.pt").touch()
        monkeypatch.setattr(stages.time, "monotonic", lambda: 60 * 8.5)

    everything(replace(order, this_call_minutes=9))
    assert called == [3]  # of nine minutes, six had gone
    assert due(order) == "train"  # half a minute was too little to begin


def test_every_call_does_something(order: Order, icon_set: IconSet, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(order, icon_set)
    started: list[str] = []

    def begin(order: Order) -> None:
        started.append("autoencoder")
        (order.work / "autoencoder").mkdir()

    monkeypatch.setitem(stages.STAGES, "autoencoder", begin)
    monkeypatch.setattr(stages, "due", lambda _: "train" if started else "autoencoder")
    everything(replace(order, this_call_minutes=0.0001))
    assert started == ["autoencoder"]


def test_a_model_to_start_from_gives_its_tokenizer_and_autoencoder(order: Order) -> None:
    start = replace(order, start_from=BUNDLED)
    take_over(start)
    kept = (start.work / "tokenizer" / "vocab.json").read_bytes()
    assert kept == (BUNDLED / "tokenizer" / "vocab.json").read_bytes()
    assert (start.work / "autoencoder" / "config.json").exists()
    assert due(start) == "data"  # the icons are still to be made
    (start.work / "autoencoder" / "mark").touch()
    take_over(start)  # a second time nothing is overwritten
    assert (start.work / "autoencoder" / "mark").exists()
