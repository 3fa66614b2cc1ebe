"""Text with concepts in it → token ids, and the concepts' own vectors in the text encoder, for one call.

A textual inversion (Gal et al., arXiv 2208.01618) is one or more vectors that stand where a word's embedding would.
Here `<name>` becomes as many ids as it has vectors, beyond the tokenizer's vocabulary, and the vectors are put in at
the output of the encoder's token embedding. Neither the tokenizer nor the embedding table is ever changed.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch
from torch.nn import functional

from generation.families.protocol import Tokens

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Mapping, Sequence
    from contextlib import AbstractContextManager

_MENTION: Final = re.compile(r"[<＜﹤]([^<>＜＞﹤﹥\s]{1,64})[>＞﹥]")
"""`<name>`, also in the wide and small forms of the signs."""


class TextConcepts(Protocol):
    """What the concepts of one request mean for its text."""

    @property
    def key(self) -> Hashable:
        """Equal keys, equal encodings."""
        ...

    @property
    def vectors(self) -> Mapping[str, tuple[torch.Tensor, ...]]:
        """By name, one tensor `[n, width]` for each text encoder."""
        ...

    @property
    def triggers(self) -> Mapping[str, str]:
        """By name, the words that stand for it."""
        ...

    def encoders(self) -> AbstractContextManager[Sequence[Any]]:
        """The text encoders to use, with what these concepts change in them."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a prompt: its own words, or what stands for a concept."""

    text: str
    """Words for the tokenizer, or the name of a concept with vectors."""
    start: int
    """Where in the prompt as it was written."""
    is_concept: bool = False
    replaced: bool = False
    """Are these a concept's words, which stand in the prompt as `<name>`?"""


def split_text(text: str, concepts: TextConcepts | None) -> list[Piece]:
    """A prompt in pieces. `<name>` of an unknown concept is text like any other.

    Names are compared without regard to case and in Unicode's compatibility form (NFKC).
    """
    if concepts is None:
        return [Piece(text, 0)]
    pieces: list[Piece] = []
    position = 0
    for mention in _MENTION.finditer(text):
        name = unicodedata.normalize("NFKC", mention[1]).casefold()
        if name in concepts.vectors:
            piece = Piece(name, mention.start(), is_concept=True)
        elif name in concepts.triggers:
            piece = Piece(concepts.triggers[name], mention.start(), replaced=True)
        else:
            continue
        pieces += [Piece(text[position : mention.start()], position), piece]
        position = mention.end()
    return [*pieces, Piece(text[position:], position)]


def concept_ids(first: int, encoder: int, concepts: TextConcepts | None) -> dict[str, range]:
    """The ids of every concept's vectors for one encoder, counted on from `first`, the tokenizer's own size."""
    ids: dict[str, range] = {}
    for name, vectors in concepts.vectors.items() if concepts else ():
        ids[name] = range(first, first + len(vectors[encoder]))
        first = ids[name].stop
    return ids


def read_pieces(tokenizer: Any, pieces: Sequence[Piece], ids: Mapping[str, range]) -> tuple[list[int], list[int]]:
    """All token ids of a text, without start and end, and where in the prompt each of them begins.

    Every piece is tokenized for itself, as a tokenizer does around a token that was added to it.
    """
    tokens: list[int] = []
    starts: list[int] = []
    for piece in pieces:
        if piece.is_concept:
            tokens += ids[piece.text]
            starts += [piece.start] * len(ids[piece.text])
            continue
        read = tokenizer(piece.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        tokens += read["input_ids"]
        starts += [piece.start + (0 if piece.replaced else offset) for offset, _ in read["offset_mapping"]]
    return tokens, starts


def readable(tokenizer: Any) -> int:
    """How many tokens of a text are read: all places but the start's and the end's."""
    return tokenizer.model_max_length - 2


def padded(tokenizer: Any, encoder: Any, tokens: Sequence[int]) -> Tokens:
    """Cut and padded to the encoder's length, between a start and an end, as CLIP's tokenizer does it."""
    used = [tokenizer.bos_token_id, *tokens[: readable(tokenizer)], tokenizer.eos_token_id]
    padding = tokenizer.model_max_length - len(used)
    ids = torch.tensor([used + [tokenizer.pad_token_id] * padding], device=encoder.device)
    if not getattr(encoder.config, "use_attention_mask", False):
        return Tokens(ids, None)
    return Tokens(ids, torch.tensor([[1] * len(used) + [0] * padding], device=encoder.device))


@contextmanager
def spliced(encoder: Any, first: int, vectors: Sequence[torch.Tensor]) -> Generator[None, None, None]:
    """Within, the encoder knows the ids from `first` on: those of `vectors`, `[n, width]` each, one after another."""
    if not vectors:
        yield
        return
    embedding: torch.nn.Module = encoder.get_input_embeddings()
    table = torch.cat(list(vectors))
    asked: list[torch.Tensor] = []

    def hide_ids(_module: object, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        asked[:] = inputs
        return (inputs[0].masked_fill(inputs[0] >= first, 0),)

    def put_in(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        (ids,) = asked
        # Not `table[…]`: several threads sum the gradient of that in any order, and trainings are to be repeatable.
        own = functional.embedding((ids - first).clamp(min=0), table.to(output.device, output.dtype))
        return torch.where((ids >= first).unsqueeze(-1), own, output)

    hooks = embedding.register_forward_pre_hook(hide_ids), embedding.register_forward_hook(put_in)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
