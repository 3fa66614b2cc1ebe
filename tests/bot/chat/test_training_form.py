"""The form of `/train`: what its custom id carries, what Discord allows, and what is taken from what comes back."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from bot.chat.training import refuse_children
from bot.chat.training_form import Asked, Sent, TrainForm
from bot.chat.wording import training as words
from bot.errors import UserError
from training.order import Depicts, Method

LONGEST = Asked(Method.DREAMBOOTH, "a" * 32, "grünes altes plüschiges " + "ö" * 16)
SMALL = Asked(Method.LORA, "my-cat", "cat")


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize(("name", "word"), [("a", "teddy bear"), ("x-1", "émile's l'œuvre"), ("0", "犬")])
def test_the_custom_id_carries_what_the_command_said(method: Method, name: str, word: str) -> None:
    asked = Asked(method, name, word)
    assert Asked.of(asked.custom_id) == asked


def test_the_longest_custom_id_is_one_that_discord_takes() -> None:
    assert len(LONGEST.class_word) == 40
    assert len(LONGEST.custom_id) == 100
    assert Asked.of(LONGEST.custom_id) == LONGEST


@pytest.mark.parametrize(
    "custom_id",
    [
        "",
        "atelier:remix:abc:0",
        "atelier:train:2026-11-23:x:cat:cat",
        "atelier:train:now:l:cat:cat",
        "atelier:train:",
    ],
)
def test_what_is_no_form_of_ours(custom_id: str) -> None:
    assert Asked.of(custom_id) is None


@pytest.mark.parametrize("name", ["../../x", "<cat>x", "Ａ b", "\u202ecat", "a_b"])
def test_a_forged_name_is_refused(name: str) -> None:
    with pytest.raises(UserError):
        Asked.of(f"atelier:train:2026-11-23:l:{name}:cat")


def test_the_version_stands_for_this_text() -> None:
    """Who changes the text changes the version too: members agreed to the words that they saw."""
    known = {"2026-11-23": "590c01def931a7d8"}
    assert hashlib.sha256(words.CONSENT_TEXT.encode()).hexdigest()[:16] == known[words.CONSENT_VERSION]


def test_the_form_asks_for_photos_for_what_it_is_and_for_a_yes() -> None:
    form: Any = TrainForm(LONGEST).to_dict()
    assert len(form["title"]) <= 45
    fields = [part["component"] for part in form["components"] if "component" in part]
    texts = [part["content"] for part in form["components"] if "content" in part]
    assert texts == [words.CONSENT_TEXT]
    assert 2 <= len(form["components"]) <= 5
    photos, depicts, agree = fields
    assert (photos["min_values"], photos["max_values"], photos.get("required", True)) == (3, 10, True)
    assert [option["value"] for option in depicts["options"]] == ["thing", "self", "adult"]
    assert not any(option.get("default") for option in depicts["options"]), "nobody is said to be anything"
    assert (agree["min_values"], agree.get("required", True)) == (1, True)
    for label in (part for part in form["components"] if "component" in part):
        assert len(label["label"]) <= 45
        assert len(label.get("description", "")) <= 100


def sent(depicts: str | None = "thing", agree: list[str] | None = None, photos: int = 3) -> list[dict[str, Any]]:
    return [
        {"type": 18, "component": {"type": 19, "custom_id": "photos", "values": [str(n) for n in range(photos)]}},
        {"type": 18, "component": {"type": 21, "custom_id": "depicts", "value": depicts}},
        {"type": 10},
        {"type": 18, "component": {"type": 22, "custom_id": "agree", "values": ["yes"] if agree is None else agree}},
    ]


def test_what_comes_back() -> None:
    assert Sent.of(sent("adult", photos=10)) == Sent(Depicts.ADULT, [str(n) for n in range(10)])


@pytest.mark.parametrize("values", [{"depicts": None}, {"depicts": "child"}, {"agree": []}, {"agree": ["no"]}])
def test_without_a_yes_there_is_no_training(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="agree"):
        Sent.of(sent(**values))


@pytest.mark.parametrize("photos", [0, 2, 11])
def test_the_number_of_photos_is_not_left_to_discord(photos: int) -> None:
    with pytest.raises(UserError, match=f"3 to 10 photos, not {photos}"):
        Sent.of(sent(photos=photos))


@pytest.mark.parametrize(
    "word", ["child", "little girl", "toddler", "my baby", "twin babies", "girl in red", "teens and dog"]
)
def test_children_are_refused(word: str) -> None:
    with pytest.raises(UserError, match="Concepts of children are refused"):
        refuse_children(word)


@pytest.mark.parametrize("word", ["cat", "baby elephant", "doll", "woman", "boy's bike", "girl scout hat"])
def test_other_things_are_not(word: str) -> None:
    refuse_children(word)
