from __future__ import annotations

from training.early_stop import EarlyStop


def stops_at(losses: list[float], **values: float) -> int | None:
    watch = EarlyStop(**{"patience": 2, "min_improvement": 0.1, "min_steps": 0, **values})  # type: ignore[arg-type]
    for step, loss in enumerate(losses):
        watch.take(step, loss)
        if watch.stopped:
            return step
    return None


def test_it_stops_after_two_without_a_better_loss() -> None:
    assert stops_at([10, 8, 8, 8]) == 3
    assert stops_at([10, 8, 8, 7, 7, 7]) == 5


def test_a_tenth_better_is_better_and_less_is_not() -> None:
    assert stops_at([10, 8.9, 8.0, 7.1]) is None
    assert stops_at([10, 9.1, 9.05]) == 2


def test_it_keeps_the_least_number_of_steps_and_never_stops_without_patience() -> None:
    assert stops_at([10] * 20, min_steps=7) == 7
    assert stops_at([10] * 20, patience=0) is None


def test_it_knows_the_first_loss_and_the_last() -> None:
    watch = EarlyStop(2, 0.1, 0)
    for step, loss in enumerate([5.0, 3.0, 4.0]):
        watch.take(step, loss)
    assert (watch.first, watch.best, watch.last, watch.at) == (5.0, 3.0, 4.0, 2)
