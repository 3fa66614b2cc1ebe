"""Deleting and forgetting on a whole studio: files, live jobs, crashes, full disks."""

import asyncio
import errno
import io
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.errors import START_IMAGE_DELETED, Blocked, NotFound, NotYours, StartImageDeleted
from bot.folders import JobFolders
from bot.job import Job, JobState, Origin
from bot.registry.registry import Registry
from bot.settings import Settings
from bot.studio import Studio
from bot.worker.fake import FakeWorker
from generation.request import ImageRequest

Until = Callable[..., Awaitable[None]]
APPLE = ImageRequest(prompt="a red apple", seed=7)


async def submit(studio: Studio, *, member: int = 1, request: ImageRequest = APPLE, **more: Any) -> Job:
    job = (await studio.submit(request, member_id=member, guild_id=5, channel_id=6, **more)).job
    await studio.attach_message(job.id, 99)
    return job


async def draw(studio: Studio, worker: FakeWorker, until: Until, **more: Any) -> Job:
    job = await submit(studio, **more)
    await until(lambda: worker.current is not None and worker.current.job == job.id, "the job to start")
    worker.finish()
    await until(lambda: job.id not in studio._dispatcher.lanes, "the job to end")  # pyright: ignore[reportPrivateUsage]
    return await studio.job(job.id)


def folder(settings: Settings, job: Job) -> Path:
    return settings.data_dir / "images" / job.id


async def test_only_the_owner_or_who_may_manage(studio: Studio, worker: FakeWorker, until: Until) -> None:
    first, second = [await draw(studio, worker, until) for _ in range(2)]
    with pytest.raises(NotYours):
        await studio.delete(first.id, by=2)
    await studio.delete(first.id, by=1)
    await studio.delete(second.id, by=2, may_manage=True)
    with pytest.raises(NotFound):
        await studio.delete(first.id, by=1)


async def test_deleting_one_that_waits_takes_it_out_of_the_queue(
    studio: Studio, worker: FakeWorker, settings: Settings, recorder: Any, until: Until
) -> None:
    await submit(studio)
    await until(lambda: worker.current is not None, "the first job")
    waiting = await submit(studio)
    await studio.delete(waiting.id, by=1)
    assert studio.place(waiting.id) is None
    assert studio.queue_view().images == 1
    assert not folder(settings, waiting).exists()
    assert recorder.events(waiting.id)[-1] == "cancelled"


async def test_one_that_runs_stops_and_its_late_result_is_thrown_away(
    studio: Studio, worker: FakeWorker, settings: Settings, until: Until
) -> None:
    job = await submit(studio)
    await until(lambda: worker.current is not None, "the job")
    worker.step()
    await until(lambda: folder(settings, job).exists(), "a preview")
    worker.finish()  # on its way, not yet taken in
    await studio.delete(job.id, by=1)
    await until(lambda: not folder(settings, job).exists(), "the files to go")
    with pytest.raises(NotFound):
        await studio.job(job.id)
    assert await studio.images(job.id) == []
    following = await submit(studio)
    await until(lambda: worker.current is not None and worker.current.job == following.id, "the next job")


async def test_a_cancelled_caller_interrupts_nothing(
    studio: Studio, worker: FakeWorker, settings: Settings, until: Until
) -> None:
    job = await draw(studio, worker, until)
    deleting = asyncio.create_task(studio.members.forget(1, delete_messages=True))
    await asyncio.sleep(0)
    deleting.cancel()
    await until(lambda: not folder(settings, job).exists(), "the files to go")
    with pytest.raises(NotFound):
        await studio.job(job.id)


