"""The policy on a clock of its own: who gets how much of a long time."""

import pytest

from bot.worker.share import IDLE_AFTER_SECONDS, Share


class Machine:
    """Pictures in steps of `picture` seconds, a training in micro-steps of `micro` seconds."""

    def __init__(self, picture: float = 0.05, micro: float = 0.1) -> None:
        self.now = 1000.0
        self.share = Share(lambda: self.now)
        self.picture, self.micro = picture, micro
        self.drawing = self.training = 0.0
        self.order = ""

    def turn(self, *, pictures: bool) -> None:
        """As the worker's loop takes it."""
        if pictures:
            self.now += self.picture
            self.drawing += self.picture
            self.share.drew(self.picture)
            self.order += "p"
        if self.share.may_train(pictures_wait=pictures):
            self.now += self.micro
            self.training += self.micro
            self.share.trained(self.micro)
            self.order += "t"
        elif not pictures:
            self.now += self.share.seconds_to_idle

    def turns(self, count: int, *, pictures: bool) -> None:
        for _ in range(count):
            self.turn(pictures=pictures)


def test_all_idle_time_is_the_trainings() -> None:
    machine = Machine()
    machine.turns(50, pictures=False)
    assert machine.order == "t" * 50


@pytest.mark.parametrize(("picture", "micro"), [(0.05, 0.1), (0.5, 0.01), (0.02, 3.0)])
def test_while_pictures_wait_it_gets_a_tenth_and_one_micro_step_at_a_time(picture: float, micro: float) -> None:
    machine = Machine(picture, micro)
    while machine.drawing < 1000:
        machine.turn(pictures=True)
    most = min(100, 1000 / picture * micro)  # one after each picture step is all it may have
    assert machine.training == pytest.approx(most, rel=0.05)
    assert "tt" not in machine.order


def test_idle_time_is_not_held_against_it_nor_saved_up() -> None:
    machine = Machine()
    machine.turns(1000, pictures=True)
    machine.turns(100, pictures=False)
    before = machine.training
    machine.turns(15, pictures=True)  # 0.75 s: too short a time for 0.1 s of training
    assert machine.training == before
    machine.turns(10, pictures=True)
    assert machine.training == pytest.approx(before + machine.micro)


def test_between_two_pictures_of_a_queue_it_does_not_jump_in() -> None:
    machine = Machine()
    machine.turns(3, pictures=False)
    machine.turn(pictures=True)
    machine.turn(pictures=False)
    assert machine.order == "tttp"
    assert machine.share.seconds_to_idle == 0
    machine.turn(pictures=True)
    machine.now += IDLE_AFTER_SECONDS
    machine.turn(pictures=False)
    assert machine.order == "tttppt"


def test_a_micro_step_that_took_longer_than_usual_is_paid_for() -> None:
    machine = Machine()
    machine.turns(200, pictures=True)
    machine.micro = 20.0  # once
    while "t" not in machine.order[200:]:
        machine.turn(pictures=True)
    machine.micro = 0.1
    while machine.drawing < 1000:
        machine.turn(pictures=True)
    assert machine.training == pytest.approx(100, rel=0.05)
