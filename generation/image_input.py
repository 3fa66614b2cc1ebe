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
_NO_MEMORY: Final = "This picture takes more memory to read than there is for it: send a smaller one."


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
    except MemoryError as error:
        raise ImageRefused(_NO_MEMORY) from error
    except Exception as error:  # Pillow's decoders raise about anything on hostile bytes
        raise ImageRefused(_DAMAGED) from error


def png_of(image: Image.Image) -> bytes:
    """A clean image as a file, written quickly."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


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


def _facts(image: Image.Image) -> ImageFacts:
    orientation, placed, animated = 1, False, False
    with suppress(Exception):  # as in `_turn_upright`, and a second frame may be damaged
        animated = bool(getattr(image, "is_animated", False))
    with suppress(Exception):
        exif = image.getexif()
        orientation, placed = exif.get(ExifTags.Base.Orientation, 1), bool(exif.get_ifd(ExifTags.IFD.GPSInfo))
    return ImageFacts(
        # pillow-heif has turned it by now, and kept what was said.
        turned=(image.info.get("original_orientation") or orientation) in range(2, 9),
        animated=animated,
        transparent=_is_transparent(image),
        for_print=image.mode == "CMYK",
        placed=placed,
    )


def _is_transparent(image: Image.Image) -> bool:
    """Anywhere: many pictures bring an alpha channel that is opaque."""
    if not image.has_transparency_data:
        return False
    image = image if "A" in image.getbands() else image.convert("RGBA")
    lowest, _ = image.getchannel("A").getextrema()
    return lowest != 255


def _clean(image: Image.Image) -> Image.Image:
    """As few copies as can be: one of 40 megapixels takes 160 MB."""
    _turn_upright(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.has_transparency_data:
        if image.mode != "RGBA":
            image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    clean = image.convert("RGB")
    clean.info.clear()
    return clean


def _turn_upright(image: Image.Image) -> None:
    """As its camera said; it stays as it is where that can't be read."""
    with suppress(Exception):  # damaged EXIF is no reason to refuse good pixels
        ImageOps.exif_transpose(image, in_place=True)
