"""Photos as people and worse send them, made here. All read at `SIDE`; each with the verdict that is right."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image, ImageFilter, ImageOps, PngImagePlugin

SIDE = 64


@dataclass(frozen=True)
class Odd:
    name: str
    data: bytes
    status: str
    says: str = ""
    """What its sentence has in it."""


def photo(seed: int, size: tuple[int, int] = (96, 96)) -> Image.Image:
    """Soft shapes of many colours: as different from another seed's as two photos are."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((max(size), max(size)), Image.Resampling.NEAREST).resize(size)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def heic(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=80, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colours: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    parts = [chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_exif(values: dict[int, object]) -> Image.Exif:
    exif = Image.Exif()
    for tag, value in values.items():
        exif[tag] = value
    return exif


def many_frames(count: int) -> bytes:
    """A GIF whose first frame is a photo and whose others are one pixel each."""
    first = encoded(photo(20).quantize(16), "GIF")
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0x80) + b"\0\0\0\xff\xff\xff" + b"\x02\x02\x44\x01\x00"
    return first.removesuffix(b";") + frame * count + b";"


def polyglot() -> bytes:
    """A PNG that says where it was taken, with a ZIP archive behind it."""
    exif = with_exif({0x8825: {1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)}, 0x010E: "my home"})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("secret.txt", "a secret")
    return encoded(photo(30), "PNG", exif=exif) + archive.getvalue()


def text_bomb(kind: bytes) -> bytes:
    """64×64, with a text of 100 MB in it."""
    packed = zlib.compress(bytes(100_000_000), 1)
    text = {b"zTXt": b"Comment\0\0", b"iTXt": b"Comment\0\1\0\0\0", b"iCCP": b"icc\0\0"}[kind]
    rows = b"".join(b"\0" + photo(31, (64, 64)).tobytes()[row * 192 :][:192] for row in range(64))
    return png(64, 64, 8, 2, rows, chunk(kind, text + packed))


def sixteen_bit_colour(seed: int) -> bytes:
    values = np.asarray(photo(seed)).astype(">u2") * 257
    return png(96, 96, 16, 2, b"".join(b"\0" + row.tobytes() for row in values))


