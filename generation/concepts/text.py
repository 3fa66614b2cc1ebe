"""What the concepts of one request mean for its text: vectors, trigger words, and changes of the text encoders.

Text is encoded one request at a time, at batch 1, so a text encoder needs no slots: for the time of one encoding,
hooks on its layers add what the request's LoRAs and differences change.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn import functional

from generation.concepts.changes import RowsDifference

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Mapping

    from torch import Tensor

    from generation.concepts.changes import LoraLayer, WeightDifference

    Hook = Callable[[Any, tuple[Tensor], Tensor], Tensor]
    Difference = WeightDifference | RowsDifference


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
    differences: tuple[tuple[float, tuple[Mapping[str, Difference], ...]], ...] = ()
    """Weight, and by parameter name what else each text encoder has more: in biases, layer norms and embeddings."""

    @contextmanager
    def encoders(self) -> Generator[tuple[Any, ...], None, None]:
        """The text encoders, changed until the end. One thread at a time, without gradients."""
        with ExitStack() as hooks:
            for weight, networks in self.loras:
                for encoder, layers in zip(self.text_encoders, networks, strict=True):
                    for name, layer in layers.items():
                        module: nn.Linear = encoder.get_submodule(name)
                        hooks.callback(module.register_forward_hook(_addition(layer, weight, module.weight)).remove)
            for weight, networks in self.differences:
                for encoder, changes in zip(self.text_encoders, networks, strict=True):
                    for name, change in changes.items():
                        changed: nn.Module = encoder.get_submodule(name.rpartition(".")[0])
                        hook = _difference(
                            change, weight, encoder.get_parameter(name), is_bias=name.endswith(".bias")
                        )
                        hooks.callback(changed.register_forward_hook(hook).remove)
            yield self.text_encoders


def _addition(layer: LoraLayer, weight: float, like: Tensor) -> Hook:
    """y + weight · scale · up · (down · x), in the precision and on the device of the layer."""
    down = layer.down.to(like)
    up = (layer.up.float() * (layer.scale * weight)).to(like)

    def add(_module: object, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return output + functional.linear(functional.linear(inputs[0], down), up)

    return add


def _difference(change: Difference, weight: float, like: Tensor, *, is_bias: bool) -> Hook:
    """What a parameter's difference adds to its layer's output: all these layers are linear in their parameters."""
    values = (change.values.float() * weight).to(like)
    rows = change.rows.to(like.device) if isinstance(change, RowsDifference) else None

    def add(module: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        if is_bias:
            return output + values
        if rows is not None:  # a sum of one row and zeros: exact, and no table has to be made for it
            return output + (inputs[0].unsqueeze(-1) == rows).to(values.dtype) @ values
        if isinstance(module, nn.Embedding):
            return output + functional.embedding(inputs[0], values)
        return output + functional.layer_norm(inputs[0], module.normalized_shape, values, None, module.eps)

    return add
