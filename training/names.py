"""Names of concepts: `<name>` in a prompt. Light."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

from generation.request import InvalidRequest, shown

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_ALLOWED: Final = "1 to 32 letters a to z, digits and hyphens, with a letter or digit first"
_CLASS_WORD: Final = re.compile(r"[^\W_][\w'-]*(?: [\w'-]+){0,3}")
_MENTION: Final = re.compile(r"[<＜﹤]([^<>＜＞﹤﹥\s]{1,64})[>＞﹥]")


def concept_name(text: str) -> str:
    """What a member typed, with or without the angle brackets, as the name that is kept: NFKC, lower case.

    Raises:
        InvalidRequest: characters that a name can't have.
    """
    typed = text.strip()
    match = _MENTION.fullmatch(typed)
    name = unicodedata.normalize("NFKC", match[1] if match else typed).casefold()
    if not _NAME.fullmatch(name):
        sentence = f"A concept's name has {_ALLOWED}, such as my-cat; {shown(text)} is not one."
        raise InvalidRequest("name", text, _ALLOWED, sentence)
    return name


def class_word(text: str) -> str:
    """The word for the kind of thing, tidied: 1 to 4 words of letters, at most 40 characters, lower case.

    Raises:
        InvalidRequest: anything else.
    """
    word = unicodedata.normalize("NFKC", " ".join(text.split())).casefold()
    if len(word) > 40 or not _CLASS_WORD.fullmatch(word):
        allowed = "one to four plain words, such as dog or teddy bear"
        raise InvalidRequest("class", text, allowed, f"class must be {allowed}, not {shown(text)}.")
    return word


def mentioned(texts: Iterable[str]) -> list[str]:
    """The names in `<…>` of these texts that could be concepts', each once, in order."""
    names: dict[str, None] = {}
    for text in texts:
        for mention in _MENTION.finditer(text):
            name = unicodedata.normalize("NFKC", mention[1]).casefold()
            if _NAME.fullmatch(name):
                names[name] = None
    return list(names)


def without(text: str, names: Collection[str]) -> str:
    """The text without the `<…>` of these names, and without the gaps that they would leave."""

    def kept(mention: re.Match[str]) -> str:
        return "" if unicodedata.normalize("NFKC", mention[1]).casefold() in names else mention[0]

    return " ".join(_MENTION.sub(kept, text).split()) if names else text
