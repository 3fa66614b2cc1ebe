"""Names of concepts while they are typed. Discord takes choices of at most 100 characters, 25 of them."""

import pytest

from bot.chat.concept_names import completed, fitting, name_begun

NAMES = ["my-cat", "mug", "tom-cat"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("a photo of <", ["a photo of <my-cat>", "a photo of <mug>", "a photo of <tom-cat>"]),
        ("a photo of <mu", ["a photo of <mug>"]),
        ("<cat", ["<my-cat>", "<tom-cat>"]),
        ("<mug> beside <TOM", ["<mug> beside <tom-cat>"]),
        ("＜ｍｙ", ["<my-cat>"]),
        ("a photo of my-c", []),  # without the bracket Enter must send what was typed, not choose
        ("a photo of <my-cat>", []),
        ("<my-cat> on", []),
        ("2 < 3", []),
        ("<nothing", []),
        ("", []),
    ],
)
def test_a_name_that_was_begun_is_ended(typed: str, offered: list[str]) -> None:
    assert completed(typed, NAMES) == offered


def test_only_what_discord_takes_is_offered() -> None:
    assert completed("x" * 92 + "<m", NAMES[:2]) == ["x" * 92 + "<my-cat>", "x" * 92 + "<mug>"]  # 100 and 97
    assert completed("x" * 93 + "<m", NAMES[:2]) == ["x" * 93 + "<mug>"]
    assert len(completed("<", [f"cat-{number}" for number in range(40)])) == 25


def test_own_ones_come_first_and_then_those_that_begin_like_it() -> None:
    assert fitting("cat", ["my-cat", "cat-2", "mug"], ["tom-cat", "cat-1"]) == ["cat-2", "my-cat", "cat-1", "tom-cat"]
    assert fitting("<CAT-1>", ["my-cat", "cat-1"]) == ["cat-1"]
    assert fitting(" ", ["b", "a"], ["0"]) == ["b", "a", "0"]
    assert completed("<m", ["my-cat"], ["mug"]) == ["<my-cat>", "<mug>"]


def test_what_counts_as_begun() -> None:
    assert name_begun("a <my-") == "my-"
    assert name_begun("a <") == ""
    assert name_begun("a < b") is None
