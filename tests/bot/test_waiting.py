import dataclasses
from collections.abc import Callable

from bot.job import Job
from bot.outlook import WorkerState, WorkerStatus
from bot.waiting import WaitingRoom

READY = WorkerStatus(WorkerState.READY)


def test_estimates_follow_what_was_drawn(make_job: Callable[..., Job]) -> None:
    room = WaitingRoom(20)
    room.add(make_job(count=2))
    room.add(make_job())
    assert [place.seconds for _, place in room.in_order(1, READY)] == [None, None]
    room.drawn(images=4, seconds=8)
    assert [place.seconds for _, place in room.in_order(1, READY)] == [2, 6]
    room.drawn(images=1, seconds=10)
    assert room.seconds(1) == (8 + 10) / 5
    for _ in range(30):
        room.drawn(images=1, seconds=10)
    assert room.seconds(1) == 10


def test_jobs_that_end_in_a_burst_count_by_what_the_burst_took(make_job: Callable[..., Job]) -> None:
    """Eight jobs share their steps for two seconds: a quarter of a second each, not two."""
    room = WaitingRoom(20)
    for seconds in (2.0, *[0.0] * 7):
        room.drawn(images=1, seconds=seconds)
    assert room.seconds(4) == 1.0


def test_a_job_whose_worker_died_waits_until_it_can_draw_alone(make_job: Callable[..., Job]) -> None:
    room = WaitingRoom(0)
    new, suspect = make_job(), dataclasses.replace(make_job(member=2), crashes=1)
    room.add(new)
    room.add(suspect, front=True)
    assert room.pop(idle=False) is None
    taken = room.pop(idle=True)
    assert taken is not None
    assert taken.id == suspect.id
    taken = room.pop(idle=False)
    assert taken is not None
    assert taken.id == new.id


def test_a_place_is_told_once_until_it_changes(make_job: Callable[..., Job]) -> None:
    room = WaitingRoom(20)
    first, second = make_job(), make_job(member=2)
    room.add(first)
    room.add(second)
    assert [job.id for job, _ in room.changed_places(0, READY)] == [first.id, second.id]
    assert room.changed_places(0, READY) == []
    room.remove(first.id)
    assert [(job.id, place.position) for job, place in room.changed_places(0, READY)] == [(second.id, 1)]
    loading = [WorkerStatus(WorkerState.LOADING, "x", fraction) for fraction in (0.11, 0.12, 0.2)]
    assert [len(room.changed_places(0, status)) for status in loading] == [1, 0, 1]


def test_only_jobs_with_a_message_are_taken_and_attaching_counts(make_job: Callable[..., Job]) -> None:
    room = WaitingRoom(20)
    silent, shown = make_job(), make_job(member=2)
    room.add(silent)
    room.add(shown)
    room.attach(shown.id, 9)
    room.attach("unknown", 9)
    taken = room.pop()
    assert taken is not None
    assert (taken.id, taken.message_id) == (shown.id, 9)
    assert room.pop() is None
    assert (len(room), room.images) == (1, 1)
