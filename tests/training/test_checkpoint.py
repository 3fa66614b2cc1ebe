from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from training import checkpoint
from training.checkpoint import Checkpoints, Notes, load_optimizer, optimizer_tensors
from training.early_stop import EarlyStop
from training.tensors import write_tensors


def notes(step: int, fingerprint: str = "this") -> Notes:
    watch = EarlyStop(patience=2, min_improvement=0.01, min_steps=0)
    watch.take(step, 0.5)
    return Notes(fingerprint=fingerprint, step=step, seconds=1.5, sampled=[0.25], watch=watch)


def save(checkpoints: Checkpoints, values: torch.Tensor, step: int) -> None:
    for _ in checkpoints.save({"a.b": values}, notes(step)):
        pass


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "this")
    values = torch.arange(4.0)
    save(checkpoints, values, 50)
    values += 1  # it was copied
    checkpoints.finish()
    loaded = Checkpoints(tmp_path, "this").load()
    assert loaded is not None
    assert loaded.notes == notes(50)
    assert torch.equal(loaded.tensors["a.b"], torch.arange(4.0))
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]


def test_another_trainings_and_a_damaged_one_are_not_taken_up(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "this")
    assert checkpoints.load() is None
    save(checkpoints, torch.ones(2), 50)
    checkpoints.close()
    assert Checkpoints(tmp_path, "another").load() is None
    file = tmp_path / checkpoint.FILE
    file.write_bytes(file.read_bytes()[:-3])
    assert Checkpoints(tmp_path, "this").load() is None
    write_tensors(file, {"a.b": torch.ones(2)})
    assert Checkpoints(tmp_path, "this").load() is None


def test_while_one_is_written_the_next_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_write, asked = threading.Event(), list[str]()

    def slow(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        asked.append(metadata["notes"])
        may_write.wait(60)

    monkeypatch.setattr(checkpoint, "write_tensors", slow)
    checkpoints = Checkpoints(tmp_path, "this")
    save(checkpoints, torch.ones(2), 50)
    save(checkpoints, torch.ones(2), 100)
    may_write.set()
    checkpoints.finish()
    save(checkpoints, torch.ones(2), 150)
    checkpoints.close()
    assert ['"step":50' in asked[0], '"step":150' in asked[1], len(asked)] == [True, True, 2]


def test_a_disk_that_is_full_is_said_at_the_next_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    checkpoints = Checkpoints(tmp_path, "this")
    save(checkpoints, torch.ones(2), 50)
    with pytest.raises(OSError, match="no space"):
        checkpoints.finish()
    checkpoints.close()


def test_an_optimizer_goes_on_as_if_nothing_had_happened() -> None:
    def trained(steps: int, *, interrupted: bool) -> torch.Tensor:
        weight = nn.Parameter(torch.ones(3))
        optimizer = torch.optim.AdamW([weight], lr=0.1)
        for step in range(steps):
            if interrupted and step == 2:
                kept = {key: value.clone() for key, value in optimizer_tensors(optimizer).items()}
                optimizer = torch.optim.AdamW([weight], lr=0.1)
                load_optimizer(optimizer, kept)
            (weight * torch.tensor([1.0, step, 3.0])).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return weight.detach()

    assert torch.equal(trained(5, interrupted=True), trained(5, interrupted=False))


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": torch.ones(2)})
    before = path.read_bytes()

    def cut_off(tensors: object, file: Path, metadata: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("training.tensors.save_file", cut_off)
    with pytest.raises(OSError, match="no space"):
        write_tensors(path, {"a": torch.zeros(2)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
