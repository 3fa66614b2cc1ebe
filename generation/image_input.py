"""Untrusted bytes → a clean RGB image, or one sentence that says why not.

The order matters: size of the file, format by content (never by name), number of pixels, and only then
the decoder runs. Light: standard library, msgspec and Pillow only.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from PIL import ExifTags, Image, ImageOps

from generation import limits

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_HEIC: Final = "HEIF"
_HEIC_BRANDS: Final = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_NOT_A_PICTURE: Final = "This file is not a PNG, JPEG, WebP or GIF picture."
_NO_HEIC: Final = "HEIC pictures can't be read here: send it as JPEG, or send a screenshot of it."
_DAMAGED: Final = "This picture is damaged or cut off."


class ImageRefused(Exception):
    """Its text is one sentence for the person who sent the file."""


class ImageLimits(msgspec.Struct, frozen=True):
    """What is read at most, and the shortest side that is of use."""

    max_bytes: int = limits.IMAGE_BYTES
    max_pixels: int = limits.IMAGE_PIXELS
    min_side: int = 16


class ImageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a picture was like as it came."""

    turned: bool
    """Its camera was held sideways or upside down."""
    animated: bool
    transparent: bool
    for_print: bool
    """CMYK."""
    placed: bool
    """It said where it was taken."""


def read_image(data: bytes | Path, image_limits: ImageLimits = ImageLimits()) -> Image.Image:  # noqa: B008 (frozen)
    """Decode a picture from outside.

    The first frame of an animation is taken, orientation is applied, transparency is laid on white,
    16 bits are scaled to 8, CMYK becomes RGB, and nothing but pixels is kept (no EXIF, profile or
    trailing data).

    Raises:
        ImageRefused: not a picture of an allowed format, too large, too small, damaged or cut off.
        OSError: `data` is a path that can't be read.
    """
    return read_with_facts(data, image_limits)[0]


def read_with_facts(
    data: bytes | Path,
    image_limits: ImageLimits = ImageLimits(),  # noqa: B008 (frozen)
) -> tuple[Image.Image, ImageFacts]:
    """`read_image`, with what the picture was like before. HEIC is read where pillow-heif's opener is registered."""
    content = _bounded_bytes(data, image_limits.max_bytes)
    image = _opened(content, image_limits)
    try:
        image.load()
        facts = _facts(image)
        return _clean(image), facts
    except Exception as error:  # Pillow's decoders raise about anything on hostile bytes
        raise ImageRefused(_DAMAGED) from error


def _bounded_bytes(data: bytes | Path, max_bytes: int) -> bytes:
    if isinstance(data, Path):
        with data.open("rb") as file:
            data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ImageRefused(f"This file is larger than {max_bytes / 2**20:g} MiB.")
    if not data:
        raise ImageRefused("This file is empty.")
    return data


def _opened(content: bytes, image_limits: ImageLimits) -> Image.Image:
    """Read the header only, and judge it."""
    too_many = f"at most {image_limits.max_pixels / 1e6:g} are read."
    try:
        image = Image.open(io.BytesIO(content), formats=_readable(content))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRefused(f"This picture has far too many pixels; {_megapixels(image_limits)}") from error
    except Image.UnidentifiedImageError as error:
        raise ImageRefused(_NOT_A_PICTURE) from error
    except Exception as error:  # as above
        raise ImageRefused(_DAMAGED) from error
    width, height = image.size
    if width * height > image_limits.max_pixels:
        raise ImageRefused(f"This picture has {width * height / 1e6:.0f} megapixels; {too_many}")
    if min(width, height) < image_limits.min_side:
        least = image_limits.min_side
        raise ImageRefused(f"This picture is {width}×{height} pixels; each side needs at least {least}.")
    return image


def _readable(content: bytes) -> tuple[str, ...]:
    """The formats that this file may be."""
    if content[4:8] != b"ftyp" or content[8:12] not in _HEIC_BRANDS:  # ISO/IEC 23008-12, 10.2
        return _FORMATS
    if _HEIC not in Image.OPEN:
        raise ImageRefused(_NO_HEIC)
    return (_HEIC,)


def _megapixels(image_limits: ImageLimits) -> str:
    return f"at most {image_limits.max_pixels / 1e6:g} megapixels are read."


def _clean(image: Image.Image) -> Image.Image:
    image = _upright(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    clean = image.convert("RGB")
    clean.info.clear()
    return clean


def _facts(image: Image.Image) -> ImageFacts:
    orientation, placed = 1, False
    with suppress(Exception):  # as in `_upright`
        exif = image.getexif()
        orientation, placed = exif.get(ExifTags.Base.Orientation, 1), bool(exif.get_ifd(ExifTags.IFD.GPSInfo))
    return ImageFacts(
        turned=image.info.get("original_orientation", orientation) in range(2, 9),
        animated=getattr(image, "is_animated", False),
        transparent=image.has_transparency_data and _lowest_alpha(image) < 255,
        for_print=image.mode == "CMYK",
        placed=placed,
    )


def _lowest_alpha(image: Image.Image) -> int:
    lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return int(lowest)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its camera said; as it is where that can't be read."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 (damaged EXIF is no reason to refuse good pixels)
        return image
