from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPTokenizer

import generation
from generation.vocabulary import clip_tokenizer
from tests.generation.conftest import write_tokenizer
from training.rare_tokens import rare_token, rare_tokens

OWN = ["zwqk", "vqxj", "kxvz", "xqjw"]


def bundled() -> Any:
    return CLIPTokenizer.from_pretrained(Path(generation.__file__).parent / "bundled/tokenizer")


def clip() -> Any:
    return clip_tokenizer(Path(generation.__file__).parent / "configs/stable-diffusion-v1/tokenizer")


def test_the_bundled_models_own() -> None:
    assert rare_tokens(bundled()) == OWN


@pytest.mark.parametrize("tokenizer", [bundled, clip])
def test_each_is_one_token_and_none_is_a_weapon(tokenizer: Callable[[], Any]) -> None:
    reads = tokenizer()
    words = rare_tokens(reads)
    assert len(words) >= 4
    assert "sks" not in words
    for word in words:
        assert len(reads(f"a photo of {word} dog", add_special_tokens=False)["input_ids"]) == 5


def test_a_job_has_its_own_and_always_the_same() -> None:
    reads = bundled()
    chosen = [rare_token(reads, f"job {number}") for number in range(40)]
    assert chosen == [rare_token(reads, f"job {number}") for number in range(40)]
    assert set(chosen) == set(OWN)


def test_a_tokenizer_without_any_reads_them_in_pieces(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    assert rare_tokens(CLIPTokenizer.from_pretrained(tmp_path)) == OWN
