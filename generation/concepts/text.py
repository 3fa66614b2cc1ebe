"""What the concepts of one request mean for its text: vectors, trigger words, and LoRAs of the text encoders.

Text is encoded one request at a time, at batch 1, so a text encoder needs no slots: for the time of one encoding,
hooks on its layers add what the request's LoRAs change.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Mapping

    from torch import Tensor, nn

    from generation.concepts.changes import LoraLayer


@dataclass(frozen=True, slots=True, eq=False)
class TextConcepts:
    """See `generation.placeholders.TextConcepts`, which says what an encoder of texts makes of it."""

    key: Hashable
    """Equal keys, equal encodings: it holds the files' SHA-256 and the weights."""
    vectors: Mapping[str, tuple[Tensor, ...]]
    """By name, one `[n, width]` per text encoder."""
    triggers: Mapping[str, str]
    """By name, the words that stand for it."""
    text_encoders: tuple[Any, ...]
    """The model's, or copies with concepts merged in."""
    loras: tuple[tuple[float, tuple[Mapping[str, LoraLayer], ...]], ...] = ()
    """Weight, and by module name the layers for each text encoder."""

    @contextmanager
    def encoders(self) -> Generator[tuple[Any, ...], None, None]:
        """The text encoders, in which the LoRAs act until the end. One thread at a time, without gradients."""
        with ExitStack() as hooks:
            for weight, networks in self.loras:
                for encoder, layers in zip(self.text_encoders, networks, strict=True):
                    for name, layer in layers.items():
                        module: nn.Linear = encoder.get_submodule(name)
                        hooks.callback(module.register_forward_hook(_addition(layer, weight, module.weight)).remove)
            yield self.text_encoders


def _addition(layer: LoraLayer, weight: float, like: Tensor) -> Callable[[Any, tuple[Tensor], Tensor], Tensor]:
    """y + weight · scale · up · (down · x), in the precision and on the device of the layer."""
    down = layer.down.to(like)
    up = (layer.up.float() * (layer.scale * weight)).to(like)

    def add(_module: object, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return output + functional.linear(functional.linear(inputs[0], down), up)

    return add
