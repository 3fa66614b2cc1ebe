"""Which files go and which must not, with a real registry and real files (large ones are sparse)."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import keeping
from bot.errors import DiskFull
from bot.job import Job, JobImage, JobState, new_job_id
from bot.keeping import Keeping
from bot.registry.registry import Registry
from bot.settings import Settings
from bot.studio import Studio
from bot.worker.fake import FakeWorker
from generation.request import ImageRequest

MB = 1_000_000
PLENTY = 10**12
APPLE = ImageRequest(prompt="a red apple", seed=7)


class House:
    """A registry with jobs in it and their files, and a keeping with a clock and a disk that a test moves."""

    def __init__(self, registry: Registry, settings: Settings, now: datetime, jobs: Callable[..., Job]) -> None:
        self.registry, self.now, self.free = registry, now, PLENTY
        self.images = registry.folder / "images"
        self._make_job = jobs
        self.keeping = Keeping(settings, registry.pictures, registry.folder, lambda: self.now, self._free)

    def _free(self, folder: Path) -> int:
        assert folder == self.images
        return self.free - self.used

    @property
    def used(self) -> int:
        return sum(path.stat().st_size for path in self.images.rglob("*") if path.is_file())

    def put(self, name: str, size: int) -> Path:
        folder = self.images / name
        folder.mkdir(parents=True)
        with (folder / "1-0.png").open("wb") as file:
            file.truncate(size)
        (folder / "start.png").write_bytes(b"start")
        return folder

    async def job(
        self,
        make_images: Callable[..., list[JobImage]],
        *,
        state: JobState = JobState.DELIVERED,
        size: int = MB,
        told: datetime | None = None,
    ) -> str:
        jobs = self.registry.jobs
        job, _ = await jobs.add(self._make_job(), images_at_most=1000)
        self.put(job.id, size)
        if state is not JobState.QUEUED:
            await jobs.claim(job.id, self.now, timedelta(days=9999))
        if state in (JobState.DONE, JobState.DELIVERED):
            await jobs.finish(job.id, 1, make_images(job), self.now)
        if state is JobState.DELIVERED:
            await jobs.delivered(job.id, 1, told or self.now)
        return job.id

    def kept(self) -> set[str]:
        return {path.name for path in self.images.iterdir()}


@pytest.fixture
def tight(settings: Settings) -> Settings:
    return settings.with_changes(disk_budget_gb=0.1, keep_days=30)


@pytest.fixture
def house(registry: Registry, tight: Settings, now: datetime, make_job: Callable[..., Job]) -> House:
    return House(registry, tight, now, make_job)


Images = Callable[..., list[JobImage]]


async def test_files_go_after_thirty_days_and_rows_and_recipes_stay(house: House, make_images: Images) -> None:
    await house.keeping.tidy()
    assert house.keeping.kept_bytes == 0
    job = await house.job(make_images)
    house.now += timedelta(days=29, hours=23)
    await house.keeping.tidy()
    assert house.kept() == {job}
    assert house.keeping.kept_bytes == MB + len(b"start")
    house.now += timedelta(hours=2)
    await house.keeping.tidy()
    assert house.kept() == set()
    assert house.keeping.kept_bytes == 0
    (image,) = await house.registry.jobs.images(job)
    assert image.recipe.prompt == "a red apple"


async def test_open_and_untold_jobs_keep_their_files_whatever_the_clock_and_the_disk_say(
    house: House, make_images: Images
) -> None:
    states = (JobState.QUEUED, JobState.RUNNING, JobState.DONE)
    protected = {await house.job(make_images, state=state, size=60 * MB) for state in states}
    told = await house.job(make_images)
    house.now += timedelta(days=4000)
    house.free = house.used
    await house.keeping.tidy()
    assert house.kept() == protected
    assert told not in protected


async def test_over_the_budget_those_told_first_go_first_and_no_more_than_needed(
    house: House, make_images: Images
) -> None:
    day = timedelta(days=1)
    second = await house.job(make_images, size=40 * MB, told=house.now + 2 * day)
    first = await house.job(make_images, size=5 * MB, told=house.now + day)
    third = await house.job(make_images, size=54 * MB, told=house.now + 3 * day)
    house.now += 4 * day
    await house.keeping.tidy()
    assert house.kept() == {first, second, third}, "99 MB are within a budget of 100"
    fourth = await house.job(make_images, size=2 * MB)
    await house.keeping.tidy()
    assert house.kept() == {third, fourth}, "11 of 101 MB have to go: the first job has 5"


async def test_what_is_too_old_counts_before_anything_goes_for_its_size(house: House, make_images: Images) -> None:
    old = await house.job(make_images, size=90 * MB)
    house.now += timedelta(days=31)
    young = await house.job(make_images, size=80 * MB)
    await house.keeping.tidy()
    assert house.kept() == {young}
    assert old != young


async def test_a_nearly_full_disk_counts_as_over_the_budget(house: House, make_images: Images) -> None:
    first = await house.job(make_images, size=5 * MB)
    house.now += timedelta(days=1)
    second = await house.job(make_images, size=5 * MB)
    house.free = house.used + keeping.LEAST_FREE - 4 * MB
    await house.keeping.make_room()
    assert house.kept() == {second}
    assert first != second


async def test_a_disk_that_stays_full_is_one_sentence(house: House, make_images: Images) -> None:
    live = await house.job(make_images, state=JobState.RUNNING)
    house.free = house.used + keeping.REFUSED_FREE - 1
    with pytest.raises(DiskFull, match="disk is full, so nothing new can be kept"):
        await house.keeping.make_room()
    assert house.kept() == {live}
    house.free += 1
    await house.keeping.make_room()


async def test_folders_of_unknown_jobs_go_by_age_and_others_never(house: House, now: datetime) -> None:
    old, young, own = new_job_id(1.0), new_job_id(2.0), "lost+found"
    for name, age in ((old, 31), (young, 29), (own, 4000)):
        folder = house.put(name, 60 * MB)
        for path in (*folder.iterdir(), folder):
            os.utime(path, ((now - timedelta(days=age)).timestamp(),) * 2)
    await house.keeping.tidy()
    assert house.kept() == {young, own}


async def test_a_folder_of_an_unknown_job_with_something_new_in_it_stays(house: House, now: datetime) -> None:
    name = new_job_id(1.0)
    folder = house.put(name, MB)
    long_ago = ((now - timedelta(days=99)).timestamp(),) * 2
    os.utime(folder / "1-0.png", long_ago)
    os.utime(folder / "start.png", (now.timestamp(),) * 2)
    os.utime(folder, long_ago)
    await house.keeping.tidy()
    assert house.kept() == {name}


async def test_links_are_not_followed(house: House, make_images: Images, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "diary.txt").write_text("mine")
    linked, planted = await house.job(make_images), await house.job(make_images)
    for path in (house.images / linked).iterdir():
        path.unlink()
    (house.images / linked).rmdir()
    (house.images / linked).symlink_to(outside)
    (house.images / planted / "2-0.png").symlink_to(outside / "diary.txt")
    (house.images / planted / "more").symlink_to(outside)
    house.now += timedelta(days=31)
    await house.keeping.tidy()
    assert house.kept() == {linked}
    assert house.keeping.kept_bytes == 0
    assert (outside / "diary.txt").read_text() == "mine"


async def test_one_line_says_what_went(house: House, make_images: Images, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bot.keeping")
    await house.job(make_images)
    await house.keeping.tidy()
    assert caplog.messages == []
    house.now += timedelta(days=31)
    await house.keeping.tidy()
    (line,) = caplog.messages
    assert "removed 1 (0.00 GB), 1 for their age and 0 for room" in line


# ── as the studio's side task ──


@asynccontextmanager
async def studio_with(
    settings: Settings, registry: Registry, free: Callable[[Path], int] = lambda _: PLENTY
) -> AsyncIterator[Studio]:
    async with Studio(settings, registry, FakeWorker(), free=free) as studio:
        yield studio


async def drawn(studio: Studio, recorder: Any, until: Callable[..., Awaitable[None]]) -> Job:
    """A job that is done and not yet told."""
    submitted = await studio.submit(APPLE, member_id=1, guild_id=5, channel_id=6)
    await studio.attach_message(submitted.job.id, 99)
    await until(lambda: recorder.count("done", submitted.job.id), "the picture")
    return submitted.job


async def test_results_are_counted_and_start_a_pass_when_there_are_too_many(
    tight: Settings, registry: Registry, recorder: Any, until: Callable[..., Awaitable[None]]
) -> None:
    async with studio_with(tight, registry) as studio:
        studio.subscribe(recorder)
        await until(lambda: studio.status().kept_bytes == 0, "the pass at start")
        first = await drawn(studio, recorder, until)
        folder = registry.folder / "images" / first.id
        os.truncate(folder / "1-0.png", 90 * MB)
        await studio.mark_delivered(first.id, 1)
        await until(lambda: studio.status().kept_bytes == 90 * MB, "the first result to be counted")
        second = await drawn(studio, recorder, until)
        os.truncate(registry.folder / "images" / second.id / "1-0.png", 20 * MB)
        assert folder.exists()
        await studio.mark_delivered(second.id, 1)
        await until(lambda: not folder.exists(), "the oldest to go")
        await until(lambda: studio.status().kept_bytes == 20 * MB, "what is left to be known")


async def test_what_a_pass_has_found_is_not_counted_again(
    house: House, make_images: Images, until: Callable[..., Awaitable[None]]
) -> None:
    house.keeping.told(await house.job(make_images))
    running = asyncio.create_task(house.keeping.run())
    await until(lambda: house.keeping.kept_bytes, "the pass")
    await asyncio.sleep(0.05)
    assert house.keeping.kept_bytes == MB + len(b"start")
    house.keeping.close()
    await asyncio.wait_for(running, 5)


async def test_where_nothing_more_can_go_passes_are_rare(
    house: House, make_images: Images, until: Callable[..., Awaitable[None]]
) -> None:
    await house.job(make_images, state=JobState.RUNNING, size=101 * MB)
    running = asyncio.create_task(house.keeping.run())
    await until(lambda: house.keeping.kept_bytes, "the pass")
    seen_by_a_pass = house.put(new_job_id(1.0), 1)
    for path in (*seen_by_a_pass.iterdir(), seen_by_a_pass):
        os.utime(path, (0, 0))
    house.free = keeping.REFUSED_FREE + house.used
    house.now += keeping.AGAIN - timedelta(seconds=1)
    house.keeping.told("another")
    await house.keeping.make_room()
    await asyncio.sleep(0.05)
    assert seen_by_a_pass.exists()
    house.now += timedelta(seconds=1)
    house.keeping.told("another")
    await until(lambda: not seen_by_a_pass.exists(), "the next pass")
    house.keeping.close()
    await asyncio.wait_for(running, 5)


async def test_a_pass_comes_again_after_a_while(
    tight: Settings,
    registry: Registry,
    until: Callable[..., Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "PAUSE_SECONDS", 0.02)
    late = new_job_id(1.0)
    async with studio_with(tight, registry) as studio:
        await until(lambda: studio.status().kept_bytes == 0, "the pass at start")
        folder = registry.folder / "images" / late
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
        await until(lambda: not folder.exists(), "the next pass")


async def test_a_full_disk_refuses_a_job_in_a_sentence_and_leaves_nothing(
    tight: Settings, registry: Registry
) -> None:
    async with studio_with(tight, registry, free=lambda _: 0) as studio:
        with pytest.raises(DiskFull):
            await studio.submit(APPLE, member_id=1, guild_id=5, channel_id=6)
        assert studio.status().queued == 0
        assert not (registry.folder / "images").exists()


async def test_a_disk_that_cannot_be_measured_is_a_warning_and_a_defect_ends_the_studio(
    tight: Settings, registry: Registry, until: Callable[..., Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Path) -> int:
        raise OSError(5, "Input/output error")

    async with studio_with(tight, registry, free=broken) as studio:
        await until(lambda: "old pictures cannot be looked through now" in caplog.text, "the warning")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(studio.watch(), 0.05)

    def defect(_: Path) -> int:
        raise RuntimeError("a defect")

    async with studio_with(tight, registry, free=defect) as studio:
        with pytest.raises(RuntimeError, match="a defect"):
            await asyncio.wait_for(studio.watch(), 5)


async def test_concepts_are_no_pictures_and_never_go(house: House, make_images: Images) -> None:
    """However old they are and however full the disk is."""
    concept = house.registry.folder / "concepts" / ("0" * 17) / "concept.safetensors"
    concept.parent.mkdir(parents=True)
    concept.write_bytes(b"weights")
    os.utime(concept, (0, 0))
    old = await house.job(make_images)
    house.now += timedelta(days=9999)
    house.free = 0
    await house.keeping.tidy()
    assert house.kept() == set() != {old}
    assert house.keeping.kept_bytes == 0
    assert concept.is_file()
