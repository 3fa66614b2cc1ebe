"""What stands behind the thing in a photo, in words: said in its caption, it isn't learned as part of the thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from training.base_model.scenes import BACKGROUNDS
from training.templates import with_article

if TYPE_CHECKING:
    from pathlib import Path

_SIDE: Final = 64
_BORDER: Final = 3
"""Of _SIDE pixels, at each edge."""
_PLAIN_SHARE: Final = 0.8
"""Of the border that must be of one colour; the thing may touch it."""
_SAME: Final = 24
_NEAR: Final = 60
"""Largest difference in any channel, of 255: from one colour, and from the colour that a word stands for."""


def backdrop_words(photo: Path) -> str:
    """ " on a red background"; "" where there is no plain one, or of no colour that has a name here.

    Raises:
        OSError: not a picture.
    """
    with Image.open(photo, formats=["PNG"]) as opened:
        small = opened.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.int16)
    edge = np.ones((_SIDE, _SIDE), dtype=bool)
    edge[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    border = pixels[edge]
    colour = np.median(border, axis=0)
    if (np.abs(border - colour).max(1) <= _SAME).mean() < _PLAIN_SHARE:
        return ""
    distances = {word: np.abs(colour - value).max() for word, value in BACKGROUNDS.items()}
    word = min(distances, key=distances.__getitem__)
    return f" on {with_article(word)} background" if distances[word] <= _NEAR else ""
