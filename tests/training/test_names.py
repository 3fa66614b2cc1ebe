"""Labels and keywords of emojibase-data become names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.base_model.names import Entry, clean_label, emojibase_entries, emojibase_texts, name_entries


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("fox", "fox"),
        ("person: beard", "person with a beard"),
        ("woman: red hair", "woman with red hair"),
        ("1st place medal", "first place medal"),
        ("twelve o’clock", "twelve o'clock"),
        ("piñata", "pinata"),
        ("A button (blood type)", "blood type a button"),
        ("Japanese “free of charge” button", "japanese free of charge button"),
        ("kiss: woman, man", "kiss of woman and man"),
        ("person walking: facing right", "person walking facing right"),
        ("ON! arrow", "on arrow"),
    ],
)
def test_labels_become_noun_phrases(label: str, name: str) -> None:
    assert clean_label(label) == name


@pytest.fixture
def emojibase(tmp_path: Path) -> Path:
    """A folder like the package's, with a fox, a keycap, a flag, a skin tone and a letter for flags."""
    (tmp_path / "en" / "shortcodes").mkdir(parents=True)
    items = [
        {"hexcode": "1F98A", "label": "fox", "tags": ["animal", "sly"], "group": 3},
        {"hexcode": "2764-FE0F", "label": "red heart", "tags": ["love"], "group": 8, "skins": [{"hexcode": "X"}]},
        {"hexcode": "0031-FE0F-20E3", "label": "keycap: 1", "group": 8},
        {"hexcode": "1F1EB-1F1F7", "label": "flag: France", "group": 9},
        {"hexcode": "1F3FD", "label": "medium skin tone", "group": 2},
        {"hexcode": "1F1E6", "label": "regional indicator A"},
    ]
    (tmp_path / "en" / "data.json").write_text(json.dumps(items))
    codes = {"1F98A": ["fox_face", "fox"], "2764": "heart"}
    (tmp_path / "en" / "shortcodes" / "some.json").write_text(json.dumps(codes))
    return tmp_path


def test_flags_keycaps_and_skin_tones_are_left_out(emojibase: Path) -> None:
    assert emojibase_entries(emojibase) == [
        Entry("1f98a", "fox", ("fox face", "fox"), ("animal", "sly")),
        Entry("2764", "red heart", ("heart",), ("love",)),
    ]


def test_the_tokenizer_reads_every_word(emojibase: Path) -> None:
    assert {"fox", "sly", "fox_face", "love", "flag: France"} <= set(emojibase_texts(emojibase))


def test_a_keyword_of_two_emoji_names_neither() -> None:
    entries = [Entry("1", "fox", (), ("animal", "sly")), Entry("2", "cat", (), ("animal", "purring"))]
    assert name_entries(entries, {}) == {"1": ("fox", "sly"), "2": ("cat", "purring")}


def test_handwritten_names_go_first_and_belong_to_nobody_else() -> None:
    entries = [Entry("1", "cat face", ("cat face",), ("head",)), Entry("2", "cat", ("cat2",), ("whiskers",))]
    named = name_entries(entries, {"1": ("cat", "kitty")})
    assert named == {"1": ("cat", "kitty", "cat face"), "2": ("whiskers",)}


def test_a_label_is_never_another_s_keyword() -> None:
    entries = [Entry("1", "orange", (), ()), Entry("2", "tangerine", (), ("orange",))]
    assert name_entries(entries, {})["2"] == ("tangerine",)
