"""Studio with a real registry and the shipped fake worker."""

import asyncio
import io
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from PIL import Image

from bot.errors import CRASHED_TOO_OFTEN, NotFound, NotYours, QueueFull, RegistryBusy, StartImageGone, TooManyAtOnce
from bot.folders import JobFolders
from bot.job import Job, JobImage, JobState
from bot.outlook import CancelOutcome, WorkerState
from bot.registry.registry import DATABASE, Registry
from bot.settings import Settings
from bot.studio import Studio, utc_now
from bot.worker import messages
from bot.worker.fake import FakeWorker
from generation.image_input import ImageRefused
from generation.recipe import from_parameters
from generation.request import ImageRequest, InvalidRequest

Until = Callable[..., Awaitable[None]]
APPLE = ImageRequest(prompt="a red apple", seed=7)


async def submit(
    studio: Studio, request: ImageRequest = APPLE, *, member: int = 1, message: int | None = 99, **more: Any
) -> Job:
    submitted = await studio.submit(request, member_id=member, guild_id=5, channel_id=6, **more)
    if message is not None:
        await studio.attach_message(submitted.job.id, message)
    return submitted.job


def png(size: tuple[int, int] = (90, 60)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "PNG")
    return file.getvalue()


async def test_the_way_of_one_picture(studio: Studio, worker: FakeWorker, recorder: Any, until: Until) -> None:
    job = await submit(studio, msgspec.structs.replace(APPLE, count=2))
    await until(lambda: worker.current, "the job to start")
    worker.step(2)
    await until(lambda: recorder.count("progress", job.id) == 2, "progress")
    progress = recorder.last("progress", job.id)
    assert (progress.step, progress.total_steps) == (2, 4)
    with Image.open(progress.preview) as preview:
        assert preview.format == "WEBP"
    worker.finish()
    await until(lambda: recorder.count("done", job.id), "the end")
    assert recorder.events(job.id) == ["queued", "started", "progress", "done"]
    images = recorder.last("done", job.id)
    assert [image.seed for image in images] == [7, 8]
    with Image.open(images[1].path) as picture:
        assert from_parameters(picture.text["parameters"]).seed == 8  # type: ignore[attr-defined]
    assert (await studio.job(job.id)).state is JobState.DONE
    assert await studio.images(job.id) == images
    assert [untold.id for untold in await studio.undelivered()] == [job.id]
    assert await studio.mark_delivered(job.id, 1)
    assert not await studio.mark_delivered(job.id, 1)
    assert await studio.undelivered() == []


async def test_the_same_interaction_twice_is_one_job(studio: Studio, worker: FakeWorker, until: Until) -> None:
    async def one() -> tuple[str, bool]:
        submitted = await studio.submit(
            APPLE, member_id=1, guild_id=None, channel_id=6, interaction_id=42, init_image=None
        )
        return submitted.job.id, submitted.created

    results = await asyncio.gather(*(one() for _ in range(5)))
    assert len({job_id for job_id, _ in results}) == 1
    assert [created for _, created in results].count(True) == 1
    assert studio.status().queued == 1


async def test_a_job_waits_for_its_message_but_not_for_ever(
    settings: Settings, registry: Registry, worker: FakeWorker, until: Until
) -> None:
    quick = settings.with_changes(message_wait_seconds=0.3)
    async with Studio(quick, registry, worker) as studio:
        job = await submit(studio, message=None)
        await asyncio.sleep(0.1)
        assert worker.current is None
        await until(lambda: worker.current, "the job to start without a message")
        assert worker.current is not None
        assert worker.current.job == job.id
        assert [untold.id for untold in await studio.undelivered()] == [job.id]


