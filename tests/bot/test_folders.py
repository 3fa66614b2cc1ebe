import io
from pathlib import Path

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
