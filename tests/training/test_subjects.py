"""Who is taught, and who must stay unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import generation
from training.base_model.scenes import COLOURS
from training.base_model.subjects import (
    HERE,
    handwritten_subjects,
    held_out_icons,
    is_held_out,
    rare_tokens,
    read_table,
    subjects,
)

BUNDLED = Path(generation.__file__).parent / "bundled"


def test_apple_alone_means_the_red_apple() -> None:
    assert [subject.icon for subject in subjects() if "apple" in subject.names] == ["red-apple"]


def test_no_two_subjects_share_a_name() -> None:
    names = [name for subject in handwritten_subjects() for name in subject.names]
    assert len(names) == len(set(names))


def test_the_small_model_has_at_least_100_subjects() -> None:
    assert len(subjects()) >= 100


def test_held_out_subjects_are_not_taught() -> None:
    assert len(held_out_icons()) >= 12
    taught_names = {name for subject in subjects() for name in subject.names}
    assert not any(is_held_out(subject.icon) for subject in subjects())
    assert not taught_names & {name for _, name in read_table(HERE / "held_out.txt")}


@pytest.mark.parametrize("icon", ["tent", "circus-tent", "camping", "desert", "teddy-bear", "top-hat"])
def test_whatever_shows_a_held_out_subject_is_held_out(icon: str) -> None:
    assert is_held_out(icon)


@pytest.mark.parametrize("icon", ["fox", "bear", "teacup-without-handle", "womans-hat", "musical-score"])
def test_others_are_not(icon: str) -> None:
    assert not is_held_out(icon)


def test_a_title_has_no_article() -> None:
    assert [subject.title for subject in subjects() if subject.icon in ("sun", "fox")] == ["fox", "sun"]


def test_there_are_four_rare_tokens() -> None:
    assert len(set(rare_tokens())) == 4


def test_the_bundled_model_lists_what_it_was_taught() -> None:
    listed = json.loads((BUNDLED / "atelier.json").read_text(encoding="utf-8"))
    assert set(listed["subjects"]) <= {subject.title for subject in subjects()}
    assert listed["backgrounds"] == list(COLOURS)
    assert {"num_inference_steps", "guidance_scale", "width", "height", "name"} <= set(listed)
