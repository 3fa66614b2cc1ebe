import threading
import time

from bot.worker.beats import Beats
from bot.worker.messages import FromWorker, Heartbeat


class Heard:
    def __init__(self) -> None:
        self.beats: list[Heartbeat] = []
        self.came = threading.Condition()

    def __call__(self, message: FromWorker) -> None:
        assert isinstance(message, Heartbeat)
        with self.came:
            self.beats.append(message)
            self.came.notify_all()

    def wait_for(self, count: int) -> bool:
        with self.came:
            return self.came.wait_for(lambda: len(self.beats) >= count, 30)


def test_a_beat_names_the_jobs_and_is_not_said_too_often() -> None:
    heard = Heard()
    beats = Beats(heard, every=1000)
    beats.steps = 7
    beats.beat(["a", "b"])
    beats.beat(["a"])
    assert [(beat.step_counter, beat.jobs) for beat in heard.beats] == [(7, ["a", "b"])]


def test_inside_of_a_long_step_they_go_on_and_after_it_they_stop() -> None:
    heard = Heard()
    beats = Beats(heard, every=0.01)
    with beats.during(["a", "t"]):
        assert heard.wait_for(3)
    assert {tuple(beat.jobs) for beat in heard.beats} == {("a", "t")}
    with beats.during(["t"]):  # the same thread
        count = len(heard.beats)
        assert heard.wait_for(count + 2)
    assert heard.beats[-1].jobs == ["t"]
    assert sum(thread.name == "heartbeats" and thread.is_alive() for thread in threading.enumerate()) >= 1


def test_a_step_that_hangs_is_not_covered_for_ever() -> None:
    heard = Heard()
    with Beats(heard, every=0.01, longest=0.0).during(["t"]):
        time.sleep(0.1)  # long enough for several
    assert heard.beats == []
