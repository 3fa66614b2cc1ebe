"""Every change of state starts from where it should and from nowhere else."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from bot.errors import CRASHED_TOO_OFTEN, QueueFull
from bot.job import Job, JobImage, JobState
from bot.registry.registry import Registry

LEASE = timedelta(seconds=60)
MANY = 1000


@pytest.fixture
def add(registry: Registry, make_job: Callable[..., Job]) -> Callable[..., "asyncio.Future[Job]"]:
    async def add_one(**values: object) -> Job:
        job, _ = await registry.jobs.add(make_job(**values), images_at_most=MANY)
        return job

    return add_one  # type: ignore[return-value]


async def claimed(registry: Registry, job: Job, now: datetime) -> Job:
    running = await registry.jobs.claim(job.id, now, LEASE)
    assert running is not None
    return running


async def state(registry: Registry, job: Job) -> JobState:
    found = await registry.jobs.get(job.id)
    assert found is not None
    return found.state


async def test_a_job_comes_back_as_it_was_kept(registry: Registry, make_job: Callable[..., Job]) -> None:
    job = make_job(count=2, negative_prompt="blue", init_image="images/x/start.png", strength=0.5)
    assert await registry.jobs.add(job, images_at_most=MANY) == (job, True)
    assert await registry.jobs.get(job.id) == job
    assert await registry.jobs.get("unknown") is None


async def test_the_same_interaction_twice_is_one_job(registry: Registry, make_job: Callable[..., Job]) -> None:
    results = await asyncio.gather(
        *(registry.jobs.add(make_job(interaction=42), images_at_most=MANY) for _ in range(10))
    )
    assert len({job.id for job, _ in results}) == 1
    assert sum(created for _, created in results) == 1
    assert len(await registry.jobs.live()) == 1


async def test_a_repeated_interaction_is_not_refused_for_a_full_queue(
    registry: Registry, make_job: Callable[..., Job]
) -> None:
    first, _ = await registry.jobs.add(make_job(interaction=42, count=4), images_at_most=4)
    assert await registry.jobs.add(make_job(interaction=42, count=4), images_at_most=4) == (first, False)


async def test_the_limit_counts_images_that_wait_or_run_of_one_member(
    registry: Registry, make_job: Callable[..., Job], now: datetime
) -> None:
    first, _ = await registry.jobs.add(make_job(count=3), images_at_most=4)
    await claimed(registry, first, now)
    with pytest.raises(QueueFull, match="already have 3 pictures waiting and 4 is the most"):
        await registry.jobs.add(make_job(count=2), images_at_most=4)
    await registry.jobs.add(make_job(count=1), images_at_most=4)
    await registry.jobs.add(make_job(count=4, member=2), images_at_most=4)
    await registry.jobs.cancel(first.id, now)
    await registry.jobs.add(make_job(count=3), images_at_most=4)


async def test_from_queued_to_delivered(
    registry: Registry, add: Callable[..., object], make_images: Callable[..., list[JobImage]], now: datetime
) -> None:
    job: Job = await add(count=2)  # type: ignore[misc]
    assert await registry.jobs.attach_message(job.id, 77)
    running = await claimed(registry, job, now)
    assert (running.state, running.attempt, running.started_at) == (JobState.RUNNING, 1, now)
    images = make_images(job)
    done = await registry.jobs.finish(job.id, 1, images, now)
    assert done is not None
    assert (done.state, done.finished_at, done.delivered_at) == (JobState.DONE, now, None)
    assert await registry.jobs.images(job.id) == images
    assert [untold.id for untold in await registry.jobs.untold()] == [job.id]
    assert await registry.jobs.delivered(job.id, 1, now)
    assert not await registry.jobs.delivered(job.id, 1, now)
    assert await state(registry, job) is JobState.DELIVERED
    assert [image.message_id for image in await registry.jobs.images(job.id)] == [77, 77]
    assert await registry.jobs.untold() == []


async def test_a_write_from_an_older_attempt_changes_nothing(
    registry: Registry, add: Callable[..., object], make_images: Callable[..., list[JobImage]], now: datetime
) -> None:
    job: Job = await add()  # type: ignore[misc]
    await claimed(registry, job, now)
    await registry.jobs.crashed(job.id, 1, now)
    second = await claimed(registry, job, now)
    assert second.attempt == 2
    assert await registry.jobs.finish(job.id, 1, make_images(job), now) is None
    assert await registry.jobs.fail(job.id, 1, "old", now) is None
    assert await registry.jobs.crashed(job.id, 1, now) is None
    assert await registry.jobs.put_back(job.id, 1) is None
    assert not await registry.jobs.delivered(job.id, 1, now)
    await registry.jobs.renew([(job.id, 1)], now + timedelta(hours=9), LEASE)
    assert [expired.id for expired in await registry.jobs.expired(now + 2 * LEASE)] == [job.id]
    assert await registry.jobs.get(job.id) == second
    assert await registry.jobs.images(job.id) == []


async def test_a_put_back_job_keeps_its_fence(
    registry: Registry, add: Callable[..., object], make_images: Callable[..., list[JobImage]], now: datetime
) -> None:
    """A shut-down is not counted as a crash, and still the next start has a new attempt number."""
    job: Job = await add()  # type: ignore[misc]
    for attempt in range(1, 6):
        assert (await claimed(registry, job, now)).attempt == attempt
        back = await registry.jobs.put_back(job.id, attempt)
        assert back is not None
        assert (back.state, back.crashes) == (JobState.QUEUED, 0)
        assert await registry.jobs.finish(job.id, attempt, make_images(job), now) is None


@pytest.mark.parametrize("by_restart", [True, False])
async def test_the_third_crash_is_the_last(
    registry: Registry, add: Callable[..., object], now: datetime, by_restart: bool
) -> None:
    job: Job = await add()  # type: ignore[misc]
    other: Job = await add()  # type: ignore[misc]
    for attempt in (1, 2, 3):
        await claimed(registry, job, now)
        if by_restart:
            assert [recovered.id for recovered in await registry.jobs.recover(now)] == [job.id]
        else:
            await registry.jobs.crashed(job.id, attempt, now)
        assert (await state(registry, job)) is (JobState.QUEUED if attempt < 3 else JobState.FAILED)
    (told,) = await registry.jobs.untold()
    assert told.error == CRASHED_TOO_OFTEN
    assert await registry.jobs.claim(job.id, now, LEASE) is None
    assert await state(registry, other) is JobState.QUEUED


async def test_cancel_and_finish_race_and_exactly_one_wins(
    registry: Registry, add: Callable[..., object], make_images: Callable[..., list[JobImage]], now: datetime
) -> None:
    for _ in range(10):
        job: Job = await add()  # type: ignore[misc]
        await claimed(registry, job, now)
        cancelled, done = await asyncio.gather(
            registry.jobs.cancel(job.id, now), registry.jobs.finish(job.id, 1, make_images(job), now)
        )
        assert (cancelled is None) != (done is None)
        expected = JobState.DONE if cancelled is None else JobState.CANCELLED
        assert await state(registry, job) is expected
        assert len(await registry.jobs.images(job.id)) == (expected is JobState.DONE)


async def test_two_claims_race_and_one_wins(registry: Registry, add: Callable[..., object], now: datetime) -> None:
    job: Job = await add()  # type: ignore[misc]
    results = await asyncio.gather(*(registry.jobs.claim(job.id, now, LEASE) for _ in range(5)))
    assert sum(result is not None for result in results) == 1


async def test_leases_end_unless_renewed(registry: Registry, add: Callable[..., object], now: datetime) -> None:
    job: Job = await add()  # type: ignore[misc]
    await claimed(registry, job, now)
    assert await registry.jobs.expired(now + LEASE / 2) == []
    await registry.jobs.renew([(job.id, 1)], now + LEASE / 2, LEASE)
    assert await registry.jobs.expired(now + LEASE * 1.25) == []
    assert [expired.id for expired in await registry.jobs.expired(now + LEASE * 2)] == [job.id]


async def test_failed_and_cancelled_jobs_are_told_once(
    registry: Registry, add: Callable[..., object], now: datetime
) -> None:
    failed: Job = await add()  # type: ignore[misc]
    cancelled: Job = await add()  # type: ignore[misc]
    await claimed(registry, failed, now)
    await registry.jobs.fail(failed.id, 1, "no luck", now)
    await registry.jobs.cancel(cancelled.id, now)
    assert [(job.id, job.error) for job in await registry.jobs.untold()] == [
        (failed.id, "no luck"),
        (cancelled.id, None),
    ]
    assert await registry.jobs.delivered(failed.id, 1, now)
    assert await registry.jobs.delivered(cancelled.id, 0, now)
    assert await registry.jobs.untold() == []
    assert await state(registry, failed) is JobState.FAILED
    assert await state(registry, cancelled) is JobState.CANCELLED


async def test_a_job_that_nobody_can_be_told_about_ends(
    registry: Registry, add: Callable[..., object], make_images: Callable[..., list[JobImage]], now: datetime
) -> None:
    queued: Job = await add()  # type: ignore[misc]
    done: Job = await add()  # type: ignore[misc]
    await claimed(registry, done, now)
    await registry.jobs.finish(done.id, 1, make_images(done), now)
    for job in (queued, done):
        ended = await registry.jobs.give_up(job.id, "the channel is gone", now)
        assert ended is not None
        assert (ended.state, ended.error) == (JobState.FAILED, "the channel is gone")
        assert await registry.jobs.give_up(job.id, "again", now) is None
    assert await registry.jobs.untold() == []
    assert await registry.jobs.live() == []


async def test_live_jobs_are_in_order_and_by_member(
    registry: Registry, add: Callable[..., object], now: datetime
) -> None:
    jobs: list[Job] = [await add(member=member, id=f"id{i}") for i, member in enumerate((1, 2, 1))]  # type: ignore[misc]
    await claimed(registry, jobs[1], now)
    await registry.jobs.cancel(jobs[2].id, now)
    assert [job.id for job in await registry.jobs.live()] == ["id0", "id1"]
    assert [job.id for job in await registry.jobs.live(2)] == ["id1"]


async def test_a_time_without_a_zone_is_refused(registry: Registry, make_job: Callable[..., Job]) -> None:
    job = make_job()
    with pytest.raises(Exception, match="without a time zone"):
        await registry.jobs.add(
            dataclasses.replace(job, created_at=job.created_at.replace(tzinfo=None)), images_at_most=MANY
        )


async def test_a_cancelled_caller_interrupts_no_change(registry: Registry, make_job: Callable[..., Job]) -> None:
    jobs = [make_job() for _ in range(10)]
    callers = [asyncio.create_task(registry.jobs.add(job, images_at_most=MANY)) for job in jobs]
    await asyncio.sleep(0.01)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await registry.__aexit__()
    async with Registry(registry.folder) as again:
        assert len(await again.jobs.live()) == 10
