"""Files from outside: everything that Discord members have ever attached, and worse."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, PngImagePlugin

from generation.image_input import ImageLimits, ImageRefused, read_image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def corner_marked(mode: str = "RGB") -> Image.Image:
    """White, 40×20, with a red top left corner."""
    image = Image.new("RGB", (40, 20), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 9, 9), fill="red")
    return image.convert(mode)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def is_red(image: Image.Image, place: tuple[int, int]) -> bool:
    red, green, blue = image.getpixel(place)
    return red > 200 and green < 60 and blue < 60


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_the_formats_that_are_read(kind: str) -> None:
    image = read_image(encoded(corner_marked(), kind))
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert is_red(image, (4, 4))
    assert not is_red(image, (30, 15))


@pytest.mark.parametrize(
    ("orientation", "size", "corner"),
    [(1, (40, 20), (4, 4)), (6, (20, 40), (15, 4)), (3, (40, 20), (35, 15)), (8, (20, 40), (4, 35))],
)
def test_orientation_is_applied(orientation: int, size: tuple[int, int], corner: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(encoded(corner_marked(), "JPEG", exif=exif, quality=95))
    assert image.size == size
    assert is_red(image, corner)


def test_damaged_exif_is_no_reason_to_refuse() -> None:
    image = read_image(encoded(corner_marked(), "PNG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage"))
    assert image.size == (40, 20)


def test_nothing_but_pixels_is_kept() -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    comment = PngImagePlugin.PngInfo()
    comment.add_text("parameters", "secret")
    content = encoded(corner_marked(), "PNG", exif=exif, pnginfo=comment) + b"PK\x03\x04 a zip behind it"
    clean = read_image(content)
    assert clean.info == {}
    again = encoded(clean, "PNG")
    assert b"secret" not in again
    assert b"eXIf" not in again
    assert b"PK\x03\x04" not in again


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0)).convert(mode if mode != "PA" else "P")
    if mode == "PA":
        image.info["transparency"] = image.getpixel((0, 0))
    assert read_image(encoded(image, "PNG")).getpixel((5, 5)) == (255, 255, 255)


def test_half_transparent_black_is_grey() -> None:
    image = read_image(encoded(Image.new("RGBA", (32, 32), (0, 0, 0, 128)), "WEBP", lossless=True))
    assert image.getpixel((3, 3)) == (127, 127, 127)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    content = encoded(Image.fromarray(np.tile(ramp, (32, 1))), "PNG")
    values = np.asarray(read_image(content))[0, :, 0]
    assert np.abs(values - np.linspace(0, 255, 64)).max() <= 1


def test_sixteen_bit_colour_is_scaled_not_clipped() -> None:
    row = b"\x00" + struct.pack(">HHH", 0x8000, 0x0200, 0xFFFF) * 32
    assert read_image(png(32, 32, 16, 2, row * 32)).getpixel((0, 0)) == (128, 2, 255)


def test_cmyk_becomes_rgb() -> None:
    content = encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG")
    assert is_red(read_image(content), (9, 9))


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    for kind in ("GIF", "WEBP", "PNG"):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert is_red(read_image(content), (9, 9)), kind


@pytest.mark.parametrize("side", [9_000, 20_000])
def test_a_picture_of_81_or_400_megapixels_is_refused_before_it_is_decoded(side: int) -> None:
    """A real PNG of one colour: small as a file, 243 MB or 1.2 GB as pixels."""
    content = png(side, side, 8, 2, bytes(side * 3 + 1) * 16)  # too few rows, too: the decoder would notice
    with pytest.raises(ImageRefused, match=r"81 megapixels; at most 40|far too many pixels; at most 40"):
        read_image(content)


@pytest.mark.parametrize("strict_warnings", [True, False])
def test_refusing_a_bomb_takes_no_memory(strict_warnings: bool, tmp_path: Path) -> None:
    """In a process of its own, with warnings as they are in a worker, under an address-space limit."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png(10_000, 10_000, 8, 2, bytes(30_001) * 10_000))
    assert path.stat().st_size < 2**20
    program = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from generation.image_input import read_image, ImageRefused\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    read_image(Path(sys.argv[1]))\nexcept ImageRefused as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    flags = ["-W", "error"] if strict_warnings else []
    result = subprocess.run(
        [sys.executable, *flags, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    sentence, grown = result.stdout.strip().splitlines()
    assert "at most 40 megapixels" in sentence or "at most 40 are read" in sentence
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown) * unit < 20e6


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "This file is empty."),
        (b"just words", "This file is not a PNG, JPEG, WebP or GIF picture."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "This file is not a PNG"),
        (encoded(Image.new("RGB", (32, 32)), "BMP"), "This file is not a PNG"),
        (encoded(Image.new("RGB", (32, 32)), "TIFF"), "This file is not a PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "This file is not a PNG"),
        (b"\x89PNG\r\n\x1a\n", "not a PNG|damaged"),
        (encoded(Image.new("RGB", (8, 40)), "PNG"), "This picture is 8×40 pixels; each side needs at least 16."),
    ],
)
def test_what_is_not_read_gets_a_sentence(content: bytes, reason: str) -> None:
    with pytest.raises(ImageRefused, match=reason):
        read_image(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_cut_off_files_are_refused(kind: str, kept: float) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    content = encoded(noise, kind)
    with pytest.raises(ImageRefused):
        read_image(content[: int(len(content) * kept)])


def test_the_name_is_not_trusted(tmp_path: Path) -> None:
    words = tmp_path / "holiday.png"
    words.write_text("these are only words")
    with pytest.raises(ImageRefused, match="not a PNG"):
        read_image(words)
    picture = tmp_path / "notes.txt"
    picture.write_bytes(encoded(corner_marked(), "PNG"))
    assert read_image(picture).size == (40, 20)


def test_large_files_are_refused_by_their_size(tmp_path: Path) -> None:
    limits = ImageLimits(max_bytes=1000)
    with pytest.raises(ImageRefused, match="larger than"):
        read_image(b"x" * 1001, limits)
    sparse = tmp_path / "huge.png"
    with sparse.open("wb") as file:
        file.truncate(200 * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(ImageRefused, match="This file is larger than 20 MiB"):
            read_image(sparse)
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        read_image(Path("/nowhere/at/all.png"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_damaged_bytes_are_read_or_refused_never_worse(kind: str) -> None:
    chance = random.Random(kind)
    whole = encoded(corner_marked(), kind)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with contextlib.suppress(ImageRefused):
            assert read_image(bytes(damaged)).mode == "RGB"
