"""Whose files may go is a question about who was told."""

from collections.abc import Callable
from datetime import datetime, timedelta

from bot.job import Job, JobImage
from bot.registry.registry import Registry

LEASE = timedelta(seconds=60)


async def test_a_job_is_told_once_its_member_knows_how_it_ended(
    registry: Registry, make_job: Callable[..., Job], make_images: Callable[..., list[JobImage]], now: datetime
) -> None:
    jobs, later = registry.jobs, now + timedelta(days=2)
    waiting, running, done, delivered, failed, cancelled, given_up = [make_job() for _ in range(7)]
    for job in (waiting, running, done, delivered, failed, cancelled, given_up):
        await jobs.add(job, images_at_most=100)
    for job in (running, done, delivered, failed):
        await jobs.claim(job.id, now, LEASE)
    for job in (done, delivered):
        await jobs.finish(job.id, 1, make_images(job), now)
    await jobs.fail(failed.id, 1, "It failed.", now)
    await jobs.cancel(cancelled.id, now)
    await jobs.give_up(given_up.id, "The channel is gone.", later)
    await jobs.delivered(delivered.id, 1, later)
    await jobs.delivered(failed.id, 1, later)
    everybody = [job.id for job in (waiting, running, done, delivered, failed, cancelled, given_up)]
    assert await registry.pictures.told([*everybody, "unknown"]) == {
        waiting.id: None,
        running.id: None,
        done.id: None,
        delivered.id: later,
        failed.id: later,
        cancelled.id: None,
        given_up.id: later,
    }


async def test_thousands_can_be_asked_about(registry: Registry, make_job: Callable[..., Job]) -> None:
    first, last = make_job(), make_job()
    for job in (first, last):
        await registry.jobs.add(job, images_at_most=100)
    names = [first.id, *(f"unknown-{number}" for number in range(40_000)), last.id]
    assert await registry.pictures.told(names) == {first.id: None, last.id: None}
