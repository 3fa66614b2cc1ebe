"""Photos of a thing that the bundled model has never seen: its held-out pictograms, each view of them another one.

For the evaluation only. The pictograms come from `base_model/held_out_icons.zip`, so that nothing has to be fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from PIL import Image

from training.base_model.icons import load_icons
from training.base_model.pictures import draw_colours, over, place_icons, plain
from training.base_model.scenes import COLOURS, Placement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SIZE: Final = 64
VIEWS: Final = 5
"""To train with, and as many to compare with."""
LARGEST_ANGLE: Final = 15.0
"""Degrees, to either side."""
SCALES: Final = (0.62, 0.95)
"""Sides of the thing, as shares of the picture's."""
PACK: Final = Path(__file__).parent / "base_model" / "held_out_icons.zip"


@dataclass(frozen=True, slots=True)
class Unseen:
    """A held-out subject."""

    icon: str
    name: str
    class_word: str
    """What a member would call it in words that the model knows."""
    group: str


UNSEEN: Final = (
    Unseen("hedgehog", "hedgehog", "mouse", "animal"),
    Unseen("flamingo", "flamingo", "parrot", "animal"),
    Unseen("jellyfish", "jellyfish", "octopus", "animal"),
    Unseen("avocado", "avocado", "pear", "thing"),
    Unseen("teddy-bear", "teddy bear", "bear", "thing"),
    Unseen("violin", "violin", "guitar", "thing"),
)
"""What figures are taken of. Nothing was chosen by how they come out."""
FOR_TUNING: Final = (
    Unseen("kangaroo", "kangaroo", "rabbit", "animal"),
    Unseen("pineapple", "pineapple", "strawberry", "thing"),
    Unseen("tent", "tent", "house", "thing"),
)
"""What `training.defaults` were found with: none of UNSEEN."""
ONLY_TO_COMPARE: Final = (
    Unseen("sauropod", "long-necked dinosaur", "turtle", "animal"),
    Unseen("teapot", "teapot", "cup", "thing"),
    Unseen("trumpet", "trumpet", "guitar", "thing"),
    Unseen("anchor", "anchor", "key", "thing"),
    Unseen("toolbox", "toolbox", "gift", "thing"),
)
ALL_UNSEEN: Final = (*UNSEEN, *FOR_TUNING, *ONLY_TO_COMPARE)


@cache
def icon_of(icon: str) -> Tensor:
    """`[4, 128, 128]`, uint8, premultiplied.

    Raises:
        KeyError: not one of the held-out.
    """
    icons = load_icons(PACK)
    places = {subject.icon: place for place, subject in enumerate(icons.held_out)}
    return icons.held_out_icons[places[icon], 0]


def views(icon: str, seed: int) -> tuple[list[Image.Image], list[Image.Image]]:
    """VIEWS to train with and VIEWS held out: no two of the ten have the same background."""
    rng = np.random.default_rng([seed, *icon.encode()])
    backgrounds = rng.permutation(len(COLOURS))[: 2 * VIEWS].tolist()
    placements = [_placement(rng) for _ in backgrounds]
    pictures = _pictures(icon, placements, backgrounds, int(rng.integers(2**31)))
    return pictures[:VIEWS], pictures[VIEWS:]


def other_views(photo: Image.Image, icon: str, seed: int, count: int = 40) -> list[Image.Image]:
    """More views on the background of a view: what is as near to it by chance alone."""
    rng = np.random.default_rng([seed, count, *icon.encode()])
    corners = [photo.getpixel(place) for place in ((0, 0), (SIZE - 1, 0), (0, SIZE - 1), (SIZE - 1, SIZE - 1))]
    colour = max(corners, key=corners.count)
    return _on(icon, [_placement(rng) for _ in range(count)], torch.tensor([colour] * count))


def _placement(rng: np.random.Generator) -> Placement:
    """Anywhere that leaves the whole thing in the picture, corners of a turned one aside."""
    scale = float(rng.uniform(*SCALES))
    room = (1 - scale) / 2
    right, down = rng.uniform(-room, room, 2).tolist()
    return Placement(scale, right, down, float(rng.uniform(-LARGEST_ANGLE, LARGEST_ANGLE)))


def _pictures(icon: str, placements: Sequence[Placement], backgrounds: list[int], seed: int) -> list[Image.Image]:
    return _on(icon, placements, draw_colours(torch.tensor(backgrounds), torch.Generator().manual_seed(seed)))


def _on(icon: str, placements: Sequence[Placement], colours: Tensor) -> list[Image.Image]:
    icons = icon_of(icon).float().div(255).expand(len(placements), -1, -1, -1)
    layers = place_icons(icons, placements, SIZE)
    pixels = over(layers, plain(colours, SIZE, layers)).clamp(0, 1).mul(255).round().byte()
    return [Image.fromarray(picture.permute(1, 2, 0).numpy(), "RGB") for picture in pixels]
