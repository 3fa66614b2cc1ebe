"""Bootstrap over subjects, against scipy's own bootstrap and against cases that can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from training.base_model.intervals import Interval, mean_interval, ratio_interval


def test_one_picture_per_subject_is_the_ordinary_bootstrap() -> None:
    values = np.random.default_rng(5).normal(3, 1, 80)
    ours = mean_interval(values.tolist(), list(range(80)))
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert ours.count == 80


def test_many_pictures_of_two_subjects_say_no_more_than_two_subjects() -> None:
    interval = mean_interval([1.0] * 500 + [0.0] * 500, [0] * 500 + [1] * 500)
    assert (interval.value, interval.low, interval.high) == (0.5, 0.0, 1.0)


def test_subjects_with_more_pictures_count_more() -> None:
    assert mean_interval([1.0, 1.0, 1.0, 0.0], [7, 7, 7, 9]).value == 0.75


def test_a_ratio_is_of_the_means_and_pairs_the_subjects() -> None:
    # Every subject has twice as much above as below, so every resample does, however different the subjects are.
    above = [2.0, 4.0, 20.0]
    ratio = ratio_interval(above, [value / 2 for value in above], [0, 1, 2])
    assert (ratio.value, ratio.low, ratio.high) == (2.0, 2.0, 2.0)


def test_a_ratio_to_nothing_is_infinite() -> None:
    assert ratio_interval([1.0, 0.0], [0.0, 0.0], [0, 1]).value == math.inf
    assert ratio_interval([1.0, 1.0], [0.0, 1.0], [0, 1]).high == math.inf


def test_the_same_data_gives_the_same_interval() -> None:
    values, subjects = [0.0, 1.0, 1.0, 0.0, 1.0], [0, 0, 1, 2, 2]
    assert mean_interval(values, subjects) == mean_interval(values, subjects)


def test_wording() -> None:
    assert Interval(0.8312, 0.79, 0.8689, 200).as_percent() == "83.1 % (79.0 to 86.9)"
    assert Interval(0.41239, 0.39, 0.437, 200).as_number() == "0.412 (0.390 to 0.437)"
