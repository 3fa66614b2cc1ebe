"""Real worker processes with a tiny model: started, killed, stopped in their tracks, orphaned."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from bot.errors import CRASHED_TOO_OFTEN
from bot.job import JobState
from bot.outlook import WorkerState
from bot.registry.registry import Registry
from bot.settings import Settings
from bot.studio import Studio
from bot.worker import supervisor as supervisor_module
from bot.worker.supervisor import SHUTDOWN_SECONDS, ProcessWorker
from generation.request import ImageRequest

Until = Callable[..., Awaitable[None]]
START = 60  # seconds at most, on a busy machine
LONG = ImageRequest(prompt="a red apple", seed=7, num_inference_steps=150, count=4, width=128, height=128)
SHORT = ImageRequest(prompt="a red apple", seed=7, num_inference_steps=3)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the workers: a tiny network only loses by being split, most of all on a busy machine."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def settings(tmp_path: Path, tiny_model_folder: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", model=str(tiny_model_folder), worker_heartbeat_seconds=3)


@pytest.fixture
def worker(settings: Settings) -> ProcessWorker:
    return ProcessWorker(settings)


@pytest.fixture
async def studio(
    settings: Settings, registry: Registry, worker: ProcessWorker, recorder: Any, until: Until
) -> AsyncIterator[Studio]:
    async with Studio(settings, registry, worker) as opened:
        opened.subscribe(recorder)
        await ready(opened, until)
        yield opened


async def ready(studio: Studio, until: Until) -> None:
    await until(lambda: studio.status().worker.state is WorkerState.READY, "the worker", START)


async def submit(studio: Studio, request: ImageRequest) -> str:
    submitted = await studio.submit(request, member_id=1, guild_id=5, channel_id=6)
    await studio.attach_message(submitted.job.id, 99)
    return submitted.job.id


async def in_the_middle(job: str, recorder: Any, until: Until, attempt: int = 1) -> None:
    def there() -> bool:
        told = [it for name, job_id, it in recorder.told if (name, job_id) == ("progress", job)]
        return bool(told) and told[-1].attempt == attempt and told[-1].step >= 3

    await until(there, f"attempt {attempt} to be in the middle", START)


def kill(worker: ProcessWorker, number: int = signal.SIGKILL) -> int:
    assert worker.pid is not None
    os.kill(worker.pid, number)
    return worker.pid


async def test_kill_in_mid_image_and_a_hung_worker_and_a_cancel(
    studio: Studio, worker: ProcessWorker, recorder: Any, until: Until, settings: Settings
) -> None:
    """One test for three things, because every start of a worker takes seconds."""
    job = await submit(studio, LONG)
    await in_the_middle(job, recorder, until)
    first = kill(worker)
    await until(lambda: recorder.count("done", job), "the picture all the same", START)
    assert recorder.count("done", job) == 1
    assert recorder.events(job)[-4:] == ["queued", "started", "progress", "done"]
    image, *others = recorder.last("done", job)
    assert len(others) == 3
    with Image.open(image.path) as picture:
        assert picture.size == (128, 128)
    assert sorted(path.name for path in image.path.parent.iterdir()) == [f"2-{i}.png" for i in range(4)]

    job = await submit(studio, LONG)
    await in_the_middle(job, recorder, until)
    second = kill(worker, signal.SIGSTOP)
    assert second != first
    await until(lambda: recorder.count("done", job), "the picture all the same", START)
    assert not psutil.pid_exists(second)
    assert recorder.count("done", job) == 1
    assert (await studio.job(job)).attempt == 2

    job = await submit(studio, LONG)
    following = await submit(studio, SHORT)
    await in_the_middle(job, recorder, until)
    await studio.cancel(job, by=1)
    at = recorder.last("progress", job).step
    await until(lambda: recorder.count("started", following), "the next one to start")
    assert recorder.last("progress", job).step <= at + 2
    await until(lambda: recorder.count("done", following), "the next picture", START)
    assert recorder.count("cancelled", job) == 1
    # The short one may have been drawn beside it and have ended before the worker heard of the cancel.
    await until(lambda: not (settings.data_dir / "images" / job).exists(), "its files to go")


@pytest.mark.soak
async def test_a_job_that_kills_its_worker_three_times_is_given_up(
    studio: Studio, worker: ProcessWorker, recorder: Any, until: Until
) -> None:
    job = await submit(studio, LONG)
    for attempt in (1, 2, 3):
        await in_the_middle(job, recorder, until, attempt)
        kill(worker)
    await until(lambda: recorder.count("failed", job), "the end")
    assert recorder.last("failed", job) == CRASHED_TOO_OFTEN
    assert recorder.count("done", job) == 0


async def test_stopping_in_mid_image_is_quick_clean_and_not_counted(
    settings: Settings, registry: Registry, worker: ProcessWorker, recorder: Any, until: Until
) -> None:
    async with Studio(settings, registry, worker) as studio:
        studio.subscribe(recorder)
        job = await submit(studio, LONG)
        await in_the_middle(job, recorder, until)
        pid = worker.pid
        assert pid is not None
        began = time.monotonic()
    assert time.monotonic() - began < SHUTDOWN_SECONDS, "it was killed, not asked"
    assert not psutil.pid_exists(pid)
    kept = await registry.jobs.get(job)
    assert kept is not None
    assert (kept.state, kept.attempt, kept.crashes) == (JobState.QUEUED, 1, 0)
    assert "queued" not in recorder.events(job)[1:]  # nobody is told of a loss that was none


async def test_the_loop_is_free_while_a_worker_starts_and_draws(
    settings: Settings, registry: Registry, worker: ProcessWorker, recorder: Any, until: Until
) -> None:
    stalls: list[float] = []

    async def watch() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            stalls.append(time.monotonic() - before - 0.01)

    watching = asyncio.create_task(watch())
    async with Studio(settings, registry, worker) as studio:
        studio.subscribe(recorder)
        jobs = [await submit(studio, SHORT) for _ in range(3)]
        await until(lambda: all(recorder.count("done", job) for job in jobs), "three pictures", START)
    watching.cancel()
    assert max(stalls) < 1, "loading a model takes seconds: it happened in the bot's own loop"


async def test_a_model_that_cannot_be_loaded_is_said_and_not_tried_in_a_hurry(
    settings: Settings, registry: Registry, recorder: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives: list[float] = []

    class Counting(ProcessWorker):
        async def _live(self) -> str:
            lives.append(time.monotonic())
            return await super()._live()

    worker = Counting(settings.with_changes(model="/no/such/model"))
    async with Studio(settings, registry, worker) as studio:
        studio.subscribe(recorder)
        job = await submit(studio, SHORT)
        await until(lambda: studio.status().worker.state is WorkerState.LOAD_FAILED, "the failure", START)
        assert "There is no model at “model”" in studio.status().worker.text
        assert "There is no model at “model”" in recorder.last("queued", job).waiting_for.text
        await asyncio.sleep(1.5)
        assert len(lives) == 1
        assert (await studio.job(job)).crashes == 0


PARENT = """
import asyncio, sys
from pathlib import Path
from bot.settings import Settings
from bot.worker.messages import Ready
from bot.worker.supervisor import ProcessWorker

