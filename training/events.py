"""What a training says of itself, after every micro-step. Light."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from generation.recipe import Recipe
    from training.order import TrainedConcept


class Phase(StrEnum):
    PREPARING = "preparing"
    """Photos become latents."""
    CLASS_PICTURES = "class_pictures"
    """The model draws what it knows of the class word."""
    TRAINING = "training"
    SAMPLING = "sampling"
    JUDGING = "judging"
    """Did it learn?"""


@dataclass(frozen=True, slots=True)
class Stepped:
    """`step` of `total` micro-steps of this phase are done."""

    phase: Phase
    step: int
    total: int
    loss: float | None = None
    """The deterministic one, where it was just taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """How it looks now: at 25, 50, 75 and 100 % of the steps. Unchecked pictures."""

    fraction: float
    images: list[tuple[Image.Image, Recipe]]


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event: the file is at its place."""

    concept: TrainedConcept


TrainingEvent = Stepped | Sampled | Finished


class TrainingRefused(Exception):
    """One sentence for the member: this can't be trained here, or not with these photos."""
