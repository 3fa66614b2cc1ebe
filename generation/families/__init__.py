"""What differs between architectures: one file per family, and the choice between them.

`README.md` beside this file says how to add one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from generation.families.protocol import EncodedText, Family, FamilyChoice, TextPart, Tokens, declared_class
from generation.families.stable_diffusion import StableDiffusion
from generation.families.stable_diffusion_xl import StableDiffusionXL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAMILIES: Final[tuple[type[FamilyChoice], ...]] = (StableDiffusion, StableDiffusionXL)

__all__ = [
    "FAMILIES",
    "EncodedText",
    "Family",
    "StableDiffusion",
    "StableDiffusionXL",
    "TextPart",
    "Tokens",
    "config_of",
    "declared_class",
    "family_of",
]


def family_of(index: Mapping[str, Any]) -> Family | None:
    """The family of a model with this `model_index.json`; None if it is of none that is known here."""
    return next((family for kind in FAMILIES if (family := kind.of(index)) is not None), None)


def config_of(shapes: Mapping[str, Sequence[int]]) -> str | None:
    """The folder in `configs/` for a single file with these tensors; None if no family knows it."""
    return next((config for kind in FAMILIES if (config := kind.config_of(shapes)) is not None), None)
