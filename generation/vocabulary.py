"""CLIP's tokenizer without a model's folder: for single files, which bring weights and no vocabulary.

The byte-pair vocabulary is the one of CLIP (Radford et al., arXiv 2103.00020) that every Stable Diffusion uses. Its
merges stand in `configs/clip/merges.txt` (see NOTICE); the 49,408 entries follow from them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from transformers import CLIPTokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping

_MERGES: Final = Path(__file__).parent / "configs" / "clip" / "merges.txt"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_PRINTABLE: Final = (range(ord("!"), ord("~") + 1), range(ord("¡"), ord("¬") + 1), range(ord("®"), ord("ÿ") + 1))
_WORD_END: Final = "</w>"


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer that `tokenizer_config.json` in `folder` describes: its padding and its length."""
    settings: dict[str, object] = json.loads((folder / "tokenizer_config.json").read_bytes())
    settings.pop("tokenizer_class")
    vocabulary, merges = clip_vocabulary()
    return CLIPTokenizer(vocab=dict(vocabulary), merges=list(merges), **settings)  # type: ignore[arg-type]


@cache
def clip_vocabulary() -> tuple[Mapping[str, int], tuple[tuple[str, str], ...]]:
    """Every token with its id, and the merges, best first.

    The order is that of CLIP's `SimpleTokenizer`: bytes, bytes at the end of a word, merges, start and end of text.
    """
    lines = _MERGES.read_text("utf-8").splitlines()[1:]  # the first names the version
    merges = tuple((left, right) for left, right in (line.split(" ") for line in lines))
    letters = _byte_letters()
    tokens = [*letters, *(letter + _WORD_END for letter in letters), *(left + right for left, right in merges)]
    return {token: index for index, token in enumerate([*tokens, _START, _END])}, merges


def _byte_letters() -> list[str]:
    """One printable letter for each byte, as in GPT-2: itself where it is printable, else one from 256 on."""
    printable = [byte for values in _PRINTABLE for byte in values]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(256 - len(printable))]
