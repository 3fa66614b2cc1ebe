"""The recipe of the bundled model: captions, tokenizer, subjects and schedules (no training happens here)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.base_model.captions import BACKGROUNDS, Caption, make_caption, with_article
from training.base_model.data import Geometry, compose, crop_to_content, is_plain_icon
from training.base_model.schedule import WARM_UP_STEPS, learning_rate_share
from training.base_model.subjects import HERE, held_out_icons, rare_tokens, read_table, subjects

BUNDLED = Path(__file__).parents[2] / "generation" / "bundled"
FOX = subjects()[0]


def captions(count: int, seed: int = 0) -> list[Caption]:
    rng = np.random.default_rng(seed)
    return [make_caption(subjects()[number % len(subjects())], rng) for number in range(count)]


def test_captions_come_from_the_seed() -> None:
    assert captions(50) == captions(50)
    assert captions(50) != captions(50, seed=1)


def test_captions_never_name_a_background_that_the_picture_has_not() -> None:
    for caption in captions(3000):
        if "background" in caption.text:
            named = [word for word in (*BACKGROUNDS, "grey", "violet") if f"{word} background" in caption.text]
            same = {"grey": "gray", "violet": "purple"}
            assert [same.get(word, word) for word in named] == [caption.background]


def test_every_subject_meets_every_background() -> None:
    rng = np.random.default_rng(0)
    assert {make_caption(FOX, rng).background for _ in range(500)} == set(BACKGROUNDS)


def test_about_a_ninth_of_captions_are_empty_for_guidance() -> None:
    drawn = captions(5000)
    assert 0.09 < sum(caption.text == "" for caption in drawn) / len(drawn) < 0.13


def test_white_is_the_usual_background_where_none_is_named() -> None:
    unnamed = [
        caption.background
        for caption in captions(6000)
        if caption.text and "background" not in caption.text and " on " not in caption.text
    ]
    counts = {name: unnamed.count(name) for name in BACKGROUNDS}
    assert max(counts, key=lambda name: counts[name]) == "white"
    assert 0.3 < counts["white"] / len(unnamed) < 0.4


@pytest.mark.parametrize(
    ("name", "phrase"),
    [("apple", "an apple"), ("unicorn", "a unicorn"), ("umbrella", "an umbrella"), ("the sun", "the sun")],
)
def test_articles(name: str, phrase: str) -> None:
    assert with_article(name) == phrase


def test_rare_tokens_are_in_about_one_of_a_thousand_captions() -> None:
    share = (
        sum(any(token in caption.text.split() for token in rare_tokens()) for caption in captions(30_000)) / 30_000
    )
    assert 0.0003 < share < 0.003
    assert len(set(rare_tokens())) == 4


def test_apple_alone_means_the_red_apple() -> None:
    assert [subject.icon for subject in subjects() if "apple" in subject.names] == ["red-apple"]


def test_no_two_subjects_share_a_name() -> None:
    names = [name for subject in subjects() for name in subject.names]
    assert len(names) == len(set(names))


def test_held_out_subjects_are_not_taught() -> None:
    assert len(held_out_icons()) >= 12
    taught_icons = {subject.icon for subject in subjects()}
    taught_words = {word for subject in subjects() for name in subject.names for word in name.split()}
    for icon, name in read_table(HERE / "held_out.txt"):
        assert icon not in taught_icons
        assert name.split()[-1] not in taught_words


def test_learning_rate_warms_up_then_falls_with_the_time_that_is_left() -> None:
    assert learning_rate_share(0.0, 0) == pytest.approx(1 / WARM_UP_STEPS)
    assert learning_rate_share(0.0, WARM_UP_STEPS) == pytest.approx(1.0)
    later = [learning_rate_share(share / 10, 10_000) for share in range(11)]
    assert later == sorted(later, reverse=True)
    assert later[-1] == pytest.approx(0.08)
    assert learning_rate_share(1.5, 10_000) == pytest.approx(0.08)


def test_composing_puts_the_icon_on_the_background() -> None:
    icon = np.zeros((128, 128, 4), dtype=np.uint8)
    icon[40:88, 40:88] = (200, 0, 0, 255)
    picture = compose(crop_to_content(icon), (10, 20, 30), Geometry(0.5, 8, 0))
    assert picture.shape == (64, 64, 3)
    assert tuple(picture[2, 2]) == (10, 20, 30)
    assert tuple(picture[32, 40]) == (200, 0, 0)  # centre moved 8 pixels to the right
    assert tuple(picture[32, 20]) == (10, 20, 30)


def test_skin_tones_and_flags_are_left_out() -> None:
    assert is_plain_icon("fox")
    assert not is_plain_icon("flag-france")
    assert not is_plain_icon("waving-hand-medium-skin-tone")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import CLIPTokenizer  # takes seconds to import, so only here

    return CLIPTokenizer.from_pretrained(BUNDLED / "tokenizer")


def test_tokenizer_size_and_length(tokenizer: Any) -> None:
    assert len(tokenizer) <= 4096
    assert tokenizer.model_max_length == 32
    assert tokenizer.pad_token == tokenizer.eos_token == "<|endoftext|>"


def test_rare_tokens_are_single_entries(tokenizer: Any) -> None:
    for token in rare_tokens():
        ids = tokenizer(token).input_ids
        assert ids[1:-1] == [tokenizer.convert_tokens_to_ids(f"{token}</w>")]


def test_words_of_captions_are_single_entries(tokenizer: Any) -> None:
    for word in ("fox", "apple", "background", *BACKGROUNDS):
        assert len(tokenizer(word).input_ids) == 3


@pytest.mark.parametrize("text", ["Zoë 🦊 中文", "", "<fox>, don't! 123", "\x00", "🏳️‍🌈", "ﷺ ẞ"])
def test_any_text_encodes_without_unknown_tokens(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text).input_ids
    assert tokenizer.eos_token_id not in ids[:-1]  # which is also the unknown token
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    normal = tokenizer.backend_tokenizer.normalizer.normalize_str(text)
    assert decoded.replace(" ", "") == normal.replace(" ", "")


def test_letters_are_lowered(tokenizer: Any) -> None:
    assert tokenizer("A Red APPLE").input_ids == tokenizer("a red apple").input_ids


def test_bundled_defaults_name_what_was_taught() -> None:
    defaults = json.loads((BUNDLED / "atelier.json").read_text(encoding="utf-8"))
    assert len(defaults["subjects"]) == len(subjects())
    assert defaults["backgrounds"] == list(BACKGROUNDS)
    assert {"num_inference_steps", "guidance_scale", "width", "height", "name"} <= set(defaults)
