"""Deleting a job, and everything of a member."""

import dataclasses
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from bot.errors import START_IMAGE_DELETED
from bot.job import Job, JobImage, JobState, Origin
from bot.registry.doomed import DoomedMessage
from bot.registry.members import Block
from bot.registry.registry import DATABASE, Registry
from bot.registry.reports import FORGOTTEN, Report
from bot.settings import Settings

Keep = Callable[..., Awaitable[Job]]


@pytest.fixture
def keep(registry: Registry, make_job: Callable[..., Job], make_images: Callable[..., list[JobImage]]) -> Keep:
    """A job in the registry; `done`: with pictures, in its message and in `more` messages."""

    async def keep(
        job_id: str,
        *,
        member: int = 1,
        message: int | None = None,
        done: bool = True,
        origin: str | None = None,
        **values: Any,
    ) -> Job:
        made = make_job(id=job_id, member=member, **values)
        if origin is not None:
            made = dataclasses.replace(made, origin=Origin(origin, 0, 5, 6, 900), redraw=made.request)
        job, _ = await registry.jobs.add(made, images_at_most=1000)
        if message is not None:
            await registry.jobs.attach_message(job_id, message)
        if done:
            await registry.jobs.claim(job_id, job.created_at, timedelta(minutes=1))
            await registry.jobs.finish(job_id, 1, make_images(job), job.created_at)
            await registry.jobs.delivered(job_id, 1, job.created_at)
        found = await registry.jobs.get(job_id)
        assert found is not None
        return found

    return keep


async def test_a_deleted_job_dooms_all_of_its_messages_once(registry: Registry, keep: Keep, now: datetime) -> None:
    await keep("a", message=70, count=3)
    await keep("b", message=80)
    async with registry.jobs.database.write() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE images SET message_id = 71 WHERE job_id = 'a' AND \"index\" = 2")
    deleted = await registry.removals.delete("a", now)
    assert deleted is not None
    assert deleted.state is JobState.DELIVERED
    assert await registry.jobs.get("a") is None
    assert await registry.jobs.images("a") == []
    assert set(await registry.doomed.all()) == {DoomedMessage(5, 6, 70), DoomedMessage(5, 6, 71)}
    assert await registry.jobs.get("b") is not None
    await registry.doomed.remove(6, 70)
    assert await registry.doomed.all() == [DoomedMessage(5, 6, 71)]
    assert await registry.removals.delete("a", now) is None


async def test_a_message_that_is_doomed_already(registry: Registry, keep: Keep, now: datetime) -> None:
    await keep("a", message=70)
    await keep("b", message=70)
    await registry.removals.delete("a", now)
    await registry.removals.delete("b", now)
    assert await registry.doomed.all() == [DoomedMessage(5, 6, 70)]


async def test_without_a_message_nothing_is_doomed(registry: Registry, keep: Keep, now: datetime) -> None:
    await keep("a", done=False)
    assert await registry.removals.delete("a", now) is not None
    assert await registry.doomed.all() == []


async def test_what_was_made_from_a_deleted_picture_stays(registry: Registry, keep: Keep, now: datetime) -> None:
    await keep("a", message=70)
    await keep("b", member=2, origin="a")
    await keep("c", member=2, origin="a", done=False)
    await registry.removals.delete("a", now)
    for job_id, state in (("b", JobState.DELIVERED), ("c", JobState.QUEUED)):
        child = await registry.jobs.get(job_id)
        assert child is not None
        assert (child.state, child.origin) == (state, None)
        assert child.redraw is not None


async def test_forgetting_leaves_other_members_alone(registry: Registry, keep: Keep, now: datetime) -> None:
    await keep("a", message=70, count=2)
    await keep("b", done=False)
    await keep("c", member=2, message=80)
    await registry.members.set_ping(2, False, now)
    done = await registry.removals.forget(1, doom=False, now=now)
    assert (done.pictures, done.jobs, done.messages, done.reports) == (2, 2, 0, 0)
    assert [job.id for job in done.cancelled] == ["b"]
    assert done.failed == []
    assert set(await registry.jobs.states()) == {"c"}
    assert await registry.doomed.all() == []
    assert await registry.members.ping(2) is False
    again = await registry.removals.forget(1, doom=True, now=now)
    assert (again.pictures, again.jobs, again.messages) == (0, 0, 0)


