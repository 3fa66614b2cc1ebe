"""What every family of models has to say about itself; nothing else in `generation` may depend on a family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch


class TextPart(NamedTuple):
    """A text encoder and the tokenizer that goes with it: their folders, and the encoder's class in transformers."""

    encoder: str
    tokenizer: str
    encoder_class: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as one encoder reads it, padded to its length."""

    ids: torch.Tensor
    """`[1, tokens]`, whole numbers."""
    mask: torch.Tensor | None
    """`[1, tokens]`, 0 where it is padding; None for encoders that read the padding too, as most do."""


@dataclass(frozen=True, slots=True)
class EncodedText:
    """What the text encoders make of one text."""

    hidden: torch.Tensor
    """`[1, tokens, width]`: what the UNet attends to."""
    pooled: torch.Tensor | None = None
    """`[1, n]`: the text as one vector, for families that want it."""


class Family(Protocol):
    """An architecture: which parts it has and what its UNet is told beside the time."""

    @property
    def name(self) -> str:
        """As `ModelInfo.family` has it."""
        ...

    @property
    def text_parts(self) -> tuple[TextPart, ...]: ...

    @property
    def guidance_scale(self) -> float:
        """What suits the family unless the model's `atelier.json` says something."""
        ...

    @property
    def zero_empty_negative(self) -> bool:
        """Is an empty negative prompt all zeros, instead of the encoding of an empty text?"""
        ...

    @property
    def vae_overflows(self) -> bool:
        """Does the VAE's `force_upcast` mean that it must not run in float16?"""
        ...

    def encode(self, encoders: Sequence[Any], tokens: Sequence[Tokens], clip_skip: int | None) -> EncodedText:
        """Run the text encoders, one `Tokens` for each. `clip_skip` as the family's stock pipeline defines it."""
        ...

    def deepest_clip_skip(self, encoders: Sequence[Any]) -> int:
        """The largest `clip_skip` that encoders with these configurations have layers for."""
        ...

    def added(self, text: EncodedText, width: int, height: int) -> dict[str, torch.Tensor]:
        """The UNet's `added_cond_kwargs` for a picture of that size in pixels, each `[1, n]`; empty for none."""
        ...

    def misfit(self, unet: Any, encoders: Sequence[Any]) -> str | None:
        """Why networks with these configurations don't make a model of this family, as a part of a sentence."""
        ...


class FamilyChoice(Protocol):
    """What `families/__init__.py` asks each family's class."""

    @staticmethod
    def of(index: Mapping[str, Any]) -> Family | None:
        """The family of a folder with this `model_index.json`; None if it is another one."""
        ...

    @staticmethod
    def config_of(shapes: Mapping[str, Sequence[int]]) -> str | None:
        """The folder in `configs/` for a single file with these tensors; None if it is of another family."""
        ...


def declared_class(index: Mapping[str, Any], part: str) -> Any:
    """Of `["library", "Class"]` in an index the class; None where there is nothing (or `[null, null]`)."""
    declared = index.get(part)
    return declared[1] if isinstance(declared, list) and len(declared) == 2 else None
