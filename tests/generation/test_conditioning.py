from __future__ import annotations

import pytest
import torch

from generation.conditioning import TextConditioning
from generation.model import LoadedModel


@pytest.fixture
def conditioning(tiny_model: LoadedModel) -> TextConditioning:
    return TextConditioning(tiny_model.tokenizer, tiny_model.text_encoder)


def test_every_text_has_the_encoders_length(conditioning: TextConditioning) -> None:
    for text in ("", "a red apple", "apple " * 100):
        assert conditioning.encode(text).shape == (1, 16, 16)


def test_a_text_is_encoded_once(conditioning: TextConditioning, tiny_model: LoadedModel) -> None:
    calls: list[int] = []
    handle = tiny_model.text_encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    first = conditioning.encode("a red apple")
    assert torch.equal(conditioning.encode("a red apple"), first)
    assert len(calls) == 1
    for number in range(100):
        conditioning.encode(f"apple {number}")
    conditioning.encode("a red apple")
    handle.remove()
    assert len(calls) == 102  # pushed out in between: the cache is bounded


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("", []),
        ("apple " * 14, []),
        ("apple " * 14 + "fox", ["fox"]),
        ("apple " * 14 + "Fox, the  Car!", ["Fox,", "the", "Car!"]),
        # 13 tokens, then a word of several: it is read in part only, so it counts as not read.
        ("apple " * 13 + "zebra car", ["zebra", "car"]),
        ("apple " * 14 + "🍎 яблоко", ["🍎", "яблоко"]),
        ("fox " * 15, ["fox"]),
    ],
)
def test_words_not_read(conditioning: TextConditioning, text: str, unread: list[str]) -> None:
    assert conditioning.words_not_read(text) == unread
