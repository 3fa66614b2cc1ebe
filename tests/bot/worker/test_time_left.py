"""On a clock of its own: a training whose course is known is foretold."""

import itertools

import pytest

from bot.worker.time_left import Expected, TimeLeft
from training.events import Phase

EXPECTED = Expected(
    photos=4,
    steps=100,
    rows_per_step=4,
    class_pictures=10,
    samples=2,
    judged_pictures=5,
    final_pictures=4,
    rows_per_picture=20,
)
DRAWN, LEARNED = 0.1, 0.3
"""Seconds for a row."""
SAMPLING = 2 * 20 * DRAWN
AT_THE_END = (5 + 4) * 20 * DRAWN


class Training:
    def __init__(self, slow: float = 1.0) -> None:
        self.now, self.slow = 50.0, slow
        self.left = TimeLeft(EXPECTED, lambda: self.now)

    def phase(self, phase: Phase, seconds: float, total: int, first: int = 0, last: int | None = None) -> None:
        """Steps `first` to `last` of `total`, all of which would take `seconds`."""
        self.left.stepped(phase, first, total)
        for step in range(first + 1, (total if last is None else last) + 1):
            self.now += self.slow * seconds / total
            self.left.stepped(phase, step, total)

    def until_training(self) -> None:
        self.phase(Phase.PREPARING, 4 * LEARNED, 4)
        self.phase(Phase.CLASS_PICTURES, 10 * 20 * DRAWN, 200)

    def train(self, first: int, last: int) -> None:
        self.phase(Phase.TRAINING, 100 * 4 * LEARNED, 100, first, last)


def test_nothing_is_said_before_anything_is_known() -> None:
    training = Training()
    assert training.left.seconds is None
    training.left.stepped(Phase.PREPARING, 0, 4)
    assert training.left.seconds is None
    assert training.left.seconds_per_step == 0


def test_all_phases_count() -> None:
    training = Training()
    training.until_training()
    training.left.stepped(Phase.TRAINING, 0, 100)
    # A row that is learned from costs three that are drawn, in this world as in the estimate.
    assert training.left.seconds == pytest.approx(100 * 4 * LEARNED + 4 * SAMPLING + AT_THE_END, rel=0.05)
    training.train(0, 60)
    assert training.left.seconds == pytest.approx(40 * 4 * LEARNED + 2 * SAMPLING + AT_THE_END, rel=0.05)
    assert training.left.seconds_per_step == pytest.approx(4 * LEARNED, rel=0.05)
    training.phase(Phase.JUDGING, 5 * 20 * DRAWN, 50, 0, 25)
    assert training.left.seconds == pytest.approx(AT_THE_END - 2.5 * 20 * DRAWN, rel=0.05)
    training.left.finish()
    training.phase(Phase.SAMPLING, 4 * 20 * DRAWN, 4)
    assert training.left.seconds == 0


def test_samples_under_way_count_and_then_do_not() -> None:
    training = Training()
    training.until_training()
    training.train(0, 25)
    training.phase(Phase.SAMPLING, SAMPLING, 40, 0, 20)
    halfway = training.left.seconds
    training.phase(Phase.SAMPLING, SAMPLING, 40, 20, 40)
    training.left.sampled()
    after = training.left.seconds
    assert after == pytest.approx(75 * 4 * LEARNED + 3 * SAMPLING + AT_THE_END, rel=0.05)
    assert halfway == pytest.approx(after + SAMPLING / 2, rel=0.05)


def test_a_machine_that_becomes_busy_shows_soon() -> None:
    training = Training()
    training.until_training()
    training.train(0, 20)
    before = training.left.seconds
    assert before is not None
    training.slow = 10
    training.train(20, 28)  # 8 steps, 96 s
    assert training.left.seconds is not None
    assert training.left.seconds > 4 * before


def test_what_was_done_by_another_process_is_no_pace() -> None:
    training = Training()
    training.phase(Phase.PREPARING, 0.004, 4)
    training.now += 0.5
    training.train(70, 75)
    assert training.left.seconds_per_step == pytest.approx(4 * LEARNED, rel=0.3)


def test_micro_steps_of_one_step_are_its_time() -> None:
    training = Training()
    training.left.stepped(Phase.TRAINING, 0, 100)
    for step, _ in itertools.product(range(1, 11), range(4)):
        training.now += 0.3
        training.left.stepped(Phase.TRAINING, step if _ == 3 else step - 1, 100)
    assert training.left.seconds_per_step == pytest.approx(1.2, rel=0.05)
