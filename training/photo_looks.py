"""One photo → a clean square, and what is to be said of it. Runs in the limited process only (`photo_process`).

NumPy and imagehash: not for the bot's own process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import imagehash
import numpy as np
from PIL import Image, ImageFilter, ImageOps

from generation.image_input import ImageFacts, ImageLimits, ImageRefused, png_of, read_with_facts
from training.photos import Fingerprint, Looked

_LEAST_SIDE: Final = 16
_THUMBNAIL: Final = 64
_ONE_COLOUR: Final = 3.0
"""Standard deviation, of 255: what varies less in each channel shows nothing."""
_BLURRED: Final = 0.65
"""On the scale of `blur_of`."""
_CUT_AWAY: Final = 0.3
"""Of the picture: what is said when more does not fit a square."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """An upright RGB photo and the square of it that is used, at its own size."""

    image: Image.Image
    facts: ImageFacts
    box: Box

    @property
    def square_side(self) -> int:
        return min(self.image.size)

    @property
    def cut_away(self) -> float:
        return 1 - self.square_side / max(self.image.size)


def look_at_photo(data: bytes, side: int) -> Looked:
    """A square of `side` pixels as PNG, with what was put right and what would be better.

    Raises:
        ImageRefused: one sentence.
    """
    image, facts = read_with_facts(data, ImageLimits(min_side=max(_LEAST_SIDE, side // 2)))
    seen = Seen(image, facts, square_of(image))
    square = image.resize((side, side), Image.Resampling.LANCZOS, box=seen.box, reducing_gap=3.0)
    if is_one_colour(square):
        raise ImageRefused("This picture shows nothing but one colour.")
    return Looked(
        png=png_of(square),
        width=image.width,
        height=image.height,
        fixed=_fixed(seen),
        warnings=_warnings(seen, square, side),
        fingerprint=fingerprint_of(image),
    )


def square_of(image: Image.Image) -> Box:
    """The square as large as the picture allows that holds most of what stands out, (left, top, right, bottom).

    What stands out is how far a pixel's colour is from the picture's mean colour, after Achanta et al.,
    "Frequency-tuned salient region detection" (CVPR 2009), here in YCbCr instead of Lab. Of squares that hold about
    the same the one nearer to the middle is taken.
    """
    width, height = image.size
    side = min(width, height)
    if width == height:
        return 0, 0, side, side
    small = image.copy() if max(image.size) <= _THUMBNAIL else ImageOps.contain(image, (_THUMBNAIL, _THUMBNAIL))
    colours = np.asarray(small.filter(ImageFilter.GaussianBlur(1)).convert("YCbCr"), np.float64)  # [h, w, 3]
    salience = np.linalg.norm(colours - colours.mean((0, 1)), axis=2).sum(0 if width > height else 1)
    window = min(small.size)
    held = np.convolve(salience, np.ones(window), "valid")
    middle = (len(held) - 1) / 2
    held -= 0.1 * max(salience.sum(), 1.0) * np.abs(np.arange(len(held)) - middle) / max(middle, 1)
    place = int(held.argmax()) / max(len(held) - 1, 1)
    start = round(place * (max(width, height) - side))
    return (start, 0, start + side, side) if width > height else (0, start, side, start + side)


def is_one_colour(image: Image.Image) -> bool:
    small = np.asarray(image.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX), np.float64)
    return bool(small.std((0, 1)).max() < _ONE_COLOUR)


def blur_of(image: Image.Image) -> float:
    """0 is sharp, 1 is blurred: how little a picture loses when it is blurred once more.

    Crété-Roffet et al., "The blur effect: perception and estimation with a new no-reference perceptual blur metric"
    (SPIE 2007): the differences of neighbours before and after a mean over 9 pixels, along either axis.
    """
    grey = np.asarray(image.convert("L"), np.float64)
    return max(_blur_along(grey), _blur_along(grey.T))


def fingerprint_of(image: Image.Image) -> Fingerprint:
    small = image.resize((256, 256), Image.Resampling.BOX, reducing_gap=2.0)
    colours = small.resize((8, 8), Image.Resampling.BOX)
    return Fingerprint(_hash(small), _hash(ImageOps.mirror(small)), colours.tobytes())


def _hash(image: Image.Image) -> str:
    return str(imagehash.phash(image, hash_size=16))


def _blur_along(grey: np.ndarray[Any, Any]) -> float:
    """Along the second axis of [h, w]."""
    sums = np.cumsum(np.pad(grey, ((0, 0), (5, 4)), "edge"), axis=1)
    again = (sums[:, 9:] - sums[:, :-9]) / 9
    before = np.abs(np.diff(grey, axis=1))
    lost = np.maximum(0, before - np.abs(np.diff(again, axis=1)))
    return float(1 - lost.sum() / before.sum()) if before.any() else 0.0


def _fixed(seen: Seen) -> list[str]:
    facts = seen.facts
    said = {
        "turning it upright": facts.turned,
        "taking the first picture of several": facts.animated,
        "laying what is transparent on white": facts.transparent,
        "turning print colours into screen colours": facts.for_print,
        "removing where it was taken": facts.placed,
        "cutting it to a square": seen.cut_away > _CUT_AWAY,
    }
    return [words for words, true in said.items() if true]


def _warnings(seen: Seen, square: Image.Image, side: int) -> list[str]:
    said: list[str] = []
    if seen.square_side < side:
        said.append(f"its shorter side has only {seen.square_side} pixels of the {side} that are best")
    own_size = square if seen.square_side >= side else seen.image.crop(seen.box)
    if blur_of(own_size) > _BLURRED:
        said.append("it looks blurred")
    if seen.cut_away > 2 / 3:
        said.append("most of it does not fit a square")
    return said
