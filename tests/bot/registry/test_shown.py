"""Which message shows which pictures of a job."""

from collections.abc import Callable
from datetime import timedelta

from bot.job import Job, JobImage
from bot.registry.registry import Registry


async def test_pictures_of_further_messages_keep_theirs(
    registry: Registry, make_job: Callable[..., Job], make_images: Callable[..., list[JobImage]]
) -> None:
    jobs, job = registry.jobs, make_job(count=6)
    now = job.created_at
    await jobs.add(job, images_at_most=8)
    await jobs.attach_message(job.id, 100)
    running = await jobs.claim(job.id, now, timedelta(seconds=60))
    assert running is not None
    await jobs.finish(job.id, running.attempt, make_images(job), now)
    await jobs.attach_pictures(job.id, [4, 5], 101)
    assert [image.message_id for image in await jobs.images(job.id)] == [None] * 4 + [101] * 2

    await jobs.delivered(job.id, running.attempt, now)
    assert [image.message_id for image in await jobs.images(job.id)] == [100] * 4 + [101] * 2
    found = await jobs.of_message(101)
    assert found is not None
    assert (found[0].id, [image.index for image in found[1]]) == (job.id, [4, 5])
