"""The byte-pair vocabulary: the bundled one, and one learned from made-up words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import CLIPTokenizer

import generation
from training.base_model.scenes import COLOURS
from training.base_model.subjects import rare_tokens
from training.base_model.tokenizer import save_tokenizer

BUNDLED = Path(generation.__file__).parent / "bundled"


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer learned from 6,000 words of four syllables, and a few captions."""
    rng = np.random.default_rng(0)
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
    words = ["".join(rng.choice(syllables, 4)) for _ in range(6000)]
    texts = [*words * 2, *["a fox on a blue background"] * 1000]
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(texts, folder)
    return folder


@pytest.fixture(scope="module", params=["bundled", "learned"])
def tokenizer(request: pytest.FixtureRequest, learned: Path) -> Any:
    return CLIPTokenizer.from_pretrained(BUNDLED / "tokenizer" if request.param == "bundled" else learned)


def test_size_and_length(tokenizer: Any) -> None:
    assert len(tokenizer) <= 4096
    assert tokenizer.model_max_length == 32
    assert tokenizer.pad_token == tokenizer.eos_token == "<|endoftext|>"


def test_a_learned_vocabulary_is_full(learned: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(learned)
    assert len(tokenizer) == 4096
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (4094, 4095, 4095)


def test_rare_tokens_are_single_entries(tokenizer: Any) -> None:
    for token in rare_tokens():
        ids = tokenizer(token).input_ids
        assert ids[1:-1] == [tokenizer.convert_tokens_to_ids(f"{token}</w>")]


def test_words_of_captions_are_single_entries(tokenizer: Any) -> None:
    for word in ("fox", "background", "blue"):
        assert len(tokenizer(word).input_ids) == 3


@pytest.mark.parametrize("text", ["Zoë 🦊 中文", "", "<fox>, don't! 123", "\x00", "🏳️‍🌈", "ﷺ ẞ"])
def test_any_text_encodes_without_unknown_tokens(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text).input_ids
    assert tokenizer.eos_token_id not in ids[:-1]  # which is also the unknown token
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    normal = tokenizer.backend_tokenizer.normalizer.normalize_str(text)
    assert decoded.replace(" ", "") == normal.replace(" ", "")


def test_letters_are_lowered(tokenizer: Any) -> None:
    assert tokenizer("A Blue FOX").input_ids == tokenizer("a blue fox").input_ids


def test_rare_tokens_come_last(learned: Path) -> None:
    entries = list(json.loads((learned / "vocab.json").read_text(encoding="utf-8")))
    assert entries[-2:] == ["<|startoftext|>", "<|endoftext|>"]
    assert entries[-3] == f"{rare_tokens()[-1]}</w>"
    places = [entries.index(f"{token}</w>") for token in rare_tokens()]
    assert min(places) > 4096 - 2 - 20


def test_colours_are_entries_of_the_bundled_vocabulary() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(BUNDLED / "tokenizer")
    assert all(len(tokenizer(word).input_ids) == 3 for word in (*COLOURS, "apple"))
