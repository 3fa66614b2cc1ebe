"""Words that exist in a tokenizer and mean next to nothing: what DreamBooth and LoRA bind a subject to.

Ruiz et al. 2022, arXiv:2208.12242, section 3.2: a token that is rare has a weak prior, and one that exists has an
embedding that the model has been trained with.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from training.chance import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_OWN: Final = Path(__file__).parent / "base_model" / "rare_tokens.txt"
"""Of the bundled model, which has seen each in about one caption of 4,000."""
_WORD: Final = re.compile(r"[a-z]{3,4}</w>")
_NOT: Final = ("sks",)  # a rifle
_VOWELS: Final = frozenset("aeiouy")
_LATEST: Final = 2000
"""The last entries of a byte-pair vocabulary are its rarest: merges are learned by frequency."""


def rare_token(tokenizer: Any, job: str) -> str:
    """One for this training, so that two concepts in one prompt rarely share one."""
    candidates = rare_tokens(tokenizer)
    return candidates[number_of(job, "rare token") % len(candidates)]


def rare_tokens(tokenizer: Any) -> list[str]:
    """The bundled model's where the tokenizer reads them as one token; else late short words that nobody says; else
    the bundled model's all the same, in several tokens."""
    own = _OWN.read_text(encoding="utf-8").split()
    return [word for word in own if _is_one_token(tokenizer, word)] or _late_words(tokenizer) or own


def _late_words(tokenizer: Any) -> list[str]:
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    latest = sorted(vocabulary, key=vocabulary.__getitem__)[-_LATEST:]
    words = [entry.removesuffix("</w>") for entry in latest if _WORD.fullmatch(entry)]
    # Without a vowel: neither a word nor a name that is pronounced.
    return [
        word for word in words if word not in _NOT and _VOWELS.isdisjoint(word) and _is_one_token(tokenizer, word)
    ]


def _is_one_token(tokenizer: Any, word: str) -> bool:
    ids = tokenizer(word, add_special_tokens=False)["input_ids"]
    return len(ids) == 1 and ids[0] != tokenizer.bos_token_id and ids[0] != tokenizer.eos_token_id
