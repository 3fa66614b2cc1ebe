"""The measure of the load run, tried on queues whose fairness is known."""

import random
from dataclasses import replace

from bot.queue import Entry, FairQueue
from tests.acceptance.fair import Asked, DeficitRoundRobin, furthest_from_ideal


def town() -> list[Asked]:
    """One member asks for 60 jobs at once; thirty others for two each, a little later."""
    chance = random.Random(1)
    greedy = [Asked(0, chance.choice((1, 2)), 0.0, 0.0) for _ in range(60)]
    others = [Asked(member, chance.choice((1, 1, 4)), 0.5 + k, 0.0) for member in range(1, 31) for k in range(2)]
    return greedy + others


def test_first_come_first_served_is_far_from_fair() -> None:
    jobs = [replace(job, started=1 + k) for k, job in enumerate(sorted(town(), key=lambda job: job.ready))]
    assert furthest_from_ideal(jobs) > 20


def test_our_queue_is_within_the_largest_job_of_it() -> None:
    jobs, queue = town(), FairQueue()
    for number, job in enumerate(jobs):
        queue.push(Entry(str(number), job.member, job.images))
    started: list[Asked] = []
    while (entry := queue.pop()) is not None:
        started.append(replace(jobs[int(entry.job_id)], ready=0.0, started=1.0 + len(started)))
    assert len(started) == len(jobs)
    assert furthest_from_ideal(started) <= 4


def test_the_ideal_as_in_the_paper() -> None:
    """Figure 2 by hand, quantum 2: a's first job of 3 waits for its second visit, b's two of 1 go in its first."""
    queue = DeficitRoundRobin(2)
    a, b = Asked(1, 3, 0, 0), Asked(2, 1, 0, 0)
    for job in (a, b, b, replace(b, images=2)):
        queue.push(job)
    assert [queue.pop() for _ in range(5)] == [b, b, a, replace(b, images=2), None]