async def test_a_full_disk_keeps_nobody_from_deleting(
    studio: Studio, worker: FakeWorker, settings: Settings, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await draw(studio, worker, until)

    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    await studio.delete(job.id, by=1)
    assert not folder(settings, job).exists()


async def test_files_that_cannot_be_removed_go_at_the_next_start(
    settings: Settings, until: Until, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Registry(settings.data_dir) as registry, Studio(settings, registry, FakeWorker()) as studio:
        jobs = [await submit(studio) for _ in range(2)]
        await until(lambda: not studio.queue_view().lines, "both to be drawn")
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)
            await studio.delete(jobs[0].id, by=1)
        assert folder(settings, jobs[0]).exists()
        assert "the next start tries again" in caplog.text
    async with Registry(settings.data_dir) as registry, Studio(settings, registry, FakeWorker()):
        assert [path.name for path in (settings.data_dir / "images").iterdir()] == [jobs[1].id]


async def test_the_copy_of_a_forgotten_picture_that_cannot_be_removed_stops_it(
    studio: Studio, worker: FakeWorker, settings: Settings, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = await draw(studio, worker, until)
    (image,) = await studio.images(original.id)
    from_it = ImageRequest(prompt="a green apple", seed=8, init_image=str(image.path), strength=0.5)
    child = await draw(studio, worker, until, member=2, request=from_it, origin=Origin(original.id, 0, 5, 6, 99))
    copy = folder(settings, child) / "start.png"
    with monkeypatch.context() as patch:

        def refused(self: JobFolders, job_ids: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        patch.setattr(JobFolders, "remove_start_images", refused)
        with pytest.raises(PermissionError):
            await studio.members.forget(1, delete_messages=False)
    assert copy.exists()
    assert await studio.job(original.id) == original  # nothing was forgotten: it can be asked for again
    await studio.members.forget(1, delete_messages=False)
    assert not copy.exists()


async def test_who_started_from_it_and_is_drawn_now_is_told(
    studio: Studio, worker: FakeWorker, settings: Settings, recorder: Any, until: Until
) -> None:
    original = await draw(studio, worker, until)
    (image,) = await studio.images(original.id)
    from_it = ImageRequest(prompt="a green apple", seed=8, init_image=str(image.path), strength=0.5)
    child = await submit(studio, member=2, request=from_it, origin=Origin(original.id, 0, 5, 6, 99))
    await until(lambda: worker.current is not None and worker.current.job == child.id, "the child")
    await studio.members.forget(1, delete_messages=False)
    assert recorder.last("failed", child.id) == START_IMAGE_DELETED
    assert (await studio.job(child.id)).state is JobState.FAILED
    await until(lambda: not folder(settings, child).exists(), "its files to go")
    assert worker.current is None


async def test_a_block_that_comes_while_a_start_image_is_read(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on = asyncio.Event(), asyncio.Event()
    keep = asyncio.to_thread

    async def slow(function: Any, *args: Any) -> Any:
        if getattr(function, "__name__", "") == "keep_start_image":
            reading.set()
            await go_on.wait()
        return await keep(function, *args)

    monkeypatch.setattr("bot.studio.asyncio.to_thread", slow)
    image = ImageRequest(prompt="x", seed=1, init_image="attachment", strength=0.5)
    asking = asyncio.create_task(studio.submit(image, member_id=1, guild_id=5, channel_id=6, init_image=_png()))
    await reading.wait()
    assert await studio.members.block(5, 1, by=3, reason="") == 0
    go_on.set()
    with pytest.raises(Blocked):
        await asking
    assert list((settings.data_dir / "images").iterdir()) == []
    await studio.submit(APPLE, member_id=1, guild_id=None, channel_id=6)  # direct messages are no server


async def test_a_photo_that_others_started_from_again_goes_with_its_owner(
    studio: Studio, worker: FakeWorker, settings: Settings, recorder: Any, until: Until
) -> None:
    """*Again* on somebody's picture copies their start image, also in a row, and then it has no origin."""
    photo = ImageRequest(prompt="x", seed=1, init_image="photo", strength=0.5)
    first = await draw(studio, worker, until, request=photo, init_image=_png())
    second = await draw(studio, worker, until, member=2, request=first.request)
    third = await draw(studio, worker, until, member=3, request=second.request)
    live = await submit(studio, member=4, request=third.request)
    await studio.members.forget(1, delete_messages=False)
    for job in (second, third):
        assert [path.name for path in folder(settings, job).iterdir()] == ["1-0.png"]
    assert recorder.last("failed", live.id) == START_IMAGE_DELETED


async def test_a_copy_is_known_after_its_original_was_deleted(
    studio: Studio, worker: FakeWorker, settings: Settings, until: Until
) -> None:
    original = await draw(studio, worker, until)
    (image,) = await studio.images(original.id)
    from_it = ImageRequest(prompt="a green apple", seed=8, init_image=str(image.path), strength=0.5)
    child = await draw(studio, worker, until, member=2, request=from_it, origin=Origin(original.id, 0, 5, 6, 99))
    await studio.delete(original.id, by=1)
    assert (folder(settings, child) / "start.png").exists()
    await studio.members.forget(1, delete_messages=False)
    assert not (folder(settings, child) / "start.png").exists()


@pytest.mark.parametrize("pointed_to", [True, False])
@pytest.mark.parametrize("forgotten", [True, False])
async def test_a_picture_that_goes_while_it_is_copied_starts_nothing(
    studio: Studio,
    worker: FakeWorker,
    settings: Settings,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
    forgotten: bool,
    pointed_to: bool,
) -> None:
    original = await draw(studio, worker, until)
    (image,) = await studio.images(original.id)
    copied, go_on = asyncio.Event(), asyncio.Event()
    to_thread = asyncio.to_thread

    async def slow(function: Any, *args: Any) -> Any:
        done = await to_thread(function, *args)
        if getattr(function, "__name__", "") == "copy_start_image":
            copied.set()
            await go_on.wait()
        return done

    monkeypatch.setattr(asyncio, "to_thread", slow)
    from_it = ImageRequest(prompt="a green apple", seed=8, init_image=str(image.path), strength=0.5)
    origin = Origin(original.id, 0, 5, 6, 99) if pointed_to else None
    asking = asyncio.create_task(submit(studio, member=2, request=from_it, origin=origin))
    await copied.wait()
    if forgotten:
        await studio.members.forget(1, delete_messages=False)
    else:
        await studio.delete(original.id, by=1)
    go_on.set()
    with pytest.raises(StartImageDeleted):
        await asking
    assert list((settings.data_dir / "images").iterdir()) == []


async def test_a_crash_after_forgetting_leaves_no_copy_in_an_open_job(
    settings: Settings, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = FakeWorker()
    async with Registry(settings.data_dir) as registry, Studio(settings, registry, worker) as studio:
        original = await submit(studio)
        await until(lambda: studio.status().last_result_at, "it to be drawn")
        worker.hold()
        (image,) = await studio.images(original.id)
        from_it = ImageRequest(prompt="a green apple", seed=8, init_image=str(image.path), strength=0.5)
        running = await submit(studio, member=2, request=from_it, origin=Origin(original.id, 0, 5, 6, 99))
        await until(lambda: worker.current, "the child")
        waiting = await submit(studio, member=2, request=from_it, origin=Origin(original.id, 0, 5, 6, 99))
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)
            await studio.members.forget(1, delete_messages=False)
            await until(lambda: not studio.status().running, "the worker to let go")
        assert folder(settings, running).exists()
        assert folder(settings, waiting).exists()
    async with Registry(settings.data_dir) as registry, Studio(settings, registry, FakeWorker()):
        assert list((settings.data_dir / "images").iterdir()) == []


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return file.getvalue()
