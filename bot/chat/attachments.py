"""Pictures on their way to Discord: large enough to be seen, small enough to be sent, with alt text.

The file on disk stays as it is; what is posted is a copy. Knows no Discord but its limits. Blocking: call
from a thread.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from PIL import Image, PngImagePlugin

SEEN_SIDE: Final = 256
"""Pixels: Discord shows a picture no larger than it is, so smaller ones are enlarged to this long side."""
DEFAULT_FILE_LIMIT: Final = 10 * 1024 * 1024
REQUEST_LIMIT: Final = 25 * 1024 * 1024
"""Bytes of one request, all its files together."""
_ROOM: Final = 64 * 1024
"""Bytes kept free for the rest of the multipart form."""
_QUALITIES: Final = (92, 80, 65, 45)
_EXIF_IFD: Final = 0x8769
_USER_COMMENT: Final = 0x9286


@dataclass(frozen=True, slots=True)
class Upload:
    """One file as it is sent."""

    filename: str
    data: bytes
    description: str
    spoiler: bool = False


def file_limit(limit: int, files: int) -> int:
    """Bytes that each of `files` pictures may have in one request under Discord's `limit` for a file."""
    return min(limit, (REQUEST_LIMIT - _ROOM) // max(1, files))


def picture(path: Path, *, limit: int = DEFAULT_FILE_LIMIT) -> tuple[bytes, str]:
    """A picture file's bytes and suffix, ready to post: at least `SEEN_SIDE` long, at most `limit` bytes.

    The recipe (`parameters`) and the mark that a model made it go along.

    Raises:
        OSError: the file is missing or no picture.
    """
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        factor = _factor(opened.size)
        if factor == 1 and len(data) <= limit:
            return data, path.suffix
        image = _enlarged(opened, factor)
        texts = _texts(opened)
    png = _png(image, texts)
    if len(png) <= limit:
        return png, ".png"
    return _webp_within(image, texts, limit), ".webp"


def preview(path: Path) -> bytes:
    """A worker's preview file as a small WebP, enlarged like the picture will be."""
    with Image.open(io.BytesIO(path.read_bytes())) as opened:
        image = _enlarged(opened.convert("RGB"), _factor(opened.size))
    return _webp(image, {}, quality=75)


def _factor(size: tuple[int, int]) -> int:
    """Whole-number enlargement, so that every pixel of a small picture stays the same size."""
    return max(1, math.ceil(SEEN_SIDE / max(size)))


def _enlarged(image: Image.Image, factor: int) -> Image.Image:
    if factor == 1:
        return image.copy()
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.LANCZOS)


def _texts(image: Image.Image) -> dict[str, str]:
    if isinstance(image, PngImagePlugin.PngImageFile):
        return cast("dict[str, str]", dict(image.text))
    return {}


def _png(image: Image.Image, texts: dict[str, str]) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_itxt(key, str(value))
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=info)
    return out.getvalue()


def _webp(image: Image.Image, texts: dict[str, str], *, quality: int) -> bytes:
    exif = Image.Exif()
    if parameters := texts.get("parameters"):
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + parameters.encode("utf-16-be")
    xmp = texts.get("XML:com.adobe.xmp", "").encode()
    out = io.BytesIO()
    image.save(out, "WEBP", quality=quality, exif=exif, xmp=xmp)
    return out.getvalue()


def _webp_within(image: Image.Image, texts: dict[str, str], limit: int) -> bytes:
    while True:
        for quality in _QUALITIES:
            data = _webp(image, texts, quality=quality)
            if len(data) <= limit or max(image.size) <= SEEN_SIDE:
                return data
        image = image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.LANCZOS)
