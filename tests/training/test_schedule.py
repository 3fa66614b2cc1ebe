"""What changes over a run that is given minutes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.base_model.schedule import WARM_UP_STEPS, learning_rate_share, update_average


def test_learning_rate_warms_up_then_falls_with_the_time_that_is_left() -> None:
    assert learning_rate_share(0.0, 0) == pytest.approx(1 / WARM_UP_STEPS)
    assert learning_rate_share(0.0, WARM_UP_STEPS) == pytest.approx(1.0)
    later = [learning_rate_share(share / 10, 10_000) for share in range(11)]
    assert later == sorted(later, reverse=True)
    assert later[-1] == pytest.approx(0.08)
    assert learning_rate_share(1.5, 10_000) == pytest.approx(0.08)


def test_the_average_follows_slowly_once_many_steps_are_done() -> None:
    average, model = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.zeros_(average.weight)
    nn.init.ones_(model.weight)
    update_average(average, model, step=100_000)
    assert average.weight.item() == pytest.approx(0.001)
    nn.init.zeros_(average.weight)
    update_average(average, model, step=0)
    assert average.weight.item() == pytest.approx(0.9)
    assert torch.equal(model.weight, torch.ones(1, 1))
