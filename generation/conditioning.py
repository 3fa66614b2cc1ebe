"""Text → what the UNet is told beside the time, and which words did not fit."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

from generation.families.protocol import EncodedText, Tokens
from generation.placeholders import concept_ids, padded, read_pieces, readable, spliced, split_text
from generation.request import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from contextlib import AbstractContextManager

    from generation.model import LoadedModel
    from generation.placeholders import TextConcepts

_CACHED_TEXTS: Final = 64


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What the UNet is told about one row beside the time."""

    hidden: torch.Tensor
    """`encoder_hidden_states`, `[1, tokens, width]`."""
    added: dict[str, torch.Tensor]
    """`added_cond_kwargs`, each `[1, n]`; empty where the family has none."""


class _Key(NamedTuple):
    text: str
    zeros: bool
    clip_skip: int | None
    concepts: Hashable


class TextConditioning:
    """Encodes one text at a time (batch 1, whoever else is waiting) and remembers the latest ones."""

    def __init__(
        self, model: LoadedModel, using: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext()
    ) -> None:
        """`using("text_encoders")` brings the encoders to the device while they are needed (see `card`)."""
        self._model, self._using = model, using
        self._cache: OrderedDict[_Key, EncodedText] = OrderedDict()

    def encode(
        self,
        text: str,
        *,
        negative: bool,
        width: int,
        height: int,
        clip_skip: int | None = None,
        concepts: TextConcepts | None = None,
    ) -> Conditioning:
        """What the stock pipeline's `encode_prompt` makes of `text`, padded and cut to the encoders' length.

        `negative` is for the row without the prompt: an empty text counts as none given, and `clip_skip` does
        not act on it (as in the stock pipelines). `width` and `height` are the picture's, in pixels.

        Raises:
            InvalidRequest: `clip_skip` is more than this model's text encoders have layers for.
        """
        family = self._model.family
        deepest = family.deepest_clip_skip([encoder.config for encoder in self._model.text_encoders])
        if clip_skip is not None and clip_skip > deepest:
            raise InvalidRequest("clip_skip", clip_skip, f"at most {deepest} for this model")
        zeros = negative and not text and family.zero_empty_negative
        layers = None if negative else clip_skip
        key = _Key(text, zeros, layers, concepts.key if concepts else None)
        if key in self._cache:
            self._cache.move_to_end(key)
            encoded = self._cache[key]
        else:
            with self._using("text_encoders"):
                encoded = self._encode(text, layers, concepts)
            encoded = _zeros_like(encoded) if zeros else encoded
            self._cache[key] = encoded
            if len(self._cache) > _CACHED_TEXTS:
                self._cache.popitem(last=False)
        return Conditioning(encoded.hidden, family.added(encoded, width, height))

    def forget_concepts(self) -> None:
        """Drop every text that was encoded with a concept."""
        self._cache = OrderedDict((key, text) for key, text in self._cache.items() if key.concepts is None)

    def words_not_read(self, text: str, concepts: TextConcepts | None = None) -> list[str]:
        """The words beyond the encoders' length, as they were written. A word read in part counts."""
        first_unread = len(text)
        pieces = split_text(text, concepts)
        for index, tokenizer in enumerate(self._model.tokenizers):
            _, starts = read_pieces(tokenizer, pieces, concept_ids(len(tokenizer), index, concepts))
            first_unread = min([first_unread, *starts[readable(tokenizer) :][:1]])
        position, unread = 0, list[str]()
        for word in text.split():
            position = text.index(word, position) + len(word)
            if position > first_unread:
                unread.append(word)
        return unread

    @torch.no_grad()
    def _encode(self, text: str, clip_skip: int | None, concepts: TextConcepts | None) -> EncodedText:
        model = self._model
        pieces = split_text(text, concepts)
        with concepts.encoders() if concepts else nullcontext(model.text_encoders) as encoders, ExitStack() as stack:
            tokens = list[Tokens]()
            for index, (encoder, tokenizer) in enumerate(zip(encoders, model.tokenizers, strict=True)):
                first = len(tokenizer)
                ids, _ = read_pieces(tokenizer, pieces, concept_ids(first, index, concepts))
                tokens.append(padded(tokenizer, encoder, ids))
                vectors = [vectors[index] for vectors in concepts.vectors.values()] if concepts else []
                stack.enter_context(spliced(encoder, first, vectors))
            return model.family.encode(encoders, tokens, clip_skip)


def _zeros_like(encoded: EncodedText) -> EncodedText:
    pooled = None if encoded.pooled is None else torch.zeros_like(encoded.pooled)
    return EncodedText(torch.zeros_like(encoded.hidden), pooled)
