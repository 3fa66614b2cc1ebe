"""What emojibase-data calls the pictograms: English labels, shortcodes and keywords → names for captions."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GROUPS_LEFT_OUT = (None, 2, 9)
"""emojibase's groups: letters for flags have none, 2 is skin tones and hair, 9 is flags."""
MOST_SHORTCODES, MOST_TAGS = 3, 2
ORDINALS = {"1st": "first", "2nd": "second", "3rd": "third"}
ARTICLES = {"beard": "a beard", "bald": "a bald head"}


@dataclass(frozen=True)
class Entry:
    """One emoji: its code points (lower case, without variation selectors), its label and its other words.

    Shortcodes are names; tags are anything that people may think of, the best (words of the label) first.
    """

    hexcode: str
    label: str
    shortcodes: tuple[str, ...]
    tags: tuple[str, ...]


def plain_hexcode(hexcode: str) -> str:
    """One spelling for all packages: "2764-FE0F" → "2764"."""
    return hexcode.lower().replace("-fe0f", "")


def read_json(file: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(file.read_text(encoding="utf-8"))


def shortcodes(folder: Path) -> dict[str, list[str]]:
    """``{plain hexcode: shortcodes}`` of all of emojibase's lists, each once, in the order of the lists."""
    found: dict[str, list[str]] = {}
    for file in sorted((folder / "en" / "shortcodes").glob("*.json")):
        for hexcode, codes in read_json(file).items():
            found.setdefault(plain_hexcode(hexcode), []).extend([codes] if isinstance(codes, str) else codes)
    return {hexcode: list(dict.fromkeys(codes)) for hexcode, codes in found.items()}


def emojibase_entries(folder: Path) -> list[Entry]:
    """Every emoji but flags, skin tones and keycaps, in emojibase's order."""
    codes = shortcodes(folder)
    entries: list[Entry] = []
    for item in read_json(folder / "en" / "data.json"):
        if item.get("group") in GROUPS_LEFT_OUT or item["label"].startswith("keycap"):
            continue
        hexcode = plain_hexcode(item["hexcode"])
        label = clean_label(item["label"])
        tags = sorted(item.get("tags", []), key=lambda tag: tag not in label)
        entries.append(Entry(hexcode, label, clean_words(codes.get(hexcode, ())), clean_words(tags)))
    return entries


def emojibase_texts(folder: Path) -> Iterator[str]:
    """Every English label, keyword and shortcode of emojibase-data, as text for the tokenizer."""
    for item in read_json(folder / "en" / "data.json"):
        yield item["label"]
        yield from item.get("tags", [])
    for codes in shortcodes(folder).values():
        yield from codes


def clean_words(words: Iterable[str]) -> tuple[str, ...]:
    """Shortcodes or tags as words, each once: "see_no_evil" → "see no evil"."""
    return tuple(dict.fromkeys(clean_label(re.sub("[_-]", " ", word)) for word in words))


def clean_label(label: str) -> str:
    """A label as a noun phrase in lower case: "person: beard" → "person with a beard"."""
    text = unicodedata.normalize("NFKD", label.lower().replace("’", "'"))
    text = re.sub(r"[^a-z0-9' :,()-]", "", text)
    text = re.sub(r"^(.*) \((.*)\)$", r"\2 \1", text)  # "a button (blood type)" → "blood type a button"
    text = " ".join(ORDINALS.get(word, word) for word in text.split())
    head, _, detail = text.partition(": ")
    if not detail or detail == "facing right":
        return f"{head} {detail}".strip()
    if head in ("person", "man", "woman"):
        return f"{head} with {ARTICLES.get(detail, detail)}"
    *others, last = detail.split(", ")
    return f"{head} of {', '.join(others)} and {last}" if others else f"{head} of {last}"


def name_entries(entries: Sequence[Entry], handwritten: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """``{hexcode: names}``; no two share a name.

    The ``handwritten`` names of a hexcode go before all others, then comes its label. Where nobody wrote names,
    a few shortcodes and tags follow, if no other entry has them.
    """
    taken = {name for names in handwritten.values() for name in names} | {entry.label for entry in entries}
    users = Counter(word for entry in entries for word in {*entry.shortcodes, *entry.tags})
    written = {name for names in handwritten.values() for name in names}
    named: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        label = () if entry.label in written else (entry.label,)
        if entry.hexcode in handwritten:
            named[entry.hexcode] = (*handwritten[entry.hexcode], *label)
            continue
        codes = [word for word in entry.shortcodes if is_free(word, users, taken)][:MOST_SHORTCODES]
        tags = [word for word in entry.tags if is_free(word, users, taken) and word not in codes][:MOST_TAGS]
        named[entry.hexcode] = (*label, *codes, *tags)
    return named


def is_free(word: str, users: Counter[str], taken: Container[str]) -> bool:
    """Can the word be a name: a real word, of one entry alone?"""
    return users[word] == 1 and word not in taken and re.fullmatch(r"[a-z][a-z' ]{2,}", word) is not None
