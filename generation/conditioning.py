"""Text → what the UNet attends to, and which words did not fit."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

_CACHED_TEXTS: Final = 64


class TextConditioning:
    """Encodes one text at a time (batch 1, whoever else is waiting) and remembers the latest ones."""

    def __init__(self, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel) -> None:
        self._tokenizer: Any = tokenizer
        self._text_encoder: Any = text_encoder
        self._cache: OrderedDict[str, torch.Tensor] = OrderedDict()

    @torch.no_grad()
    def encode(self, text: str) -> torch.Tensor:
        """The last hidden states of `text`, `[1, tokens, hidden]`, padded and cut to the encoder's length.

        As in `StableDiffusionPipeline.encode_prompt`.
        """
        if text in self._cache:
            self._cache.move_to_end(text)
            return self._cache[text]
        tokens = self._tokenizer(
            text,
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        device = self._text_encoder.device
        uses_mask = getattr(self._text_encoder.config, "use_attention_mask", False)
        mask = tokens.attention_mask.to(device) if uses_mask else None
        hidden = self._text_encoder(tokens.input_ids.to(device), attention_mask=mask)[0]
        self._cache[text] = hidden
        if len(self._cache) > _CACHED_TEXTS:
            self._cache.popitem(last=False)
        return hidden

    def words_not_read(self, text: str) -> list[str]:
        """The words beyond the encoder's length, as they were written. A word read in part counts."""
        offsets = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
            "offset_mapping"
        ]
        readable = self._tokenizer.model_max_length - 2  # a start and an end token
        if len(offsets) <= readable:
            return []
        first_unread = offsets[readable][0]
        position, unread = 0, list[str]()
        for word in text.split():
            position = text.index(word, position) + len(word)
            if position > first_unread:
                unread.append(word)
        return unread