def huge_jpeg(side: int) -> bytes:
    """Its header says `side` pixels each way."""
    data = bytearray(encoded(photo(32), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(data)


def huge_webp() -> bytes:
    canvas = (16383 - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas + canvas
    body += encoded(photo(33), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def alpha_ramp(seed: int) -> Image.Image:
    image = photo(seed).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def zip_bomb() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(50_000_000))
    return archive.getvalue()


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def wrong_checksum() -> bytes:
    data = bytearray(encoded(photo(34), "PNG"))
    data[data.index(b"IDAT") - 4 + 8 + 100] ^= 0xFF
    return bytes(data)


NOT = "not a PNG, JPEG, WebP or GIF"
DAMAGED = "damaged or cut off"
STILLS = [photo(number) for number in range(16, 20)]
GIF = encoded(photo(40), "GIF")
ICC = b"\0\0\x10\0garbage" * 400


def _read() -> list[Odd]:
    turned = {value: with_exif({0x0112: value}) for value in (3, 6, 8)}
    return [
        Odd("plain.png", encoded(photo(0), "PNG"), "accepted", "Used."),
        Odd("plain.jpg", encoded(photo(1), "JPEG", quality=90), "accepted"),
        Odd("plain.webp", encoded(photo(2), "WEBP"), "accepted"),
        Odd("plain.gif", encoded(photo(3), "GIF"), "accepted"),
        Odd("progressive.jpg", encoded(photo(4), "JPEG", progressive=True), "accepted"),
        Odd("sideways.jpg", encoded(photo(5, (120, 96)), "JPEG", exif=turned[6]), "fixed", "turning it upright"),
        Odd("headstand.png", encoded(photo(6), "PNG", exif=turned[3]), "fixed", "turning it upright"),
        Odd("sideways.webp", encoded(photo(7), "WEBP", exif=turned[8]), "fixed", "turning it upright"),
        Odd("print.jpg", encoded(photo(8).convert("CMYK"), "JPEG"), "fixed", "print colours"),
        Odd("deep-grey.png", deep_grey(9), "accepted"),
        Odd("deep-colour.png", sixteen_bit_colour(10), "accepted"),
        Odd("ghost.png", encoded(alpha_ramp(11), "PNG"), "fixed", "transparent on white"),
        Odd("ghost.webp", encoded(alpha_ramp(12), "WEBP"), "fixed", "transparent on white"),
        Odd("grey-ghost.png", encoded(alpha_ramp(13).convert("LA"), "PNG"), "fixed", "transparent on white"),
        Odd("opaque.png", encoded(photo(14).convert("RGBA"), "PNG"), "accepted", "Used."),
        Odd("palette.png", encoded(photo(15).quantize(32), "PNG"), "accepted"),
        Odd("palette-hole.png", encoded(photo(21).quantize(8), "PNG", transparency=0), "fixed", "transparent"),
        Odd("black-and-white.png", encoded(photo(22).convert("1"), "PNG"), "accepted"),
        Odd("grey.jpg", encoded(photo(23).convert("L"), "JPEG"), "accepted"),
        Odd(
            "dance.gif", encoded(STILLS[0], "GIF", save_all=True, append_images=STILLS[1:]), "fixed", "first picture"
        ),
        Odd("dance.webp", encoded(STILLS[1], "WEBP", save_all=True, append_images=STILLS[2:]), "fixed", "first"),
        Odd(
            "dance.png", encoded(STILLS[2], "PNG", save_all=True, append_images=STILLS[:2]), "fixed", "first picture"
        ),
        Odd("film.gif", many_frames(10_000), "fixed", "first picture"),
        Odd("phone.heic", heic(photo(24)), "accepted"),
        Odd("phone.png", heic(photo(25, (120, 96)), exif=turned[6].tobytes()), "fixed", "turning it upright"),
        Odd("profile.png", encoded(photo(26), "PNG", icc_profile=ICC), "accepted"),
        Odd("profile.jpg", encoded(photo(27), "JPEG", icc_profile=ICC), "accepted"),
        Odd("bad-exif.jpg", encoded(photo(28), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), "accepted"),
        Odd("holiday.png", polyglot(), "fixed", "removing where it was taken"),
        Odd("small.png", encoded(photo(41, (40, 44)), "PNG"), "warned", "only 40 pixels of the 64"),
        Odd("soft.png", encoded(photo(42).filter(ImageFilter.GaussianBlur(6)), "PNG"), "warned", "blurred"),
        Odd("panorama.png", encoded(photo(43, (640, 64)), "PNG"), "warned", "does not fit a square"),
        Odd("wide.png", encoded(photo(44, (128, 64)), "PNG"), "fixed", "cutting it to a square"),
        Odd("long-data.png", long_data(), "accepted"),
    ]


def deep_grey(seed: int) -> bytes:
    """The darkest and brightest of 65,536 values in it: clipped to 8 bits it would be almost white."""
    grey = np.asarray(photo(seed).convert("L")).astype(np.uint16) * 257
    return encoded(Image.fromarray(grey), "PNG")


def long_data() -> bytes:
    """64×64, with 100 MB of pixels packed into it."""
    rows = b"".join(b"\0" + photo(45, (64, 64)).tobytes()[row * 192 :][:192] for row in range(64))
    return png(64, 64, 8, 2, rows + bytes(100_000_000))


def _refused() -> list[Odd]:
    noise = photo(50)
    return [
        Odd("nothing.png", b"", "rejected", "this file is empty"),
        Odd("dot.png", encoded(Image.new("RGB", (1, 1)), "PNG"), "rejected", "1×1 pixels; each side needs at least"),
        Odd(
            "tiny.jpg",
            encoded(photo(51, (31, 200)), "JPEG"),
            "rejected",
            "31×200 pixels; each side needs",
        ),
        Odd("81-megapixels.png", png(9_000, 9_000, 8, 2, bytes(27_001) * 16), "rejected", "megapixels"),
        Odd("400-megapixels.png", png(20_000, 20_000, 8, 2, bytes(60_001) * 16), "rejected", "megapixels"),
        Odd("400-megapixels.jpg", huge_jpeg(20_000), "rejected", "megapixels"),
        Odd("268-megapixels.webp", huge_webp(), "rejected"),
        Odd("canvas.gif", GIF[:6] + b"\xff\xff\xff\xff" + GIF[10:], "rejected", "megapixels"),
        Odd("cut.png", half(encoded(noise, "PNG")), "rejected", DAMAGED),
        Odd("cut.jpg", half(encoded(noise, "JPEG")), "rejected", DAMAGED),
        Odd("cut.webp", half(encoded(noise, "WEBP")), "rejected"),
        Odd("cut.gif", half(encoded(noise, "GIF")), "rejected", DAMAGED),
        Odd("cut.heic", half(heic(noise)), "rejected"),
        Odd("flipped-bits.png", wrong_checksum(), "rejected", DAMAGED),
        Odd("head-only.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "rejected"),
        Odd("zeros.png", b"\x89PNG\r\n\x1a\n" + bytes(5_000), "rejected"),
        Odd("text-bomb.png", text_bomb(b"zTXt"), "rejected", DAMAGED),
        Odd("text-bomb-2.png", text_bomb(b"iTXt"), "rejected", DAMAGED),
        Odd("invoice.png", b"%PDF-1.7\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n", "rejected", NOT),
        Odd("poster.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 96\n", "rejected", NOT),
        Odd("logo.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='96' height='96'/>", "rejected", NOT),
        Odd("page.png", b"<!doctype html><img src=x onerror=alert(1)>", "rejected", NOT),
        Odd("bomb.png", zip_bomb(), "rejected", NOT),
        Odd("bomb.webp", gzip.compress(bytes(50_000_000)), "rejected", NOT),
        Odd("pickle.png", b"\x80\x04\x95\x05\0\0\0\0\0\0\0\x8c\x01a\x94.", "rejected", NOT),
        Odd("program.jpg", b"\x7fELF" + bytes(300), "rejected", NOT),
        Odd("scan.jpg", encoded(noise, "TIFF"), "rejected", NOT),
        Odd("paint.png", encoded(noise, "BMP"), "rejected", NOT),
        Odd("icon.png", encoded(noise, "ICO"), "rejected", NOT),
        Odd("layers.psd", b"8BPS" + bytes(200), "rejected", NOT),
        Odd("clip.heic", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(500), "rejected", NOT),
        Odd("not-really.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), "rejected"),
        Odd("wall.png", encoded(Image.new("RGB", (96, 96), "grey"), "PNG"), "rejected", "nothing but one colour"),
        Odd("invisible.png", encoded(Image.new("RGBA", (96, 96)), "PNG"), "rejected", "nothing but one colour"),
        Odd("lens-cap.jpg", lens_cap(), "rejected", "nothing but one colour"),
        Odd("fat.png", bytes(21 * 2**20), "rejected", "larger than 20 MiB"),
    ]


def lens_cap() -> bytes:
    noise = np.random.default_rng(1).integers(0, 8, (128, 128, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise), "JPEG")


def _twins() -> list[Odd]:
    first = photo(0)
    comment = PngImagePlugin.PngInfo()
    comment.add_text("parameters", "another text")
    return [
        Odd("plain (1).png", encoded(first, "PNG"), "rejected", "the same picture as “plain.png”"),
        Odd("renamed.png", encoded(first, "PNG", pnginfo=comment), "rejected", "the same picture as “plain.png”"),
        Odd("pressed.jpg", encoded(first, "JPEG", quality=30), "rejected", "nearly the same picture as “plain.png”"),
        Odd("larger.webp", encoded(first.resize((200, 200)), "WEBP"), "rejected", "nearly the same picture"),
        Odd("mirrored.jpg", encoded(ImageOps.mirror(first), "JPEG"), "rejected", "“plain.png” in a mirror."),
    ]


def _named() -> list[Odd]:
    return [
        Odd("../../../etc/passwd.png", encoded(photo(60), "PNG"), "accepted"),
        Odd("C:\\Users\\me\\cat.png", encoded(photo(61), "PNG"), "accepted"),
        Odd("gnp.\u202etac.exe\n\x1b[2J", encoded(photo(62), "PNG"), "accepted"),
        Odd("..", encoded(photo(63), "PNG"), "accepted"),
    ]


def odd_photos() -> list[Odd]:
    return [*_read(), *_refused(), *_twins(), *_named()]
