"""One command does what is due, and goes on when called again."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import torch

import generation
from training.base_model import stages
from training.base_model.configs import Config
from training.base_model.icons import IconSet, write_pack
from training.base_model.rows import Rows, known_subjects
from training.base_model.stages import Order, decoder, due, everything, icons_of, take_over, training
from training.base_model.train import Run, minutes_trained

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


@dataclass
class Day:
    """A clock in minutes, stages that take as long as they are said to, and what was begun."""

    work: Path
    monkeypatch: pytest.MonkeyPatch
    minutes: dict[str, float]
    now: float = 0.0
    begun: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.monkeypatch.setattr(stages.time, "monotonic", lambda: 60 * self.now)
        self.monkeypatch.setattr(stages, "due", lambda _: next((name for name in self.minutes), None))
        for name in self.minutes:
            self.monkeypatch.setitem(stages.STAGES, name, partial(self.run, name))

    def run(self, name: str, _: Order) -> None:
        self.begun.append(name)
        self.now += self.minutes.pop(name)


@pytest.mark.parametrize(
    ("minutes", "begun", "next_stage"),
    [
        (20, ["autoencoder", "rows", "train", "export"], None),
        (14.4, ["autoencoder", "rows", "train"], "export"),  # the last needs half a minute
        (9.9, ["autoencoder", "rows"], "train"),  # compiling and a little more: three
        (7.9, ["autoencoder"], "rows"),  # three too
        (5.6, ["autoencoder"], "rows"),  # four minutes and one and a half
    ],
)
def test_a_stage_begins_only_if_it_will_end_in_time(
    order: Order,
    minutes: float,
    begun: list[str],
    next_stage: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    order = replace(order, config=replace(order.config, autoencoder_minutes=4), deadline=60 * minutes)
    day = Day(order.work, monkeypatch, {"autoencoder": 5, "rows": 2, "train": 7, "export": 0.2})
    everything(order)
    assert day.begun == begun
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .startswith(f"next: {next_stage}" if next_stage else str(order.output))
    )


def test_a_call_too_short_for_anything_says_so(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    order = replace(order, config=replace(order.config, autoencoder_minutes=4), deadline=60 * 5.4)
    day = Day(order.work, monkeypatch, {"autoencoder": 5})
    with pytest.raises(RuntimeError, match=r"autoencoder needs 5.5 minutes and 5.4 are left.*--this-call-minutes"):
        everything(order)
    assert day.begun == []


def test_reading_the_rows_counts(order: Order, icon_set: IconSet, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(order, icon_set)
    now, one = [0.0], Rows(torch.ones(1, 4, 8, 8).half(), torch.zeros(1, 4, 32, dtype=torch.long))

    def read(*_: object) -> Rows:
        now[0] += 60
        return one

    def step(run: Run, *_: object) -> None:
        run.step += 1
        now[0] += 1

    monkeypatch.setattr(stages, "load_rows", read)
    monkeypatch.setattr("training.base_model.train.train_step", step)
    monkeypatch.setattr("training.base_model.train.draw_grid", lambda *_: None)
    monkeypatch.setattr(stages.time, "monotonic", lambda: now[0])
    training(replace(order, minutes=10, deadline=100))
    assert now[0] == 80  # twenty seconds are for the pictures
    assert minutes_trained(order.work / "checkpoint.pt", order.config) == pytest.approx(20 / 60)


def test_a_call_begins_when_the_program_does(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.base_model import __main__ as program

    given: list[Order] = []
    monkeypatch.setattr(program, "STARTED", 1000.0)
    monkeypatch.setattr(program, "everything", given.append)
    for more in ([], ["--this-call-minutes", "8.5"]):
        monkeypatch.setattr("sys.argv", ["base_model", "all", "--work", str(order.work), "--device", "cpu", *more])
        program.main()
    assert [order.deadline for order in given] == [math.inf, 1510.0]


def make_everything(order: Order, icon_set: IconSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.base_model.train.draw_grid", lambda *_: None)
    prepare(order, icon_set)
    everything(order)
    assert due(order) is None


@pytest.mark.soak
def test_a_sharper_decoder_is_exported(order: Order, icon_set: IconSet, monkeypatch: pytest.MonkeyPatch) -> None:
    make_everything(order, icon_set, monkeypatch)
    decoder(replace(order, minutes=0.002))
    assert due(order) == "export"
    everything(order)
    assert due(order) is None


def test_icons_of_another_configuration_are_refused(order: Order, icon_set: IconSet) -> None:
    prepare(order, icon_set)
    for changed in ({"picture_size": 32}, {"styles": ("noto",)}):
        with pytest.raises(RuntimeError, match=r"icons.pack isn't of the configuration tiny: delete it"):
            icons_of(replace(order, config=replace(order.config, **changed)))


def test_other_icons_than_those_of_the_rows_are_refused(
    order: Order, icon_set: IconSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_everything(order, icon_set, monkeypatch)
    write_pack(replace(icon_set, icons=icon_set.icons.flip(2)), order.pack)
    stages.load_icons_once.cache_clear()
    with pytest.raises(RuntimeError, match=r"another icons.pack: delete it and checkpoint.pt"):
        everything(order)


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


def test_an_export_tells_what_the_model_to_start_from_knew(
    order: Order, icon_set: IconSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(order, icon_set)
    given: list[tuple[str, ...]] = []
    monkeypatch.setattr(stages, "export", lambda *arguments: given.append(arguments[-1]))
    for start_from in (None, BUNDLED):
        stages.exporting(replace(order, start_from=start_from))
    assert given == [(), known_subjects(BUNDLED)]
