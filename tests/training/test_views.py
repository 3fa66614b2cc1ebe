"""Views of held-out pictograms: what varies between them, and that they are what nobody was trained on."""

from __future__ import annotations

import numpy as np
import pytest

from training.base_model.scenes import BACKGROUNDS
from training.base_model.subjects import held_out_icons
from training.base_model.subjects import subjects as taught
from training.views import ALL_UNSEEN, FOR_TUNING, SIZE, UNSEEN, VIEWS, icon_of, views


def test_what_is_measured_with_was_kept_out_of_model_and_judge() -> None:
    icons = [subject.icon for subject in ALL_UNSEEN]
    assert sorted(icons) == sorted(held_out_icons())
    assert len(UNSEEN) >= 6
    assert not {subject.icon for subject in UNSEEN} & {subject.icon for subject in FOR_TUNING}


def test_class_words_are_words_of_the_model() -> None:
    known = {name for subject in taught() for name in subject.names}
    for subject in (*UNSEEN, *FOR_TUNING):
        assert subject.class_word in known
        assert subject.name not in known


def test_no_two_views_are_on_the_same_background_or_alike() -> None:
    training, held_out = views("avocado", 3)
    assert len(training) == len(held_out) == VIEWS
    corners = np.array([np.asarray(view)[0, 0] for view in (*training, *held_out)], dtype=int)
    nearest = [min(BACKGROUNDS, key=lambda word: abs(corner - BACKGROUNDS[word]).max()) for corner in corners]
    assert sorted(nearest) == sorted(BACKGROUNDS)
    assert {view.size for view in training} == {(SIZE, SIZE)}


def test_a_seed_gives_the_same_views_and_another_gives_others() -> None:
    first, again, other = (views("violin", seed)[0][0].tobytes() for seed in (1, 1, 2))
    assert first == again != other


def test_there_is_an_icon_in_each_place() -> None:
    for subject in ALL_UNSEEN:
        icon = icon_of(subject.icon)
        assert icon.shape == (4, 128, 128)
        assert 0.1 < (icon[3] > 0).float().mean() < 1
    with pytest.raises(KeyError):
        icon_of("fox")
