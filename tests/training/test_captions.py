"""Captions say what is in the picture, and nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest

from training.base_model.captions import caption, plural, with_article
from training.base_model.scenes import BACKGROUNDS, Scene, draw_scene
from training.base_model.subjects import rare_tokens, subjects

LAYOUT_WORDS = {
    "small": r"\b(small|tiny|little)\b",
    "large": r"\b(large|big|huge|close-up)\b",
    "left": r"\bleft\b",
    "right": r"\bright\b",
    "two": r"\b(two|pair)\b",
    "mirrored": r"\b(mirrored|flipped)\b",
}
COLOUR_OF = {**{name: name for name in BACKGROUNDS}, "grey": "gray", "violet": "purple"}


def captions(count: int, style: str | None = None, seed: int = 0) -> list[tuple[Scene, str]]:
    rng = np.random.default_rng(seed)
    taught = subjects()
    scenes = [draw_scene(number % len(taught), 0, rng) for number in range(count)]
    return [(scene, caption(scene, taught[scene.subject], style, rng)) for scene in scenes]


def test_captions_come_from_the_seed() -> None:
    assert captions(50) == captions(50)
    assert captions(50) != captions(50, seed=1)


def test_a_named_background_is_the_picture_s() -> None:
    named = [(scene, text) for scene, text in captions(4000) if "background" in text]
    assert len(named) > 1000
    for scene, text in named:
        (colour,) = re.findall(rf"({'|'.join(COLOUR_OF)}) background", text)
        assert COLOUR_OF[colour] == scene.background


def test_layout_words_are_said_of_such_layouts_only() -> None:
    names = " ".join(name for subject in subjects() for name in subject.names)
    for scene, text in captions(4000):
        said = {layout for layout, words in LAYOUT_WORDS.items() if re.search(words, text)}
        assert said <= {scene.layout}, text
    assert not any(re.search(words, names) for words in LAYOUT_WORDS.values())  # or the above would prove nothing


def test_layouts_are_said() -> None:
    rng = np.random.default_rng(0)
    for layout, words in LAYOUT_WORDS.items():
        texts = [caption(Scene(0, 0, "white", False, layout), subjects()[0], None, rng) for _ in range(100)]
        assert sum(bool(re.search(words, text)) for text in texts) > 75, layout  # the others say no subject at all


def test_a_caption_of_a_subject_has_one_of_its_names() -> None:
    rng = np.random.default_rng(0)
    fox = subjects()[0]
    texts = [caption(Scene(0, 0, "blue", True), fox, None, rng) for _ in range(300)]
    without = [text for text in texts if "fox" not in text]
    assert {text for text in without if text not in ("", "blue", "a blue background")} <= {
        "blue background",
        "plain blue background",
    }


def test_an_unnamed_background_stays_unnamed() -> None:
    rng = np.random.default_rng(0)
    texts = [caption(Scene(0, 0, "blue", False), subjects()[0], None, rng) for _ in range(300)]
    assert not any("blue" in text for text in texts if "fox" in text)


def test_styles_are_named_only_where_there_are_several() -> None:
    assert not any("style" in text for _, text in captions(500))
    with_style = [text for _, text in captions(1000, style="twemoji")]
    assert 0.4 < sum("twemoji style" in text for text in with_style) / 1000 < 0.65


def test_about_a_ninth_of_captions_are_empty_for_guidance() -> None:
    drawn = captions(5000)
    assert 0.09 < sum(text == "" for _, text in drawn) / len(drawn) < 0.13


def test_rare_tokens_are_in_about_one_of_a_thousand_captions() -> None:
    drawn = captions(12_000)
    share = sum(any(token in text.split() for token in rare_tokens()) for _, text in drawn) / len(drawn)
    assert 0.0003 < share < 0.003


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("apple", "an apple"),
        ("unicorn", "a unicorn"),
        ("umbrella", "an umbrella"),
        ("the sun", "the sun"),
        ("glasses", "glasses"),
        ("octopus", "an octopus"),
    ],
)
def test_articles(name: str, phrase: str) -> None:
    assert with_article(name) == phrase


@pytest.mark.parametrize(
    ("name", "many"),
    [
        ("fox", "foxes"),
        ("puppy", "puppies"),
        ("monkey", "monkeys"),
        ("mouse", "mice"),
        ("red apple", "red apples"),
        ("scissors", "scissors"),
        ("bus", "buses"),
    ],
)
def test_plurals(name: str, many: str) -> None:
    assert plural(name) == many
