"""Means with 95 % intervals, by bootstrap over subjects (Efron 1979): pictures of one subject are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000


@dataclass(frozen=True)
class Interval:
    """An estimate, the ends of its 95 % interval, and how many pictures it stands on."""

    value: float
    low: float
    high: float
    count: int

    def as_percent(self) -> str:
        """ "83.1 % (79.0 to 86.9)"."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"

    def as_number(self, digits: int = 3) -> str:
        """ "0.412 (0.390 to 0.437)"."""
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def mean_interval(values: Sequence[float], subjects: Sequence[int], seed: int = 0) -> Interval:
    """Mean of ``values``, resampling whole subjects."""
    sums, counts = _by_subject(values, subjects)
    drawn = _resamples(len(sums), seed)
    means = (drawn @ sums) / (drawn @ counts)
    return _interval(float(sums.sum() / counts.sum()), means, len(values))


def ratio_interval(
    above: Sequence[float], below: Sequence[float], subjects: Sequence[int], seed: int = 0
) -> Interval:
    """Mean of ``above`` divided by mean of ``below`` for the same subjects; infinite where ``below`` is all zero."""
    over, _ = _by_subject(above, subjects)
    under, _ = _by_subject(below, subjects)
    drawn = _resamples(len(over), seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (drawn @ over) / (drawn @ under)
        value = np.float64(over.sum()) / under.sum()
    return _interval(float(value), np.nan_to_num(ratios, nan=np.inf, posinf=np.inf), len(above) + len(below))


def _by_subject(values: Sequence[float], subjects: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    _, number = np.unique(np.asarray(subjects), return_inverse=True)
    sums = np.bincount(number, weights=np.asarray(values, dtype=np.float64))
    return sums.astype(np.float64), np.bincount(number).astype(np.float64)


def _resamples(subjects: int, seed: int) -> NDArray[np.float64]:
    """``[RESAMPLES, subjects]``: how often each subject is drawn."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=RESAMPLES).astype(np.float64)


def _interval(value: float, drawn: NDArray[np.float64], count: int) -> Interval:
    # "lower"/"higher" take drawn values as they are: between a number and infinity there is nothing to interpolate.
    low = float(np.quantile(drawn, 0.025, method="lower"))
    return Interval(value, low, float(np.quantile(drawn, 0.975, method="higher")), count)
