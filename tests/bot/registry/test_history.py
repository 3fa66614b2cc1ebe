"""A member's pictures in pages. The order is by hand: five jobs of two pictures, newest first, ten in all."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest

from bot.job import Job, JobImage
from bot.registry.history import HistoryPage
from bot.registry.registry import Registry

Keep = Callable[..., Awaitable[None]]


@pytest.fixture
def keep(registry: Registry, make_job: Callable[..., Job], make_images: Callable[..., list[JobImage]]) -> Keep:
    async def keep(job_id: str, *, count: int = 2, member: int = 1) -> None:
        job = make_job(id=job_id, count=count, member=member)
        await registry.jobs.add(job, images_at_most=1000)
        await registry.jobs.claim(job.id, job.created_at, job.created_at - job.created_at)
        await registry.jobs.finish(job.id, 1, make_images(job), job.created_at)

    return keep


def ids(page: HistoryPage) -> list[str]:
    return [f"{picture.job.id}{picture.image.index}" for picture in page.pictures]


async def test_the_newest_come_first_and_nobody_elses(registry: Registry, keep: Keep) -> None:
    for job_id in "abcde":
        await keep(job_id)
    await keep("f", member=2)
    page = await registry.history.page(1, limit=5)
    assert ids(page) == ["e0", "e1", "d0", "d1", "c0"]
    assert (page.newer, page.older, page.total) == (0, 5, 10)
    assert page.pictures[0].job.member_id == 1


async def test_pages_meet_without_gap_or_overlap(registry: Registry, keep: Keep) -> None:
    for job_id in "abcdef":
        await keep(job_id)
    second = await registry.history.page(1, limit=5, older_than=("d", 0))
    assert ids(second) == ["d1", "c0", "c1", "b0", "b1"]
    assert (second.newer, second.older) == (5, 2)
    first = await registry.history.page(1, limit=5, newer_than=("d", 1))
    assert ids(first) == ["f0", "f1", "e0", "e1", "d0"]
    assert (first.newer, first.older) == (0, 7)


async def test_the_last_page_is_full_and_so_is_the_first(registry: Registry, keep: Keep) -> None:
    for job_id in "abc":
        await keep(job_id)
    last = await registry.history.page(1, limit=5, older_than=("a", 0))
    assert ids(last) == ["c1", "b0", "b1", "a0", "a1"]
    first = await registry.history.page(1, limit=5, newer_than=("c", 1))
    assert ids(first) == ["c0", "c1", "b0", "b1", "a0"]


async def test_a_page_stays_where_it_was_while_new_ones_are_drawn(registry: Registry, keep: Keep) -> None:
    for job_id in "abcde":
        await keep(job_id)
    await keep("f", count=4)
    page = await registry.history.page(1, limit=5, older_than=("c", 0))
    assert ids(page) == ["c1", "b0", "b1", "a0", "a1"]
    assert page.newer == 9


async def test_an_edge_that_was_deleted_is_still_an_edge(registry: Registry, keep: Keep, now: datetime) -> None:
    for job_id in "abcdef":
        await keep(job_id)
    await registry.removals.delete("d", now)
    page = await registry.history.page(1, limit=5, older_than=("d", 0))
    assert ids(page) == ["c0", "c1", "b0", "b1", "a0"]


@pytest.mark.parametrize("where", [{}, {"older_than": ("x", 3)}, {"newer_than": ("0", 0)}])
async def test_nothing_yet(registry: Registry, where: dict[str, tuple[str, int]]) -> None:
    page = await registry.history.page(1, limit=5, **where)
    assert (list(page.pictures), page.newer, page.older, page.total) == ([], 0, 0, 0)


async def test_one_that_cannot_be_read_hides_no_other(
    registry: Registry, keep: Keep, caplog: pytest.LogCaptureFixture
) -> None:
    for job_id in "ab":
        await keep(job_id, count=1)
    async with registry.history.database.write() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("UPDATE images SET recipe = '{\"prompt\": 7}' WHERE job_id = 'b'")
    page = await registry.history.page(1, limit=5)
    assert ids(page) == ["a0"]
    assert (page.newer, page.older) == (0, 0)
    assert "picture 0 can't be read" in caplog.text
    assert await registry.history.picture("b", 0) is None


async def test_one_picture(registry: Registry, keep: Keep) -> None:
    await keep("a")
    picture = await registry.history.picture("a", 1)
    assert picture is not None
    assert (picture.job.id, picture.image.index) == ("a", 1)
    assert await registry.history.picture("a", 2) is None
    assert await registry.history.picture("b", 0) is None
