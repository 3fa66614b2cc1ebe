"""The limited process that reads photos: what comes in is hostile, what comes out is right, and we are untouched."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from PIL import Image

from generation.image_input import ImageRefused
from tests.training.odd_photos import SIDE, Odd, deep_grey, encoded, odd_photos, photo, polyglot
from training import photo_process, photo_reading
from training.photo_reading import PhotoProcessBroken, read_photos, read_start_image
from training.photos import PhotoVerdict

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="these limits are Linux's")


@pytest.fixture(scope="module")
def odds() -> list[Odd]:
    return odd_photos()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("photos")


@pytest.fixture(scope="module")
def verdicts(odds: list[Odd], folder: Path) -> list[PhotoVerdict]:
    return read_photos([(odd.name, odd.data) for odd in odds], folder / "clean", side=SIDE)


def test_every_verdict_is_right(odds: list[Odd], verdicts: list[PhotoVerdict]) -> None:
    assert len(odds) >= 40
    wrong = [
        f"{odd.name!a}: {verdict.status}, {verdict.sentence} ({odd.status}, {odd.says})"
        for odd, verdict in zip(odds, verdicts, strict=True)
        if verdict.status != odd.status or odd.says not in verdict.sentence
    ]
    assert not wrong, "\n".join(wrong)


def test_what_comes_out_is_clean(odds: list[Odd], verdicts: list[PhotoVerdict], folder: Path) -> None:
    used = [index for index, odd in enumerate(odds) if odd.status != "rejected"]
    assert [verdict.path for verdict in verdicts if verdict.path is not None] == [
        folder / "clean" / f"{index}.png" for index in used
    ]
    assert sorted(path.name for path in (folder / "clean").iterdir()) == sorted(f"{index}.png" for index in used)
    assert [path.name for path in folder.iterdir()] == ["clean"]
    for index in used:
        with Image.open(folder / "clean" / f"{index}.png") as clean:
            assert (clean.format, clean.mode, clean.size, clean.info) == ("PNG", "RGB", (SIDE, SIDE), {})


def test_what_is_said_can_be_shown(verdicts: list[PhotoVerdict]) -> None:
    for verdict in verdicts:
        assert re.fullmatch(r"(Used|Not used: ).*\.", verdict.sentence), verdict.sentence
        assert verdict.name.isprintable()
        assert "/" not in verdict.name


def test_nothing_but_pixels_is_left(tmp_path: Path) -> None:
    whole = polyglot()
    assert b"secret" in whole
    assert b"my home" in whole
    (verdict,) = read_photos([("holiday.png", whole)], tmp_path, side=SIDE)
    assert verdict.path is not None
    clean = verdict.path.read_bytes()
    assert not [kind for kind in (b"eXIf", b"tEXt", b"iTXt", b"zTXt", b"secret", b"my home") if kind in clean]
    assert clean.endswith(b"IEND\xaeB`\x82")


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    (verdict,) = read_photos([("deep.png", deep_grey(9))], tmp_path, side=96)
    assert verdict.path is not None
    with Image.open(verdict.path) as clean:
        expected = photo(9).convert("L")
        assert clean.convert("L").histogram()[128:] == expected.histogram()[128:]


def test_half_of_it_turned_upright(tmp_path: Path) -> None:
    """A camera held so that the top of the scene is at the right of the file (orientation 8)."""
    scene = Image.new("RGB", (96, 96), "blue")
    scene.paste("red", (0, 0, 96, 30))
    exif = Image.Exif()
    exif[0x0112] = 8
    stored = scene.transpose(Image.Transpose.ROTATE_270)
    (verdict,) = read_photos([("x.jpg", encoded(stored, "JPEG", exif=exif))], tmp_path, side=96)
    assert verdict.path is not None
    with Image.open(verdict.path) as clean:
        assert clean.getpixel((48, 5))[0] > 200
        assert clean.getpixel((48, 90))[2] > 200


# ── the process ──

STUB = """
import os, sys, time
from training import photo_process as real
answer, ill = real.answer, False
def hostile(look):
    global ill
    if ill: os.kill(os.getpid(), 9)
    ill = look.data == b"plague"
    if look.data == b"die": os.kill(os.getpid(), 9)
    if look.data == b"hang": time.sleep(600)
    if look.data == b"raise": raise RuntimeError("nobody thought of this")
    return answer(look)
