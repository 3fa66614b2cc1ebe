"""What is in a picture: a subject in a style, somewhere, on a background. Captions and pixels both follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

BACKGROUNDS: dict[str, Colour] = {
    "white": (255, 255, 255),
    "black": (22, 22, 26),
    "red": (214, 48, 49),
    "orange": (243, 139, 43),
    "yellow": (250, 216, 80),
    "green": (72, 168, 84),
    "blue": (58, 120, 214),
    "purple": (134, 82, 188),
    "pink": (250, 164, 198),
    "gray": (150, 152, 156),
}
COLOURS = tuple(BACKGROUNDS)


@dataclass(frozen=True)
class Layout:
    """An arrangement: how often it is drawn, and what may vary in it. Lengths are shares of the picture's side."""

    share: float
    smallest: float
    largest: float
    side: float = 0.0
    """How far to the right of the middle the (last) copy lies."""
    sway_x: float = 0.04
    copies: int = 1
    mirrored: bool = False


LAYOUTS: dict[str, Layout] = {
    "plain": Layout(0.74, 0.76, 0.9),
    "small": Layout(0.05, 0.36, 0.46),
    "large": Layout(0.05, 1.02, 1.2),
    "left": Layout(0.04, 0.42, 0.52, side=-0.24, sway_x=0.02),
    "right": Layout(0.04, 0.42, 0.52, side=0.24, sway_x=0.02),
    "two": Layout(0.05, 0.42, 0.48, side=0.24, sway_x=0.01, copies=2),
    "mirrored": Layout(0.03, 0.76, 0.9, mirrored=True),
}
SWAY_Y = 0.04
NO_BACKGROUND_SHARE = 0.25
"""Pictures whose caption names no background …"""
WHITE_SHARE = 0.35  # … and how many of those are white
TINT = 5  # a background colour strays at most this much per channel; white stays white


@dataclass(frozen=True)
class Scene:
    """One picture to be made, before any chance in its geometry."""

    subject: int
    style: int
    background: str
    names_background: bool
    layout: str = "plain"


@dataclass(frozen=True)
class Placement:
    """Where one copy of an icon lies.

    ``scale`` is its side as a share of the picture's, the offsets of its centre likewise (right and down
    are positive), ``angle`` is in degrees, anticlockwise.
    """

    scale: float
    offset_x: float = 0.0
    offset_y: float = 0.0
    angle: float = 0.0
    mirrored: bool = False


def unseen_background(subject: int) -> str:
    """The one colour that this subject is never shown on, so that new combinations can be asked for."""
    return COLOURS[1 + subject % (len(COLOURS) - 1)]


def draw_scene(subject: int, style: int, rng: np.random.Generator) -> Scene:
    """A scene with the subject; never on its ``unseen_background``."""
    layout = str(rng.choice(tuple(LAYOUTS), p=[layout.share for layout in LAYOUTS.values()]))
    allowed = tuple(colour for colour in COLOURS if colour != unseen_background(subject))
    names_background = rng.random() >= NO_BACKGROUND_SHARE
    if names_background:
        background = allowed[int(rng.integers(len(allowed)))]
    else:
        coloured = allowed[1:]
        background = "white" if rng.random() < WHITE_SHARE else coloured[int(rng.integers(len(coloured)))]
    return Scene(subject, style, background, names_background, layout)
