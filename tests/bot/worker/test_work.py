"""Who has the worker's next moment, on a clock of its own and with loops that only let time pass."""

from typing import Any, cast

import pytest

from bot.worker.beats import HEARTBEAT_SECONDS, Beats
from bot.worker.messages import Cancel, Draw, Forget, Heartbeat, Train
from bot.worker.share import IDLE_AFTER_SECONDS
from bot.worker.work import Work
from generation.request import ImageRequest
from training.order import Method, TrainingOrder


class Loop:
    """Stands for both kinds."""

    def __init__(self, world: "World", name: str, seconds: float) -> None:
        self._world, self._name, self._seconds = world, name, seconds
        self.busy = self.stalled = False
        self.took: list[Any] = []

    @property
    def jobs(self) -> list[str]:
        return [self._name] if self.busy else []

    def take(self, message: Any) -> None:
        self.took.append(message)

    forget = take

    def step(self) -> None:
        self._world.now += self._seconds
        self._world.order += self._name
        self._world.spent[self._name] += self._seconds


class World:
    def __init__(self) -> None:
        self.now, self.order, self.spent = 1000.0, "", {"p": 0.0, "t": 0.0}
        self.said: list[Any] = []
        self.pictures, self.trainings = Loop(self, "p", 0.05), Loop(self, "t", 0.1)
        beats = Beats(self.said.append)
        self.work = Work(cast("Any", self.pictures), cast("Any", self.trainings), beats, clock=lambda: self.now)

    def turns(self, count: int) -> str:
        before = len(self.order)
        for _ in range(count):
            self.work.step()
        return self.order[before:]


def test_pictures_leave_a_tenth_to_a_training() -> None:
    world = World()
    world.pictures.busy = world.trainings.busy = True
    world.turns(5000)
    assert world.spent["t"] == pytest.approx(0.1 * world.spent["p"], rel=0.05)
    assert "tt" not in world.order
    assert world.work.patience == 0


def test_an_idle_machine_is_the_trainings() -> None:
    world = World()
    world.trainings.busy = True
    assert world.work.patience == 0
    assert world.turns(10) == "t" * 10


def test_pictures_that_wait_for_a_file_do_not_hold_a_training_up() -> None:
    world = World()
    world.pictures.busy = world.pictures.stalled = world.trainings.busy = True
    assert world.turns(3) == "ptptpt"


def test_it_waits_a_moment_for_the_next_picture_of_a_queue() -> None:
    world = World()
    world.trainings.busy = True
    world.turns(3)
    world.pictures.busy = True
    world.turns(1)
    world.pictures.busy = False
    assert world.turns(1) == ""
    assert world.work.patience == pytest.approx(IDLE_AFTER_SECONDS)
    world.now += world.work.patience
    assert world.work.patience == 0
    assert world.turns(2) == "tt"


def test_with_nothing_to_do_it_waits_for_a_message_and_beats() -> None:
    world = World()
    assert world.work.patience == HEARTBEAT_SECONDS
    assert world.turns(2) == ""
    world.work.beat()
    world.pictures.busy = world.trainings.busy = True
    assert [said.jobs for said in world.said if isinstance(said, Heartbeat)] == [[]]


def test_messages_go_to_whom_they_concern() -> None:
    world = World()
    request = ImageRequest(prompt="x", seed=1)
    draw = Draw(job="p", attempt=1, request=request, output_dir="o")
    order = TrainingOrder(job="j", method=Method.LORA, name="thing", class_word="apple")
    train = Train(
        job="j",
        attempt=1,
        order=order,
        photos=[],
        work_dir="w",
        prior_dir="r",
        concept_dir="c",
        request=request,
        output_dir="o",
    )
    cancel, forget = Cancel(job="j"), Forget(sha256="ab")
    for message in (draw, train, cancel, forget):
        world.work.take(message)
    assert world.pictures.took == [draw, cancel, "ab"]
    assert world.trainings.took == [train, cancel]
