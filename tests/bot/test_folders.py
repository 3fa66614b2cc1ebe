import errno
import io
import shutil
from pathlib import Path
from typing import BinaryIO

import pytest
from PIL import Image

from bot.errors import StartImageGone
from bot.folders import JobFolders
from bot.job import JobState
from generation.image_input import ImageRefused


@pytest.fixture
def folders(tmp_path: Path) -> JobFolders:
    return JobFolders(tmp_path)


def photo() -> bytes:
    image = Image.new("RGB", (40, 30), "red")
    exif = image.getexif()
    exif[0x9286] = "where I live"
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_only_the_pixels_of_a_start_image_are_kept(folders: JobFolders, tmp_path: Path) -> None:
    assert b"where I live" in photo()
    kept = folders.keep_start_image("j", photo() + b"PK\x03\x04 a zip archive")
    assert kept == "images/j/start.png"
    data = (tmp_path / kept).read_bytes()
    assert b"where I live" not in data
    assert b"zip archive" not in data
    with Image.open(folders.absolute(kept)) as image:
        assert (image.format, image.size, dict(image.getexif())) == ("PNG", (40, 30), {})
    assert [path.name for path in folders.of("j").iterdir()] == ["start.png"]


def test_a_refused_one_makes_no_folder(folders: JobFolders) -> None:
    with pytest.raises(ImageRefused):
        folders.keep_start_image("j", b"text")
    assert not folders.of("j").exists()


def test_removing(folders: JobFolders) -> None:
    kept = folders.keep_start_image("j", photo())
    (folders.of("j") / "1-0.png").write_bytes(b"x")
    folders.remove_drawn("j")
    assert [path.name for path in folders.of("j").iterdir()] == ["start.png"]
    assert folders.copy_start_image("k", kept) == "images/k/start.png"
    folders.remove("j")
    folders.remove("j")
    with pytest.raises(StartImageGone):
        folders.copy_start_image("l", kept)
    assert not folders.of("l").exists()
    assert folders.of("k").exists()


def test_a_large_start_image_is_kept_smaller(folders: JobFolders) -> None:
    for size, kept_size in (((3000, 1500), (2048, 1024)), ((4096, 16), (2048, 16)), ((2048, 20), (2048, 20))):
        file = io.BytesIO()
        Image.new("RGB", size, "red").save(file, "PNG")
        with Image.open(folders.absolute(folders.keep_start_image("j", file.getvalue()))) as image:
            assert image.size == kept_size


def test_sweeping_takes_what_belongs_to_no_job(folders: JobFolders, tmp_path: Path) -> None:
    folders.sweep({})
    for name, file in (
        ("known", "start.png"),
        ("begun", "start.png"),
        ("torn", ".start.x8y"),
        ("drawn", "1-0.png"),
        ("cancelled", "1-0.png"),
    ):
        folders.of(name).mkdir(parents=True)
        (folders.of(name) / file).touch()
    folders.sweep({"known": JobState.QUEUED, "cancelled": JobState.CANCELLED})
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["drawn", "known"]


def test_a_copy_that_fails_leaves_no_half_of_it(folders: JobFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = folders.keep_start_image("j", photo())

    def full(_: object, writing: BinaryIO, __: int) -> None:
        writing.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        folders.copy_start_image("k", kept)
    assert list(folders.of("k").iterdir()) == []


def test_a_deleted_job_whose_folder_the_worker_is_about_to_make(folders: JobFolders, tmp_path: Path) -> None:
    folders.mark_deleted(["running", "gone"], {"running"})
    assert not folders.of("gone").exists()
    (folders.of("running") / "1-0.png").touch()
    folders.sweep({})
    assert list((tmp_path / "images").iterdir()) == []


def test_a_failed_job_keeps_its_start_image_unless_that_had_to_go(folders: JobFolders, tmp_path: Path) -> None:
    for name in ("failed", "cut-off", "done"):
        folders.keep_start_image(name, photo())
    folders.mark_deleted(["cut-off", "done"])
    folders.sweep({"failed": JobState.FAILED, "cut-off": JobState.FAILED, "done": JobState.DELIVERED})
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["done", "failed"]
