"""Files of trainings and concepts, and what is left of a killed bot."""

import logging
from pathlib import Path

import pytest

from bot.concept_folders import ConceptFolders


@pytest.fixture
def folders(tmp_path: Path) -> ConceptFolders:
    return ConceptFolders(tmp_path)


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_photos_in_order(folders: ConceptFolders) -> None:
    photos = [bytes([65 + index]) for index in range(10)]
    folders.keep_photos("job", photos)
    assert [path.read_bytes() for path in folders.photos("job")] == photos
    assert folders.photos("other") == []
    folders.remove_training("job")
    folders.remove_training("job")
    assert not folders.training("job").exists()


def test_progress_is_a_later_step_not_a_later_file(folders: ConceptFolders) -> None:
    folders.keep_photos("job", [b"x"])
    assert not folders.progressed("job")
    folders.begin("job", "model")
    assert not folders.progressed("job")
    (folders.training("job") / "checkpoint.safetensors").write_bytes(b"\xff" * 100)
    assert not folders.progressed("job"), "what can't be read is none"


def test_another_model_begins_anew_with_the_same_photos(folders: ConceptFolders) -> None:
    folders.keep_photos("job", [b"x"])
    folders.begin("job", "one")
    put(folders.training("job") / "latents.safetensors", folders.training("job") / "samples" / "0.png")
    folders.begin("job", "one")
    assert (folders.training("job") / "latents.safetensors").exists()
    folders.begin("job", "two")
    assert {path.name for path in folders.training("job").iterdir()} == {"photos", ".begun"}
    assert len(folders.photos("job")) == 1


def test_at_start_what_nobody_knows_goes(
    folders: ConceptFolders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for job in ("live", "dead"):
        put(folders.training(job) / "photos" / "0.png", folders.of(job) / "concept.safetensors")
    put(
        folders.of("kept") / "concept.safetensors", folders.prior / "m" / "0.png", tmp_path / "drafts" / "1" / "0.png"
    )
    versions = {"kept": "concepts/kept/concept.safetensors", "lost": "concepts/lost/concept.safetensors"}
    with caplog.at_level(logging.WARNING):
        folders.tidy_up(["live"], versions, known=True)
    assert [path.name for path in (tmp_path / "trainings").iterdir()] == ["live"]
    assert sorted(path.name for path in (tmp_path / "concepts").iterdir()) == ["kept", "live"]
    assert folders.prior.exists()
    assert (tmp_path / "drafts" / "1").exists(), "somebody else looks after them"
    assert [record.getMessage() for record in caplog.records] == ["the file of concept version lost is missing"]


def test_a_new_database_beside_old_concepts_removes_none(
    folders: ConceptFolders, caplog: pytest.LogCaptureFixture
) -> None:
    put(folders.of("old") / "concept.safetensors", folders.training("old") / "photos" / "0.png")
    with caplog.at_level(logging.WARNING):
        folders.tidy_up([], {}, known=False)
    assert folders.of("old").exists()
    assert not folders.training("old").exists(), "photos go all the same"
    assert "1 concepts are here that the database does not know" in caplog.text
    folders.mark_deleted(["old", "none"])
    folders.tidy_up([], {"old": "concepts/old/concept.safetensors"}, known=False)
    assert folders.of("old").exists(), "the bot was killed before its rows went"
    folders.tidy_up([], {}, known=False)
    assert not any((folders.of("old").parent).iterdir())