async def test_one_job_at_a_time_in_fair_order_and_places_are_told(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    first = await submit(studio, msgspec.structs.replace(APPLE, count=3))
    await until(lambda: worker.current, "the first")
    second = await submit(studio)
    third = await submit(studio, member=2)
    view = studio.queue_view()
    assert [line.job.id for line in view.lines] == [first.id, third.id, second.id]
    assert [line.place and line.place.images_ahead for line in view.lines] == [None, 3, 4]
    assert view.images == 5
    assert recorder.last("queued", second.id).position == 2
    worker.finish()
    await until(lambda: worker.current and worker.current.job == third.id, "the other member's job")
    await until(lambda: recorder.last("queued", second.id).position == 1, "the new place")
    assert sum(isinstance(sent, messages.Draw) for sent in worker.sent) == 2
    place = studio.place(second.id)
    assert place is not None
    assert place.seconds is not None
    assert studio.place(third.id) is None


async def test_beside_others_a_job_starts_at_once_and_is_told_so(
    settings: Settings, registry: Registry, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    """Two at once: the second doesn't wait for the first one's pictures, the third does."""
    async with Studio(settings.with_changes(jobs_at_once=2), registry, worker) as studio:
        studio.subscribe(recorder)
        worker.hold()
        first = await submit(studio, msgspec.structs.replace(APPLE, count=3))
        await until(lambda: recorder.count("started", first.id), "the first")
        second = await submit(studio, member=2)
        await until(lambda: recorder.count("started", second.id), "the second")
        assert recorder.last("queued", second.id).images_ahead == 0
        third = await submit(studio, member=3)
        await until(lambda: recorder.count("queued", third.id), "the third")
        assert recorder.last("queued", third.id).images_ahead == 3 + 1
        assert not recorder.count("started", third.id)


async def test_members_are_told_that_the_model_loads(
    settings: Settings, registry: Registry, recorder: Any, until: Until
) -> None:
    worker = FakeWorker(ready=False)
    async with Studio(settings, registry, worker) as studio:
        studio.subscribe(recorder)
        job = await submit(studio)
        for percent in range(30):
            worker.loading("reading the unet", percent / 100)
        await until(lambda: studio.status().worker.fraction == 0.29, "the loading")
        waiting_for = recorder.last("queued", job.id).waiting_for
        assert (waiting_for.state, waiting_for.text) == (WorkerState.LOADING, "reading the unet")
        assert recorder.count("queued", job.id) < 12  # every 5 %, not every message
        worker.fail_to_load("There is no model at “x”.")
        await until(lambda: studio.status().worker.state is WorkerState.LOAD_FAILED, "the failure")
        assert recorder.last("queued", job.id).waiting_for.text == "There is no model at “x”."
        assert (await studio.job(job.id)).state is JobState.QUEUED
        worker.come_back()
        await until(lambda: recorder.count("done", job.id), "the picture after all")


async def test_cancelling_a_waiting_job(studio: Studio, worker: FakeWorker, recorder: Any, until: Until) -> None:
    await submit(studio)
    await until(lambda: worker.current, "the first")
    job = await submit(studio)
    with pytest.raises(NotYours):
        await studio.cancel(job.id, by=2)
    with pytest.raises(NotFound):
        await studio.cancel("unknown", by=1)
    assert await studio.cancel(job.id, by=2, may_manage=True) is CancelOutcome.CANCELLED
    assert await studio.cancel(job.id, by=1) is CancelOutcome.TOO_LATE
    assert recorder.events(job.id) == ["queued", "cancelled"]
    assert studio.status().queued == 0


async def test_cancelling_a_running_job_frees_the_worker(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until, settings: Settings
) -> None:
    job = await submit(studio)
    following = await submit(studio)
    await until(lambda: worker.current, "the job")
    worker.step()
    await studio.cancel(job.id, by=1)
    assert messages.Cancel(job=job.id) in worker.sent
    await until(lambda: worker.current and worker.current.job == following.id, "the next")
    assert recorder.count("cancelled", job.id) == 1
    assert (await studio.job(job.id)).state is JobState.CANCELLED
    assert not (settings.data_dir / "images" / job.id).exists()


async def test_a_cancel_that_comes_after_done_is_too_late_and_before_done_it_wins(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    outcomes: set[tuple[str, ...]] = set()
    for yields in range(12):
        job = await submit(studio)
        await until(lambda job=job: worker.current and worker.current.job == job.id, "the job")
        cancelling = asyncio.create_task(studio.cancel(job.id, by=1))
        await asyncio.sleep(0.0005 * 1.6**yields if yields else 0)  # up to 88 ms: machines are slow at times
        if worker.current is not None:
            worker.finish()
        outcome = await cancelling
        await until(lambda job=job: {"done", "cancelled"} & set(recorder.events(job.id)), "an end")
        await until(lambda: not studio.status().running, "the worker to be free")
        ends = tuple(event for event in recorder.events(job.id) if event in ("done", "cancelled"))
        assert ends == (("cancelled",) if outcome is CancelOutcome.CANCELLED else ("done",))
        assert bool(await studio.images(job.id)) == (ends == ("done",))
        outcomes.add(ends)
    assert outcomes == {("done",), ("cancelled",)}, "only one side of the race was tried"


async def test_a_lost_worker_puts_its_job_first_and_the_picture_comes_once(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    job = await submit(studio)
    await submit(studio, member=2)
    await until(lambda: worker.current, "the job")
    worker.step()
    lost = worker.current
    assert lost is not None
    worker.die()
    await until(lambda: worker.current and worker.current.attempt == 2, "the second attempt")
    assert worker.current is not None
    assert worker.current.job == job.id
    worker.say(messages.Done(job=job.id, attempt=1, images=[]))  # the old one returns from the dead
    worker.finish()
    await until(lambda: recorder.count("done", job.id), "the picture")
    assert recorder.events(job.id) == ["queued", "started", "progress", "queued", "started", "progress", "done"]
    assert len(recorder.last("done", job.id)) == 1
    assert recorder.count("done", job.id) == 1


async def test_a_job_that_kills_its_worker_three_times_is_given_up(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    job = await submit(studio)
    following = await submit(studio)
    for attempt in (1, 2, 3):
        await until(lambda a=attempt: worker.current and worker.current.attempt == a, f"attempt {attempt}")
        assert worker.current is not None
        assert worker.current.job == job.id
        worker.die()
    await until(lambda: recorder.count("failed", job.id), "the end")
    assert recorder.last("failed", job.id) == CRASHED_TOO_OFTEN
    await until(lambda: worker.current and worker.current.job == following.id, "the queue to go on")


async def test_a_failed_job_says_why_and_the_queue_goes_on(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    job = await submit(studio)
    following = await submit(studio)
    await until(lambda: worker.current, "the job")
    worker.fail("no numbers")
    await until(lambda: worker.current and worker.current.job == following.id, "the next")
    assert recorder.last("failed", job.id) == "no numbers"
    assert (await studio.job(job.id)).error == "no numbers"


async def test_a_job_that_the_worker_forgot_is_taken_up_again(
    settings: Settings, registry: Registry, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    late = timedelta()
    async with Studio(settings, registry, worker, clock=lambda: utc_now() + late) as studio:
        studio.subscribe(recorder)
        job = await submit(studio)
        await until(lambda: worker.current, "the job")
        worker.current = None
        late = timedelta(seconds=settings.lease_seconds + 1)
        await until(lambda: worker.current and worker.current.attempt == 2, "the second attempt")
        worker.finish()
        await until(lambda: recorder.count("done", job.id), "the picture")


async def test_heartbeats_that_name_a_job_renew_its_lease(
    settings: Settings, registry: Registry, worker: FakeWorker, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.running.RENEWALS_PER_LEASE", 1e9)
    late = timedelta()
    async with Studio(settings, registry, worker, clock=lambda: utc_now() + late) as studio:
        job = await submit(studio)
        await until(lambda: worker.current, "the job")
        for _ in range(3):
            late += timedelta(seconds=settings.lease_seconds * 0.7)
            worker.say(messages.Heartbeat(step_counter=1, jobs=[job.id]))
            await asyncio.sleep(0.05)
            assert await registry.jobs.expired(utc_now() + late) == []
        assert (await studio.job(job.id)).attempt == 1


async def test_a_full_queue(studio: Studio, settings: Settings) -> None:
    for _ in range(5):
        await submit(studio, msgspec.structs.replace(APPLE, count=4))
    with pytest.raises(QueueFull):
        await submit(studio)
    await submit(studio, member=2)


async def test_more_at_once_than_anybody_may_have_is_not_said_to_pass_with_time(
    settings: Settings, registry: Registry, worker: FakeWorker
) -> None:
    async with Studio(settings.with_changes(queue_per_member=3), registry, worker) as studio:
        with pytest.raises(TooManyAtOnce, match="makes 4 pictures and 3 is the most here"):
            await submit(studio, msgspec.structs.replace(APPLE, count=4))


async def test_whoever_cancels_may_go_away_at_any_moment(studio: Studio, recorder: Any, until: Until) -> None:
    for ticks in range(12):
        job = await submit(studio)
        cancelling = asyncio.create_task(studio.cancel(job.id, by=1))
        for _ in range(ticks):
            await asyncio.sleep(0.001)
        cancelling.cancel()
        await asyncio.gather(cancelling, return_exceptions=True)
        await asyncio.sleep(0.05)
        if (await studio.job(job.id)).state is JobState.CANCELLED:
            await until(lambda it=job: recorder.count("cancelled", it.id), f"it to be told, {ticks} ms", 1)
            assert studio.place(job.id) is None


async def test_a_shutdown_leaves_nothing_of_what_is_drawn_anew(
    settings: Settings, registry: Registry, worker: FakeWorker, until: Until
) -> None:
    async with Studio(settings, registry, worker) as studio:
        job = await submit(studio)
        await until(lambda: worker.current, "the job")
        worker.step()
        folder = settings.data_dir / "images" / job.id
        await until(lambda: list(folder.iterdir()), "a preview")
    assert list(folder.iterdir()) == []


async def test_a_further_message_of_a_job_that_was_deleted(studio: Studio) -> None:
    job = await submit(studio)
    await studio.delete(job.id, by=1)
    with pytest.raises(NotFound):
        await studio.attach_pictures(job.id, [4], 77)


async def test_a_start_image_is_cleaned_kept_and_copied(
    studio: Studio, worker: FakeWorker, settings: Settings, until: Until
) -> None:
    request = msgspec.structs.replace(APPLE, init_image="holiday.jpg", strength=0.5)
    job = await submit(studio, request, init_image=png() + b"trailing data")
    kept = job.request.init_image
    assert kept == f"images/{job.id}/start.png"
    assert b"trailing data" not in (settings.data_dir / kept).read_bytes()
    await until(lambda: worker.current, "the job")
    assert worker.current is not None
    assert worker.current.request.init_image == str(settings.data_dir.absolute() / kept)
    again = await submit(studio, job.request)
    assert again.request.init_image == f"images/{again.id}/start.png"
    await studio.cancel(job.id, by=1)
    await until(lambda: not (settings.data_dir / kept).exists(), "its removal")
    assert (settings.data_dir / f"images/{again.id}/start.png").exists()


@pytest.mark.parametrize("path", ["images/unknown/start.png", "../../etc/passwd", "atelier.db", "/etc/passwd"])
async def test_a_start_image_comes_from_a_job_or_from_nowhere(studio: Studio, path: str) -> None:
    with pytest.raises(StartImageGone):
        await submit(studio, msgspec.structs.replace(APPLE, init_image=path))


async def test_what_is_refused_leaves_nothing_behind(studio: Studio, settings: Settings, until: Until) -> None:
    request = msgspec.structs.replace(APPLE, init_image="x")
    with pytest.raises(ImageRefused):
        await submit(studio, request, init_image=b"a text file")
    with pytest.raises(InvalidRequest, match="pixels"):
        await submit(studio, msgspec.structs.replace(APPLE, width=2048, height=2048))
    for _ in range(20):
        await submit(studio)
    with pytest.raises(QueueFull):
        await submit(studio, request, init_image=png())
    await submit(studio, member=2, interaction_id=5)
    await submit(studio, request, member=2, interaction_id=5, init_image=png())
    kept = [path for path in (settings.data_dir / "images").glob("*/*") if path.name != "preview.webp"]
    assert kept == []


async def test_a_channel_that_is_gone_ends_the_job(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    running = await submit(studio)
    waiting = await submit(studio)
    last = await submit(studio, member=2)
    await until(lambda: worker.current, "the job")
    await studio.mark_undeliverable(running.id, "the channel is gone")
    await studio.mark_undeliverable(waiting.id, "the channel is gone")
    await until(lambda: worker.current and worker.current.job == last.id, "the next")
    for job in (running, waiting):
        assert (await studio.job(job.id)).state is JobState.FAILED
        assert not {"failed", "cancelled", "done"} & set(recorder.events(job.id))
    assert await studio.undelivered() == []


async def test_a_restart_takes_up_what_was_there_and_tells_what_was_not_told(
    settings: Settings, registry: Registry, recorder: Any, until: Until
) -> None:
    worker = FakeWorker()
    async with Studio(settings, registry, worker) as studio:
        done = await submit(studio)
        await until(lambda: any(isinstance(sent, messages.Draw) for sent in worker.sent), "the first")
        await until(lambda: not studio.status().running, "its end")
        worker.hold()
        running = await submit(studio)
        await until(lambda: worker.current, "the second")
        waiting = await submit(studio, member=2)
        cancelled = await submit(studio, member=3)
        await studio.cancel(cancelled.id, by=3)
    assert (await registry.jobs.get(running.id)).state is JobState.QUEUED  # type: ignore[union-attr]

    second = FakeWorker()
    second.hold()
    async with Studio(settings, registry, second) as studio:
        studio.subscribe(recorder)
        await until(lambda: second.current, "the job to be taken up")
        assert second.current is not None
        assert (second.current.job, second.current.attempt) == (running.id, 2)
        recorder.told.clear()
        await studio.replay()
        assert {job: name for name, job, _ in recorder.told} == {
            done.id: "done",
            running.id: "started",
            waiting.id: "queued",
            cancelled.id: "cancelled",
        }
        assert len(recorder.last("done", done.id)) == 1
        assert (await studio.job(running.id)).crashes == 0


async def test_a_killed_bot_counts_against_the_job_and_three_are_enough(
    settings: Settings, registry: Registry, recorder: Any, make_job: Callable[..., Job]
) -> None:
    job, _ = await registry.jobs.add(make_job(), images_at_most=9)
    for _ in range(3):
        await registry.jobs.claim(job.id, datetime.now(UTC), timedelta(seconds=5))
        async with Studio(settings, registry, FakeWorker(ready=False)) as studio:
            studio.subscribe(recorder)
            await studio.replay()
    assert recorder.last("failed", job.id) == CRASHED_TOO_OFTEN


async def test_a_locked_database_costs_one_sentence_and_no_picture(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until, settings: Settings
) -> None:
    job = await submit(studio)
    await until(lambda: worker.current, "the job")
    with closing(sqlite3.connect(settings.data_dir / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        worker.finish()  # its result cannot be recorded now
        with pytest.raises(RegistryBusy):
            await submit(studio, member=2)
        assert recorder.count("done", job.id) == 0
    await until(lambda: recorder.count("done", job.id), "the picture, once the lock is gone", 10)
    following = await submit(studio, member=2)
    await until(lambda: worker.current and worker.current.job == following.id, "the next")
    assert recorder.count("done", job.id) == 1


async def test_a_listener_that_fails_stops_nobody(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    class Broken:
        def __getattr__(self, _: str) -> Any:
            raise RuntimeError("broken listener")

    studio.subscribe(Broken())  # type: ignore[arg-type]
    job = await submit(studio)
    await until(lambda: worker.current, "the job")
    worker.finish()
    await until(lambda: recorder.count("done", job.id), "the end")


async def test_a_dead_side_task_is_raised_to_the_owner(
    studio: Studio, worker: FakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    watching = asyncio.create_task(studio.watch())
    worker.say("not a message at all")  # type: ignore[arg-type]
    worker.say(messages.Ready(model=None))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    assert not watching.done()  # unknown messages are nobody's end
    worker.say(messages.Heartbeat(step_counter=0, jobs=5))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await asyncio.wait_for(watching, 5)
    assert "receive task died" in caplog.text


async def test_start_images_are_read_one_at_a_time_and_not_for_a_full_queue(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading: list[int] = []
    busy = 0
    read = JobFolders.keep_start_image

    def slowly(folders: JobFolders, job_id: str, data: bytes) -> str:
        nonlocal busy
        busy += 1
        reading.append(busy)
        time.sleep(0.02)
        path = read(folders, job_id, data)
        busy -= 1
        return path

    monkeypatch.setattr(JobFolders, "keep_start_image", slowly)
    request = msgspec.structs.replace(APPLE, init_image="x", strength=0.5)
    many = settings.queue_per_member + 3
    results = await asyncio.gather(
        *(submit(studio, request, message=None, init_image=png()) for _ in range(many)), return_exceptions=True
    )
    assert sum(isinstance(result, QueueFull) for result in results) == 3
    assert reading == [1] * settings.queue_per_member


async def test_a_cancelled_submit_is_a_whole_job(studio: Studio, settings: Settings, until: Until) -> None:
    request = msgspec.structs.replace(APPLE, init_image="x", strength=0.5)
    caller = asyncio.create_task(submit(studio, request, init_image=png()))
    await asyncio.sleep(0.01)
    caller.cancel()
    await until(lambda: studio.queue_view().lines, "the job in the queue")
    (line,) = studio.queue_view().lines
    assert line.job.request.init_image is not None
    assert (settings.data_dir / line.job.request.init_image).is_file()


async def test_what_a_killed_bot_left_behind_is_removed_at_start(
    settings: Settings, registry: Registry, worker: FakeWorker, make_job: Callable[..., Job]
) -> None:
    job, _ = await registry.jobs.add(make_job(), images_at_most=9)
    await registry.jobs.claim(job.id, utc_now(), timedelta(seconds=60))
    images = settings.data_dir / "images"
    for folder, file in ((job.id, "1-0.png"), (job.id, "start.png"), ("unknown", "start.png")):
        (images / folder).mkdir(parents=True, exist_ok=True)
        (images / folder / file).touch()
    async with Studio(settings, registry, worker):
        assert [path.relative_to(images).as_posix() for path in images.rglob("*.png")] == [f"{job.id}/start.png"]


async def test_rows_that_cannot_be_read_fail_alone(
    settings: Settings,
    registry: Registry,
    worker: FakeWorker,
    recorder: Any,
    make_job: Callable[..., Job],
    make_images: Callable[..., list[JobImage]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, running, done, good = [
        (await registry.jobs.add(make_job(member=member), images_at_most=9))[0] for member in range(4)
    ]
    for job in (running, done):
        await registry.jobs.claim(job.id, utc_now(), timedelta(seconds=60))
    await registry.jobs.finish(done.id, 1, make_images(done), utc_now())
    with closing(sqlite3.connect(settings.data_dir / DATABASE)) as database, database:
        database.execute("UPDATE jobs SET request = ? WHERE id IN (?, ?)", ('{"prompt": 1}', bad.id, running.id))
        database.execute("UPDATE images SET recipe = '{}'")
    async with Studio(settings, registry, worker) as studio:
        studio.subscribe(recorder)
        await studio.replay()
        assert [line.job.id for line in studio.queue_view().lines] == [good.id]
        assert [job.id for job in await studio.undelivered()] == [done.id, good.id]
        assert recorder.events(done.id) == ["failed"]
    complaints = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
    assert [[job.id in line for line in complaints] for job in (bad, running, done)] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
