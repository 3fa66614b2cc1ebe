"""Fairness is measured in images: members are equal however many jobs they queue and however large those are."""

import time

from hypothesis import given
from hypothesis import strategies as st

from bot.queue import Entry, FairQueue, QueuePlace

LARGEST = 4


def filled(*jobs: tuple[int, int]) -> FairQueue:
    queue = FairQueue()
    for number, (member, images) in enumerate(jobs):
        queue.push(Entry(f"{member}.{number}", member, images))
    return queue


def members(queue: FairQueue) -> list[int]:
    return [entry.member_id for entry in queue.order()]


def test_one_member_queues_a_hundred_and_another_one_is_next() -> None:
    queue = filled(*[(1, 1)] * 100)
    queue.pop()
    queue.push(Entry("new", 2, LARGEST))
    first = queue.pop()
    assert first is not None
    assert first.job_id == "new"


def test_larger_jobs_are_served_less_often() -> None:
    assert members(filled((1, 4), (1, 4), *[(2, 1)] * 6)) == [1, 2, 2, 2, 2, 1, 2, 2]


def test_one_large_job_after_the_other_does_not_beat_the_queue() -> None:
    queue = filled(*[(1, 1)] * 50)
    served = {1: 0, 2: 0}
    for _ in range(30):
        if 2 not in members(queue):
            queue.push(Entry("again", 2, 4))
        entry = queue.pop()
        assert entry is not None
        served[entry.member_id] += entry.images
    assert abs(served[1] - served[2]) <= 4


def test_a_member_who_comes_back_for_each_job_does_not_starve_another() -> None:
    queue = filled(*[(1, 1)] * 10)
    order: list[int] = []
    for _ in range(10):
        if 2 not in members(queue):
            queue.push(Entry("again", 2, 1))
        entry = queue.pop()
        assert entry is not None
        order.append(entry.member_id)
    assert order.count(1) == 5


def test_who_is_being_served_is_not_forgotten_while_nobody_waits() -> None:
    queue = filled((1, 1))
    queue.pop()
    queue.push(Entry("second", 1, 1))
    queue.push(Entry("other", 2, 1))
    assert members(queue) == [2, 1]
    assert [queue.pop(), queue.pop()] != [None, None]
    queue.settle()
    queue.push(Entry("later", 1, 1))
    queue.push(Entry("later other", 2, 1))
    assert members(queue) == [1, 2]


def test_what_was_lost_goes_first_and_costs_nothing_again() -> None:
    queue = filled((1, 1), (2, 1))
    queue.push(Entry("lost", 3, 4), front=True)
    queue.push(Entry("lost too", 3, 4), front=True)
    assert [entry.job_id for entry in queue.order()] == ["lost", "lost too", "1.0", "2.1"]


def test_places_count_the_images_ahead() -> None:
    queue = filled((1, 4), (1, 2), (2, 1))
    assert queue.places() == {"1.0": QueuePlace(1, 0), "2.2": QueuePlace(2, 4), "1.1": QueuePlace(3, 5)}
    assert queue.place("nobody's") is None


def test_a_job_that_may_not_run_yet_keeps_its_place_and_stops_nobody() -> None:
    queue = filled((1, 1), (2, 1), (2, 1))
    assert queue.pop(lambda _: False) is None
    entry = queue.pop(lambda job_id: job_id != "1.0")
    assert entry is not None
    assert entry.job_id == "2.1"
    assert [entry.job_id for entry in queue.order()] == ["1.0", "2.2"]


def test_a_members_next_job_takes_the_turn_of_one_that_may_not_run_yet() -> None:
    queue = filled((1, 1), (2, 1), (1, 1))
    entry = queue.pop(lambda job_id: job_id != "1.0")
    assert entry is not None
    assert entry.job_id == "1.2"
    assert [entry.job_id for entry in queue.order()] == ["2.1", "1.0"]


def test_removing() -> None:
    queue = filled((1, 1), (2, 1))
    assert queue.remove("1.0")
    assert not queue.remove("1.0")
    assert members(queue) == [2]


def test_a_long_queue_is_foretold_quickly_and_once() -> None:
    queue = filled(*[(member, 1 + member % 4) for member in range(100)] * 20)
    began = time.process_time()
    for _ in range(10):
        queue.remove("nobody's")
        for _ in range(5):
            assert len(queue.places()) == 2000
    assert time.process_time() - began < 1
    before = queue.order()
    queue.push(Entry("new", 1000, 1))
    assert len(queue.order()) == len(before) + 1
    assert queue.pop() == before[0]
    assert before[0] not in queue.order()


JOBS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, LARGEST)), max_size=40)


@given(JOBS)
def test_whoever_waits_all_the_time_gets_the_same_to_within_one_job(jobs: list[tuple[int, int]]) -> None:
    """Against the ideal (bit by bit round robin), in which all members who wait are level at any time."""
    queue = filled(*jobs)
    waiting = {member for member, _ in jobs}
    served = dict.fromkeys(waiting, 0)
    left = {member: sum(1 for m, _ in jobs if m == member) for member in waiting}
    while (entry := queue.pop()) is not None:
        served[entry.member_id] += entry.images
        left[entry.member_id] -= 1
        still = [served[member] for member in waiting if left[member]]
        if len(still) == len(waiting):
            assert max(still) - min(still) <= LARGEST


@given(JOBS, st.lists(st.integers(0, 39), max_size=20))
def test_nothing_is_lost_or_served_twice_and_the_order_is_foretold(
    jobs: list[tuple[int, int]], removed: list[int]
) -> None:
    queue = filled(*jobs)
    for number in removed:
        if number < len(jobs):
            queue.remove(f"{jobs[number][0]}.{number}")
    kept = {f"{m}.{n}" for n, (m, _) in enumerate(jobs) if n not in removed}
    foretold = [entry.job_id for entry in queue.order()]
    assert set(foretold) == kept
    assert [entry.job_id for entry in iter(queue.pop, None)] == foretold
    assert len(queue) == 0


@given(JOBS)
def test_one_members_jobs_keep_their_order(jobs: list[tuple[int, int]]) -> None:
    order = [entry.job_id for entry in filled(*jobs).order()]
    for member in {member for member, _ in jobs}:
        own = [int(job_id.split(".")[1]) for job_id in order if job_id.startswith(f"{member}.")]
        assert own == sorted(own)
