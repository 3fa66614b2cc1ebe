"""What the engine reports, one event at a time. None of it is serialised: a caller maps it to its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from generation.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` of `total_steps` network evaluations are done. (Heun makes 2n − 1 of them for n steps.)"""

    request_id: str
    step: int
    total_steps: int


@dataclass(frozen=True, slots=True)
class ImageReady:
    """Picture `index` of the request, RGB, with what makes it again."""

    request_id: str
    index: int
    image: Image.Image
    recipe: Recipe
    words_not_read: list[str] = field(default_factory=list[str])
    """Words of the prompt, then of the negative prompt, beyond what the text encoder reads."""


@dataclass(frozen=True, slots=True)
class Finished:
    """All pictures of the request were given out."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The request is over without (all of) its pictures. `reason` is one sentence for its member."""

    request_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    request_id: str


Event = Progress | ImageReady | Finished | Failed | Cancelled
