"""The benchmarks' own arithmetic, against numbers worked out by hand; the timings themselves are nobody's test."""

import itertools

import diffusers
import pytest
import torch
from torch.nn import functional

from generation.limits import SCHEDULERS
from tests.benchmarks.latency import poisson_arrivals
from tests.benchmarks.measure import alternate, percentile
from tests.benchmarks.step_time import count_flops
from tests.benchmarks.subject import AT_ONCE, GUIDANCE, MIXED_SCHEDULERS, mixed_request


def test_flops_of_a_matrix_product_a_convolution_and_attention() -> None:
    """2 per multiply-add: m·n·k; out·in·kernel·pixels; and for attention q·kᵀ and weights·v."""
    matrix, picture = torch.ones(3, 5), torch.ones(2, 4, 6, 6)
    assert count_flops(lambda: matrix @ torch.ones(5, 7)) == 2 * 3 * 5 * 7
    assert (
        count_flops(lambda: functional.conv2d(picture, torch.ones(8, 4, 3, 3), padding=1)) == 2 * 2 * 36 * 8 * 4 * 9
    )
    query, key = torch.ones(2, 3, 16, 8), torch.ones(2, 3, 10, 8)
    attention = count_flops(lambda: functional.scaled_dot_product_attention(query, key, key))
    assert attention == 2 * (2 * 3 * 16 * 10 * 8) * 2


@pytest.mark.parametrize(("percent", "expected"), [(50, 3), (95, 5), (20, 1), (21, 2)])
def test_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([5, 1, 4, 2, 3], percent) == expected


def test_runs_take_turns() -> None:
    calls: list[str] = []
    alternate({name: lambda name=name: calls.append(name) for name in "abc"}, 4, torch.device("cpu"))
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert [sorted(names) for names in rounds] == [["a", "b", "c"]] * 5
    assert len({tuple(names) for names in rounds[1:]}) > 1, "the order never changes"


def test_arrivals_come_at_the_rate_and_again_from_the_seed() -> None:
    arrivals = poisson_arrivals(4000, rate=2.0, seed=1)
    assert arrivals == poisson_arrivals(4000, rate=2.0, seed=1) != poisson_arrivals(4000, rate=2.0, seed=2)
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    assert sum(gaps) / len(gaps) == pytest.approx(0.5, rel=0.05)
    # Exponential: as many gaps over twice the mean as e⁻² says.
    assert sum(gap > 1.0 for gap in gaps) / len(gaps) == pytest.approx(0.1353, abs=0.02)


# diffusers' schedulers hand torch tensors to NumPy; torch 2.13 and NumPy 2.4 disagree on how.
@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
def test_the_mix_is_mixed_and_everyone_makes_the_same_number_of_evaluations() -> None:
    """Otherwise a batch of them would be compared with another amount of work."""
    requests = [mixed_request(index, index, steps=6) for index in range(AT_ONCE)]
    assert len({request.prompt for request in requests}) == AT_ONCE
    assert len(set(MIXED_SCHEDULERS)) == len(set(GUIDANCE)) == AT_ONCE
    assert min(GUIDANCE) > 1, "a request without guidance has one row, not two"
    for request in requests:
        choice = SCHEDULERS[str(request.scheduler)]
        scheduler = getattr(diffusers, choice.class_name)(**choice.options)
        scheduler.set_timesteps(6)
        assert len(scheduler.timesteps) == 6, request.scheduler