async def main():
    worker = ProcessWorker(Settings(model=sys.argv[1]))
    await worker.start()
    async for message in worker.messages():
        if isinstance(message, Ready):
            print(worker.pid, flush=True)

asyncio.run(main())
"""


async def test_a_worker_dies_with_a_bot_that_is_killed(tiny_model_folder: Path, until: Until) -> None:
    bot = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tiny_model_folder), stdout=subprocess.PIPE
    )
    assert bot.stdout is not None
    pid = int(await asyncio.wait_for(bot.stdout.readline(), START))
    assert psutil.pid_exists(pid)
    bot.kill()
    await bot.communicate()
    await until(lambda: not running(pid), "the orphan to end", 3)


def running(pid: int) -> bool:
    """A zombie whose new parent has not looked yet does not count."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_what_is_sent_to_a_dead_worker_does_not_reach_the_next_one(worker: ProcessWorker) -> None:
    """Until the reader has heard of the loss, it believes that its job is with the old one."""
    written: list[Any] = []

    async def write(_: object, message: Any) -> None:
        written.append(message)

    worker._write = write  # type: ignore[method-assign]
    worker._process = object()  # type: ignore[assignment]
    worker._lives, worker._known_ready = 2, 1
    await worker.send("for the old one")  # type: ignore[arg-type]
    assert written == []
    worker._known_ready = 2
    await worker.send("for the new one")  # type: ignore[arg-type]
    assert written == ["for the new one"]


def test_pauses_grow(settings: Settings) -> None:
    assert supervisor_module.FIRST_PAUSE <= 1 < supervisor_module.FIRST_PAUSE_AFTER_LOADING
    assert supervisor_module.LONGEST_PAUSE == 60


def test_the_worker_does_not_get_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_DISCORD_TOKEN", "secret")
    given = supervisor_module._without_settings(os.environ)
    assert "PATH" in given
    assert "ATELIER_DISCORD_TOKEN" not in given
