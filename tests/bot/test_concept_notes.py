"""What a concept's file says of itself, read by us and skipped by everybody else."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from bot.concept_notes import ConceptNotes, NoConceptFile, copy_with_notes, read_notes
from training.order import Depicts, Method

NOTES = ConceptNotes(
    name="my-cat",
    trigger="zwqk ß 猫",
    class_word="cat",
    method=Method.LORA,
    depicts=Depicts.THING,
    model_hash="ab" * 32,
    model_name="bundled",
)
TENSORS = {"lora_unet_x.lora_down.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "a": np.ones(5, np.float16)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "cat.safetensors", {"format": "pt"})
    return tmp_path / "cat.safetensors"


def test_weights_and_what_else_was_said_stay(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "noted.safetensors"
    copy_with_notes(file, target, NOTES)
    copy_with_notes(target, target, NOTES)
    assert read_notes(target) == NOTES
    assert int.from_bytes(target.read_bytes()[:8], "little") % 8 == 0  # tensors are aligned, for those who map them
    again = load_file(target)  # by the format's own library
    assert again.keys() == TENSORS.keys()
    assert all((again[name] == TENSORS[name]).all() for name in TENSORS)
    with safe_open(target, "np") as opened:
        assert opened.metadata()["format"] == "pt"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.safetensors", "noted.safetensors"]


def test_a_file_from_elsewhere_has_none(file: Path, tmp_path: Path) -> None:
    assert read_notes(file) is None
    save_file(TENSORS, tmp_path / "b", {"atelier_concept": '{"name": 7}'})
    assert read_notes(tmp_path / "b") is None
    long = msgspec.structs.replace(NOTES, model_name="x" * 1000)
    save_file(TENSORS, tmp_path / "b", {"atelier_concept": msgspec.json.encode(long).decode()})
    assert read_notes(tmp_path / "b") is None, "members read the model's name"
    save_file(TENSORS, tmp_path / "c")
    assert read_notes(tmp_path / "c") is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        b"\x80\x04pickle",
        b"\xff" * 100,
        b"\x02\0\0\0\0\0\0\0[]",
        b"\x09\0\0\0\0\0\0\0{" + b"[" * 200_000,
    ],
)
def test_what_is_no_such_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(data)
    with pytest.raises(NoConceptFile, match=r"odd.safetensors is not a safetensors file\."):
        read_notes(path)
    with pytest.raises(NoConceptFile):
        copy_with_notes(path, tmp_path / "out", NOTES)
    assert [path.name for path in tmp_path.iterdir()] == ["odd.safetensors"]


def test_the_one_in_the_way_stays_where_the_copy_fails(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("before")
    with pytest.raises(FileNotFoundError):
        copy_with_notes(tmp_path / "missing", target, NOTES)
    assert target.read_text() == "before"