real.answer = hostile
real.main()
"""


@pytest.fixture
def stubbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stub_process.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(photo_reading, "PROGRAM", "stub_process")


@pytest.mark.usefixtures("stubbed")
@pytest.mark.parametrize("crime", [b"die", b"raise"])
def test_the_culprit_is_found_and_the_others_are_read(crime: bytes, tmp_path: Path) -> None:
    good = [encoded(photo(number), "PNG") for number in range(3)]
    files = [("a", good[0]), ("b", crime), ("c", good[1]), ("d", good[2])]
    verdicts = read_photos(files, tmp_path / "clean", side=SIDE)
    assert [verdict.status for verdict in verdicts] == ["accepted", "rejected", "accepted", "accepted"]
    assert verdicts[1].sentence.startswith("Not used: this picture could not be read")


@pytest.mark.usefixtures("stubbed")
def test_who_dies_of_an_earlier_one_is_read_once_more(tmp_path: Path) -> None:
    files = [("a", b"plague"), ("b", encoded(photo(1), "PNG")), ("c", encoded(photo(2), "PNG"))]
    verdicts = read_photos(files, tmp_path / "clean", side=SIDE)
    assert [verdict.status for verdict in verdicts] == ["rejected", "accepted", "accepted"]


@pytest.mark.usefixtures("stubbed")
@pytest.mark.parametrize("crime", [b"die", b"hang"])
def test_a_start_image_that_kills_or_stops_the_process_is_refused(
    crime: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_reading, "SECONDS", 0.5)
    with pytest.raises(ImageRefused, match="could not be read in a reasonable time and space"):
        read_start_image(crime, 64)


def test_a_process_that_does_not_start_is_no_fault_of_the_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_reading, "PROGRAM", "training.no_such_program")
    with pytest.raises(PhotoProcessBroken, match="no_such_program"):
        read_photos([("a", encoded(photo(1), "PNG"))], tmp_path, side=SIDE)


@linux
def test_it_may_do_little(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setenv("ATELIER_DISCORD_TOKEN", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    with photo_reading._PhotoProcess() as process:
        pid = process._process.pid
        limits = {
            kind: resource.prlimit(pid, getattr(resource, kind))
            for kind in ("RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_NOFILE")
        }
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"secret" not in environment
    assert limits["RLIMIT_AS"] == (photo_process.MEMORY, photo_process.MEMORY)
    assert limits["RLIMIT_FSIZE"] == limits["RLIMIT_CORE"] == (0, 0)
    assert limits["RLIMIT_NOFILE"][0] < 100


@linux
def test_memory_is_bounded_and_ours_is_not_touched(odds: list[Odd], tmp_path: Path) -> None:
    """Forty megapixels with transparency, the most that is read; and what would be far more."""
    heavy = [odd for odd in odds if "megapixels" in odd.name or "bomb" in odd.name or odd.name == "long-data.png"]
    most = encoded(Image.linear_gradient("L").convert("RGBA").resize((7300, 5470)), "PNG", compress_level=1)
    names = [(tmp_path / f"{index}.odd") for index in range(len(heavy) + 1)]
    for path, data in zip(names, [*(odd.data for odd in heavy), most], strict=True):
        path.write_bytes(data)
    program = """
        import json, resource, sys
        from pathlib import Path
        from training.photo_reading import read_photos
        files = [(name, Path(name).read_bytes()) for name in sys.argv[2:]]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        verdicts = read_photos(files, Path(sys.argv[1]), side=64)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps([peak * 1024, (after - before) * 1024, [v.status for v in verdicts]]))
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "clean"), *map(str, names)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    peak, grown, statuses = json.loads(ran.stdout)
    assert statuses == [*(odd.status for odd in heavy), "warned"]
    assert peak < 600e6
    assert grown < 60e6


# ── start images ──


def test_a_start_image_keeps_its_shape_and_nothing_else() -> None:
    clean = read_start_image(polyglot(), 2048)
    assert b"secret" not in clean
    with Image.open(io.BytesIO(clean)) as image:
        assert (image.format, image.mode, image.size, image.info) == ("PNG", "RGB", (96, 96), {})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (encoded(photo(1), "JPEG")[:500], "This picture is damaged or cut off."),
        (b"%PDF-1.7", "This file is not a PNG, JPEG, WebP or GIF picture."),
        (bytes(21 * 2**20), "This file is larger than 20 MiB."),
    ],
    ids=["cut", "pdf", "fat"],
)
def test_a_start_image_that_is_refused_says_why(data: bytes, says: str) -> None:
    with pytest.raises(ImageRefused, match=says):
        read_start_image(data, 2048)