async def test_the_messages_go_if_chosen(registry: Registry, keep: Keep, now: datetime) -> None:
    await keep("a", message=70)
    await keep("b", message=71, done=False)
    await keep("c", member=2, message=80)
    done = await registry.removals.forget(1, doom=True, now=now)
    assert done.messages == 2
    assert {message.message_id for message in await registry.doomed.all()} == {70, 71}


async def test_what_others_made_stays_but_forgets_from_whom(registry: Registry, keep: Keep, now: datetime) -> None:
    await keep("a")
    await keep("ended", member=2, origin="a")
    await keep("waits", member=2, origin="a", done=False)
    await keep("own", origin="a")
    held = await registry.removals.held(1)
    assert set(held.jobs) == {"a", "own"}
    assert held.copies == ["ended"]
    done = await registry.removals.forget(1, doom=False, now=now)
    assert [(job.id, job.state, job.error) for job in done.failed] == [
        ("waits", JobState.FAILED, START_IMAGE_DELETED)
    ]
    ended = await registry.jobs.get("ended")
    assert ended is not None
    assert (ended.state, ended.origin, ended.redraw) == (JobState.DELIVERED, None, None)
    assert [job.id for job in await registry.jobs.untold()] == ["waits"]  # its member is still to be told


async def test_reports_and_blocks_stay_without_the_name(registry: Registry, keep: Keep, now: datetime) -> None:
    await keep("a", message=70)
    by_them = Report(1, 5, 6, 80, "z", 2, "not nice", now)
    about_them = Report(2, 5, 6, 70, "a", 1, "not nice either", now)
    for report in (by_them, about_them):
        await registry.reports.add(report)
    await registry.members.block(Block(5, 3, 1, "spam", now))
    await registry.members.block(Block(5, 1, 4, "rude", now))
    done = await registry.removals.forget(1, doom=False, now=now)
    assert done.reports == 1
    assert await registry.reports.latest(10) == [
        Report(2, 5, 6, 70, None, None, "not nice either", now),
        Report(FORGOTTEN, 5, 6, 80, "z", 2, "not nice", now),
    ]
    assert {(block.member_id, block.by_id) for block in await registry.members.blocked(5)} == {(3, 0), (1, 4)}


@pytest.mark.parametrize("forget", [True, False])
async def test_no_word_is_left_in_the_files_of_the_database(
    registry: Registry, keep: Keep, settings: Settings, make_job: Callable[..., Job], now: datetime, forget: bool
) -> None:
    secret = "a-walrus-that-nobody-else-ever-asked-for"
    # Enough to fill several pages, and neighbours on them that stay.
    for number in range(30):
        await keep(f"o{number:02}", member=2)
        job, _ = await registry.jobs.add(_asking(make_job(id=f"s{number:02}"), secret), images_at_most=1000)
        await registry.jobs.attach_message(job.id, 70 + number)
    files = [settings.data_dir / (DATABASE + ending) for ending in ("", "-wal")]
    assert any(secret.encode() in file.read_bytes() for file in files)
    if forget:
        await registry.removals.forget(1, doom=True, now=now)
    else:
        for number in range(30):
            await registry.removals.delete(f"s{number:02}", now)
    assert await registry.removals.leave_no_trace()
    for file in files:
        assert secret.encode() not in file.read_bytes(), file
    assert len(await registry.jobs.states()) == 30


async def test_a_log_that_somebody_reads_is_emptied_later(
    registry: Registry, keep: Keep, settings: Settings, now: datetime
) -> None:
    await keep("a")
    with closing(sqlite3.connect(settings.data_dir / DATABASE, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchall()
        await registry.removals.delete("a", now)
        assert not await registry.removals.leave_no_trace()
        reader.execute("COMMIT")
    assert await registry.removals.leave_no_trace()


def _asking(job: Job, prompt: str) -> Job:
    return dataclasses.replace(job, request=msgspec.structs.replace(job.request, prompt=prompt))
