"""Options of commands as values: sizes as text, and which sizes to offer for a model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bot.chat import wording
from bot.errors import UserError

if TYPE_CHECKING:
    from generation.request import ModelDefaults

MODEL_DEFAULT: Final = "model default"
_SIZE: Final = re.compile(r"\s*(\d{1,5})\s*[x×X*]\s*(\d{1,5})\s*")
_SHAPES: Final = (
    ("square", 1.0, 1.0),
    ("portrait", 1.0, 1.5),
    ("landscape", 1.5, 1.0),
    ("tall", 0.75, 1.25),
    ("wide", 1.25, 0.75),
)


def parse_size(text: str | None) -> tuple[int | None, int | None]:
    """`512x768` → (512, 768); nothing or `model default` → (None, None).

    Raises:
        UserError: it is neither. (Which numbers are allowed says `ImageRequest`.)
    """
    if text is None or text.strip().lower() in {"", "default", MODEL_DEFAULT}:
        return None, None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UserError(wording.bad_size(text))
    return int(match[1]), int(match[2])


def offered_sizes(defaults: ModelDefaults | None) -> list[tuple[str, str]]:
    """(label, value) of the sizes that a model draws well, its default first. None: no model is loaded yet."""
    offered = [(MODEL_DEFAULT, MODEL_DEFAULT)]
    if defaults is None:
        return offered
    offered[0] = (f"{MODEL_DEFAULT} ({defaults.width}×{defaults.height})", MODEL_DEFAULT)
    seen = {(defaults.width, defaults.height)}
    for name, across, down in _SHAPES:
        width, height = (
            _multiple(side * factor, defaults.size_multiple)
            for side, factor in ((defaults.width, across), (defaults.height, down))
        )
        if (width, height) not in seen and _fits(width, height, defaults):
            seen.add((width, height))
            offered.append((f"{name} {width}×{height}", f"{width}x{height}"))
    return offered


def _multiple(pixels: float, of: int) -> int:
    return max(of, round(pixels / of) * of)


def _fits(width: int, height: int, defaults: ModelDefaults) -> bool:
    return width * height <= defaults.max_pixels and min(width, height) >= 64
