"""A model's networks for gradients: module trees of their own, without the slots and packed convolutions that the
engine puts into the shared ones. Frozen they share the weights; a private copy is in float32 and free to move.

To be made between two steps of the engine: within them there are hooks on the shared networks."""

from __future__ import annotations

import copy
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from generation.conditioning import Conditioning
from generation.families.protocol import EncodedText, Tokens
from generation.placeholders import concept_ids, padded, read_pieces, spliced, split_text
from training.memory import checkpointing_for_adapters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from generation.model import LoadedModel

Network = TypeVar("Network", bound=nn.Module)


def frozen_copy(network: Network, device: torch.device) -> Network:
    """New modules around the same weights; those that are elsewhere are copied to `device`."""
    return _copy(network, {id(weight): weight.detach().to(device) for weight in _tensors(network)}, trained=False)


def private_copy(network: Network, device: torch.device) -> Network:
    """New modules around weights of their own in float32, all of which are to be trained."""
    values = {id(weight): weight.detach().to(device, _trained(weight), copy=True) for weight in _tensors(network)}
    return _copy(network, values, trained=True)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _trained(weight: Tensor) -> torch.dtype:
    return torch.float32 if weight.is_floating_point() else weight.dtype


def _copy(network: Network, values: Mapping[int, Tensor], *, trained: bool) -> Network:
    # What deepcopy finds in here it takes for already copied.
    taken: dict[int, Any] = {}
    for tensor in _tensors(network):
        new = values[id(tensor)]
        taken[id(tensor)] = nn.Parameter(new, requires_grad=trained) if isinstance(tensor, nn.Parameter) else new
    return copy.deepcopy(network, taken).eval()  # none of these networks has dropout to miss


class TextReader:
    """Captions → what the UNet is told, several at a time, with gradients; as `TextConditioning` does it for one."""

    def __init__(self, model: LoadedModel, text_encoders: Sequence[Any], width: int, height: int) -> None:
        """`width` and `height` are the training pictures', in pixels."""
        self._model, self._encoders, self._size = model, tuple(text_encoders), (width, height)

    def encode(self, captions: Sequence[str], vectors: Mapping[str, Sequence[Tensor]] | None = None) -> Conditioning:
        """`vectors` has, by name, what stands for `<name>`: one `[n, width]` for each text encoder.

        Returns `hidden` [captions, tokens, width] and `added`, each [captions, n].
        """
        concepts = _Vectors({name: tuple(rows) for name, rows in (vectors or {}).items()})
        family = self._model.family
        tokens = list[Tokens]()
        with ExitStack() as stack:
            stack.enter_context(precision(self._model))
            for index, (encoder, tokenizer) in enumerate(zip(self._encoders, self._model.tokenizers, strict=True)):
                first = len(tokenizer)
                ids = concept_ids(first, index, concepts)
                read = [read_pieces(tokenizer, split_text(text, concepts), ids)[0] for text in captions]
                tokens.append(_together([padded(tokenizer, encoder, each) for each in read]))
                own = [rows[index] for rows in concepts.vectors.values()]
                stack.enter_context(spliced(encoder, first, own))
            text: EncodedText = family.encode(self._encoders, tokens, None)
        added = family.added(text, *self._size)
        return Conditioning(text.hidden, {name: value.expand(len(captions), -1) for name, value in added.items()})


class _Vectors:
    """`generation.placeholders.TextConcepts` for vectors that are being trained."""

    key = None

    def __init__(self, vectors: Mapping[str, tuple[Tensor, ...]]) -> None:
        self.vectors = vectors
        self.triggers: Mapping[str, str] = {}

    def encoders(self) -> AbstractContextManager[Sequence[Any]]:
        return nullcontext(())


def _together(texts: Sequence[Tokens]) -> Tokens:
    masks = [text.mask for text in texts if text.mask is not None]
    return Tokens(torch.cat([text.ids for text in texts]), torch.cat(masks) if masks else None)


def run_unet(model: LoadedModel, unet: Any, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
    """What `unet` makes of `noisy` [rows, channels, h, w] at `timesteps` [rows]: float32, of the same shape."""
    with precision(model):
        predicted: Tensor = unet(
            noisy,
            timesteps,
            encoder_hidden_states=conditioning.hidden,
            added_cond_kwargs=conditioning.added or None,
            return_dict=False,
        )[0]
    return predicted.float()


def precision(model: LoadedModel) -> AbstractContextManager[Any]:
    """For a forward that gradients go back through: mixed precision where the model's weights are in half."""
    if model.dtype == torch.float32:
        return nullcontext()
    return torch.autocast(model.device.type, model.dtype)


def attention(model: LoadedModel) -> AbstractContextManager[Any]:
    """For a forward and its backward, which may compute parts of the forward again.

    On a CPU attention is plain matrix products: torch's flash attention for CPUs is slow backwards (measured with
    the bundled model: 1.35 of a step).
    """
    return sdpa_kernel(SDPBackend.MATH) if model.device.type == "cpu" else nullcontext()


def frozen_unet(model: LoadedModel, rows: int, width: int, height: int) -> Any:
    """A `frozen_copy` of the UNet, for that many rows at a time of pictures of that size. Where memory is short, it
    computes activations again on the way back.

    Raises:
        TrainingRefused: there is not enough memory even so.
    """
    unet: Any = frozen_copy(model.unet, model.device)
    if checkpointing_for_adapters(model, rows, width, height):
        unet.enable_gradient_checkpointing()
    return unet
