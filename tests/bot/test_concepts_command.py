"""`atelier concepts`, as an operator uses it."""

import asyncio
import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from bot import concepts_command as commands
from bot.concept_folders import ConceptFolders
from bot.concept_notes import ConceptNotes, copy_with_notes, read_notes
from bot.concepts import Concept, NewVersion
from bot.registry.registry import Registry
from training.order import Card, Depicts, Method, TrainedConcept, Verdict

VECTORS = {"<x>": np.ones((2, 8), np.float32)}
NOTES = ConceptNotes(
    name="cat", trigger="zwqk cat", class_word="cat", method=Method.LORA, depicts=Depicts.SELF, model_hash="ab" * 32
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(VECTORS, tmp_path / "words.safetensors")
    return tmp_path / "words.safetensors"


def imported(path: Path, **values: Any) -> int:
    told = {"file": path, "name": None, "class_word": None, "depicts": None, "owner": 7, **values}
    return commands.import_concept(commands.Imported(**told), playground=False)


def kept(folder: Path) -> list[Concept]:
    async def read() -> list[Concept]:
        async with Registry(folder) as registry:
            return await registry.concepts.all()

    return asyncio.run(read())


async def add_trained(folder: Path, file: Path, now: datetime, owner: int = 8) -> None:
    card = Card(verdict=Verdict.LEARNED, similarity=0.815, drift=0.3)
    async with Registry(folder) as registry:
        path = ConceptFolders(folder).keep_file("v1", file.read_bytes())
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        trained = TrainedConcept(
            file=path, sha256=digest, trigger="zwqk dog", steps=300, stopped_early=True, seconds=61.2, card=card
        )
        new = NewVersion(
            id="v1",
            owner_id=owner,
            guild_id=5,
            name="cat",
            depicts=Depicts.THING,
            consent="1",
            method=Method.LORA,
            class_word="dog",
            trigger="zwqk dog",
            path=path,
            sha256=digest,
            bytes=file.stat().st_size,
            model_hash="cd" * 32,
            model_name="bundled",
            trained=trained,
            created_at=now,
        )
        await registry.concepts.add(new, concepts_at_most=5)


@pytest.mark.parametrize(
    "command",
    [
        lambda: commands.list_concepts(playground=False),
        lambda: commands.show_concept("cat", None, playground=False),
        lambda: commands.delete_concept("cat", None, playground=False),
        lambda: commands.export_concept("cat", None, None, playground=True),
    ],
    ids=["list", "show", "delete", "export"],
)
def test_no_data_folder_makes_none(command: object, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 2
    assert "set ATELIER_DATA_DIR" in capsys.readouterr().err
    assert not folder.exists()


def test_a_file_becomes_a_concept_and_goes_again(
    folder: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(file, class_word="Cat", name="<My-Cat>") == 0
    said = capsys.readouterr().out
    assert said == "<my-cat> of member 7: cat (thing), textual_inversion, 1 version, private\n"
    (concept,) = kept(folder)
    assert (concept.owner_id, concept.consent, concept.version.trained) == (7, "command line", None)
    assert (folder / concept.version.path).read_bytes() == file.read_bytes()
    assert commands.list_concepts(playground=False) == 0
    assert capsys.readouterr().out == said
    assert commands.delete_concept("my-cat", None, playground=False) == 0
    assert capsys.readouterr().out == "<my-cat> of member 7 is deleted.\n"
    assert kept(folder) == []
    assert list((folder / "concepts").iterdir()) == []
    assert commands.list_concepts(playground=False) == 0
    assert capsys.readouterr().out == "There are no concepts.\n"


def test_the_file_speaks_for_itself(folder: Path, file: Path, tmp_path: Path) -> None:
    copy_with_notes(file, tmp_path / "noted", NOTES)
    assert imported(tmp_path / "noted") == 0
    (concept,) = kept(folder)
    assert (concept.name, concept.depicts) == ("cat", Depicts.SELF)
    version = concept.version
    assert (version.trigger, version.class_word, version.model_hash) == ("zwqk cat", "cat", "ab" * 32)
    assert commands.export_concept("cat", None, tmp_path / "new" / "out", playground=False) == 0
    assert read_notes(tmp_path / "new" / "out") == NOTES


async def test_exporting_and_showing_beside_a_running_bot(
    folder: Path, file: Path, now: datetime, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    await add_trained(folder, file, now)
    async with Registry(folder):
        assert await asyncio.to_thread(commands.show_concept, "cat", None, playground=False) == 0
        shown = capsys.readouterr().out.splitlines()
        assert shown[0] == "<cat> of member 8: dog (thing), lora, 1 version, private"
        assert shown[1] == "  1, 2030-01-02 03:04 UTC: 0.0 MB for bundled"
        assert shown[3:] == ["    300 steps in 61 s", "    learned, similarity 0.81, drift 0.30"]
        assert await asyncio.to_thread(commands.export_concept, "cat", None, None, playground=False) == 0
        assert capsys.readouterr().out == "cat.safetensors\n"
        notes = read_notes(tmp_path / "cat.safetensors")
        assert notes is not None
        assert (notes.trigger, notes.model_hash) == ("zwqk dog", "cd" * 32)
        changing = [
            lambda: imported(file, class_word="x"),
            lambda: commands.delete_concept("cat", 8, playground=False),
        ]
        for change in changing:
            assert await asyncio.to_thread(change) == 2
            assert "Another Atelier already uses the data folder" in capsys.readouterr().err


async def test_two_members_with_the_same_name(
    folder: Path, file: Path, now: datetime, capsys: pytest.CaptureFixture[str]
) -> None:
    await add_trained(folder, file, now)
    assert await asyncio.to_thread(lambda: imported(file, class_word="cat", name="cat")) == 0
    assert await asyncio.to_thread(commands.show_concept, "cat", None, playground=False) == 2
    assert "say whose with --owner (" in capsys.readouterr().err
    assert await asyncio.to_thread(commands.delete_concept, "<CAT>", 7, playground=False) == 0
    assert [concept.owner_id for concept in await asyncio.to_thread(kept, folder)] == [8]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "Say what kind of thing it is with --class-word"),
        ({"class_word": "cat", "owner": None}, "Say whose concept it will be"),
        ({"class_word": "cat", "name": "../x"}, "letters a to z"),
        ({"file": Path("missing"), "class_word": "cat"}, "missing: No such file"),
        ({"file": Path("odd"), "class_word": "cat"}, "odd is not a safetensors file."),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(
    values: dict[str, object], says: str, folder: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("odd").write_bytes(b"\x80\x04 a pickle")
    assert imported(file, **values) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
    assert not (folder / "concepts").exists()


def test_a_concept_too_many_leaves_no_file(
    folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATELIER_CONCEPTS_PER_MEMBER", "1")
    assert imported(file, class_word="cat", name="one") == 0
    assert imported(file, class_word="cat", name="two") == 2
    assert "1 is the most here" in capsys.readouterr().err
    assert len(list((folder / "concepts").iterdir())) == 1


def test_an_unknown_name(folder: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(file, class_word="cat", name="one")
    assert commands.delete_concept("two", None, playground=False) == 2
    assert capsys.readouterr().err == "Nobody has a concept <two>: atelier concepts list shows all.\n"
