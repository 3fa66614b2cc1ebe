"""What may be in a picture, and how often."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from training.base_model.scenes import BACKGROUNDS, LAYOUTS, TINT, draw_scene, unseen_background


def test_a_subject_is_never_on_its_unseen_background_but_on_every_other() -> None:
    rng = np.random.default_rng(0)
    for subject in range(9):
        seen = {draw_scene(subject, 0, rng).background for _ in range(400)}
        assert seen == set(BACKGROUNDS) - {unseen_background(subject)}


def test_unseen_backgrounds_are_spread_over_the_colours_and_never_white() -> None:
    unseen = Counter(unseen_background(subject) for subject in range(90))
    assert unseen == dict.fromkeys(set(BACKGROUNDS) - {"white"}, 10)


def test_layouts_come_as_often_as_they_should() -> None:
    assert sum(layout.share for layout in LAYOUTS.values()) == pytest.approx(1)
    rng = np.random.default_rng(0)
    drawn = Counter(draw_scene(0, 0, rng).layout for _ in range(5000))
    assert 0.71 < drawn["plain"] / 5000 < 0.77
    assert 0.04 < drawn["two"] / 5000 < 0.06


def test_white_is_the_usual_background_where_none_is_named() -> None:
    rng = np.random.default_rng(0)
    scenes = [draw_scene(number % 9, 0, rng) for number in range(6000)]
    unnamed = Counter(scene.background for scene in scenes if not scene.names_background)
    assert 0.22 < unnamed.total() / 6000 < 0.28
    assert unnamed.most_common(1)[0][0] == "white"
    assert 0.31 < unnamed["white"] / unnamed.total() < 0.39


def test_the_seed_decides() -> None:
    first, again, other = (
        [draw_scene(0, 0, rng) for _ in range(20)] for rng in (np.random.default_rng(seed) for seed in (0, 0, 1))
    )
    assert first == again
    assert first != other


def test_a_tint_leads_to_no_colour_that_there_is_not() -> None:
    parts = [part for name, colour in BACKGROUNDS.items() if name != "white" for part in colour]
    assert min(parts) - TINT >= 0
    assert max(parts) + TINT <= 255
