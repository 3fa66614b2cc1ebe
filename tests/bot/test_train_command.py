"""`atelier train`, and `atelier imagine --concept` with what it made; on a tiny model."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.concept_notes import ConceptNotes, NoConceptFile, copy_with_notes, read_notes
from bot.imagine_command import Wanted as Imagine
from bot.imagine_command import concept_use, imagine_to_files
from bot.train_command import Wanted, train_to_file
from generation.request import InvalidRequest
from tests.training.odd_photos import photo
from training.order import Depicts, Method

NOTES = ConceptNotes(
    name="cat", trigger="zwqk cat", class_word="cat", method=Method.LORA, depicts=Depicts.THING, model_hash="ab" * 32
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"photo {number}.jpg" for number in range(3)]
    for number, path in enumerate(paths):
        photo(number).save(path)
    return paths


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Draws in two steps, so that samples cost little."""
    copy = shutil.copytree(tiny_model_folder, tmp_path_factory.mktemp("quick") / "model")
    (copy / "atelier.json").write_text('{"num_inference_steps": 2}')
    return str(copy)


def wanted(files: list[Path], **values: Any) -> Wanted:
    defaults = {
        "photos": files,
        "method": Method.TEXTUAL_INVERSION,
        "name": "<My-Cat>",
        "class_word": "fox",
        "depicts": Depicts.THING,
        "output": None,
        "steps": 1,
        "prior_preservation": None,
        "seed": 0,
        "model": None,
    }
    return Wanted(**{**defaults, **values})


def test_photos_become_a_file(
    photos: list[Path], model: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.png").write_text("not a picture")
    files = [*photos, folder / "bad.png"]
    order = wanted(files, model=model, output=Path("new/cat.safetensors"))
    assert train_to_file(order) == 0
    said = capsys.readouterr()
    assert said.out == "new/cat.safetensors\n"
    assert "photo 0.jpg: Used.\n" in said.err
    assert "bad.png: Not used: this file is not a PNG" in said.err
    assert '"a photo of <my-cat>" --concept my-cat=new/cat.safetensors' in said.err
    assert sorted(path.name for path in (folder / "new").iterdir()) == ["cat-strip.png", "cat.safetensors"]
    with Image.open("new/cat-strip.png") as strip:
        assert strip.format == "PNG"
    notes = read_notes(Path("new/cat.safetensors"))
    assert notes is not None
    assert (notes.name, notes.method, notes.class_word) == ("my-cat", Method.TEXTUAL_INVERSION, "fox")


def test_what_was_trained_is_drawn_with(photos: list[Path], model: str) -> None:
    order = wanted(photos, method=Method.DREAMBOOTH, model=model, prior_preservation=False)
    assert train_to_file(order) == 0
    asked: dict[str, Any] = dict.fromkeys(("height", "image", "strength", "scheduler"))
    values = asked | {"prompts": ["<My-Cat> in snow"], "negative_prompt": "", "guidance_scale": 1.0, "seed": 1}
    values |= {"num_inference_steps": 1, "count": 1, "width": None, "model": model}
    assert imagine_to_files(Imagine(**values, concepts=["my-cat=my-cat.safetensors"]), Path("cat.png")) == 0
    with Image.open("cat.png") as picture:
        said = picture.text["parameters"]  # type: ignore[attr-defined]
    assert said.startswith("<My-Cat> in snow")
    assert hashlib.sha256(Path("my-cat.safetensors").read_bytes()).hexdigest()[:10] in said


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"name": "../x"}, "A concept's name has"),
        ({"class_word": "!!"}, "class must be one to four plain words"),
        ({"photos": []}, "A training takes 3 to 10 files."),
        ({"photos": [Path("a.png"), Path("b.png"), Path("c.png")]}, "a.png: No such file or directory"),
        ({"model": "no/such/model/here"}, "no/such/model/here"),
        ({"output": Path()}, "output must be a file"),
    ],
)
def test_a_mistake_is_one_sentence(
    values: dict[str, object], says: str, photos: list[Path], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.iterdir())
    assert train_to_file(wanted(photos, **values)) == 2
    said = capsys.readouterr().err.strip()
    assert says in said
    assert len(said.splitlines()) == 1
    assert sorted(folder.iterdir()) == before


def test_too_few_photos_that_can_be_used(
    photos: list[Path], model: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = [photos[0], photos[0], photos[1]]
    assert train_to_file(wanted(same, model=model)) == 2
    assert "photo 0.jpg: Not used: it is the same picture as “photo 0.jpg”." in (said := capsys.readouterr().err)
    assert said.endswith("and only 2 of these can be used: send some more.\n")
    assert sorted(path.name for path in folder.iterdir()) == [*(photo.name for photo in photos)], "nothing is left"


# ── imagine --concept ──


def test_what_a_concept_option_may_be(folder: Path) -> None:
    for text in ("my-cat", "my-cat=", "../x=file", "=file"):
        (folder / "file").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
        with pytest.raises(InvalidRequest):
            concept_use(text)
    assert concept_use("<My-Cat>=file").trigger == ""
    copy_with_notes(folder / "file", folder / "noted", NOTES)
    assert concept_use("cat=noted").trigger == "zwqk cat"
    assert (concept_use("My-Cat=file").name, concept_use("a=file").path) == ("my-cat", "file")
    (folder / "pickle.pt").write_bytes(b"\x80\x04")
    with pytest.raises(NoConceptFile, match=r"pickle\.pt is not a safetensors file"):
        concept_use("a=pickle.pt")


def test_notes_are_small() -> None:
    """Other programs show them: nothing personal, no path."""
    assert set(ConceptNotes.__struct_fields__) == {
        *("name", "trigger", "class_word", "method", "depicts", "model_hash", "model_name")
    }
