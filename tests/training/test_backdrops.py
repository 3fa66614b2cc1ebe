"""What captions say of a photo's background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.backdrops import backdrop_words


def on_colour(colour: tuple[int, int, int], side: int = 64) -> Image.Image:
    """A brown disc that touches the lower edge."""
    picture = Image.new("RGB", (side, side), colour)
    ImageDraw.Draw(picture).ellipse((side // 4, side // 2, 3 * side // 4, side), (120, 70, 30))
    return picture


@pytest.mark.parametrize(
    ("colour", "words"),
    [
        ((214, 48, 49), " on a red background"),
        ((240, 135, 50), " on an orange background"),
        ((252, 253, 251), " on a white background"),
        ((0, 128, 128), ""),  # teal: none of the words
    ],
)
def test_a_plain_background_is_named(tmp_path: Path, colour: tuple[int, int, int], words: str) -> None:
    on_colour(colour, 200).save(tmp_path / "a.png")
    assert backdrop_words(tmp_path / "a.png") == words


def test_anything_else_is_not(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    halves = on_colour((214, 48, 49))
    halves.paste((58, 120, 214), (0, 0, 64, 32))
    halves.save(tmp_path / "halves.png")
    assert backdrop_words(tmp_path / "noise.png") == ""
    assert backdrop_words(tmp_path / "halves.png") == ""
