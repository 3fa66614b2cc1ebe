"""What the tests of the bot's lower half share: a registry on disk, jobs, a listener that remembers, a tiny model."""

import asyncio
import importlib.util
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.job import Job, JobImage, JobState, new_job_id
from bot.outlook import WorkerState
from bot.registry.registry import Registry
from bot.settings import Settings
from bot.studio import Studio
from bot.worker.fake import FakeWorker
from generation.recipe import Recipe
from generation.request import ImageRequest

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The fake worker holds one job at a time."""
    return Settings(data_dir=tmp_path / "data", message_wait_seconds=20, jobs_at_once=1)


@pytest.fixture
async def registry(settings: Settings) -> AsyncIterator[Registry]:
    async with Registry(settings.data_dir) as opened:
        yield opened


@pytest.fixture
def worker() -> FakeWorker:
    """Holds on to what it gets until a test says how it ends."""
    held = FakeWorker()
    held.hold()
    return held


@pytest.fixture
async def studio(
    settings: Settings, registry: Registry, worker: FakeWorker, recorder: Any, until: Callable[..., Awaitable[None]]
) -> AsyncIterator[Studio]:
    async with Studio(settings, registry, worker) as opened:
        opened.subscribe(recorder)
        await until(lambda: opened.status().worker.state is WorkerState.READY, "the fake worker")
        yield opened


@pytest.fixture
def make_job() -> Callable[..., Job]:
    interactions = itertools.count(1000)

    def make(*, member: int = 1, count: int = 1, interaction: int | None = None, **values: Any) -> Job:
        return Job(
            id=values.pop("id", None) or new_job_id(),
            member_id=member,
            guild_id=5,
            channel_id=6,
            interaction_id=next(interactions) if interaction is None else interaction,
            message_id=None,
            state=JobState.QUEUED,
            attempt=0,
            crashes=0,
            request=ImageRequest(prompt="a red apple", seed=7, count=count, **values),
            error=None,
            created_at=NOW,
        )

    return make


@pytest.fixture
def make_images(settings: Settings) -> Callable[..., list[JobImage]]:
    def make(job: Job, count: int | None = None) -> list[JobImage]:
        folder = settings.data_dir.absolute() / "images" / job.id
        return [
            JobImage(
                job_id=job.id,
                index=index,
                path=folder / f"1-{index}.png",
                seed=7 + index,
                width=64,
                height=64,
                recipe=Recipe(
                    prompt="a red apple",
                    guidance_scale=7.5,
                    num_inference_steps=4,
                    seed=7 + index,
                    width=64,
                    height=64,
                    scheduler="ddim",
                    model_name="fake",
                    model_hash="0",
                ),
                nsfw=0.25,
                words_not_read=("apple",),
            )
            for index in range(job.images if count is None else count)
        ]

    return make


class Recorder:
    """A `JobListener` that writes down what it is told, as (event, job id, what came with it)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Any]] = []

    def on_queued(self, job: Job, place: Any) -> None:
        self.told.append(("queued", job.id, place))

    def on_started(self, job: Job) -> None:
        self.told.append(("started", job.id, job))

    def on_progress(self, job: Job, progress: Any) -> None:
        self.told.append(("progress", job.id, progress))

    def on_done(self, job: Job, images: Any) -> None:
        self.told.append(("done", job.id, images))

    def on_failed(self, job: Job, reason: str) -> None:
        self.told.append(("failed", job.id, reason))

    def on_cancelled(self, job: Job) -> None:
        self.told.append(("cancelled", job.id, job))

    def events(self, job_id: str) -> list[str]:
        """In order, without repeats in a row."""
        return [name for name, _ in itertools.groupby(name for name, job, _ in self.told if job == job_id)]

    def count(self, event: str, job_id: str) -> int:
        return sum((name, job) == (event, job_id) for name, job, _ in self.told)

    def last(self, event: str, job_id: str) -> Any:
        return next(with_it for name, job, with_it in reversed(self.told) if (name, job) == (event, job_id))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait for something to come true; what it is waiting for is in the message of its failure."""

    async def wait(true: Callable[[], Any], what: str, seconds: float = 5) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"waited {seconds} s for {what}"
            await asyncio.sleep(0.005)

    return wait


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, as the tests of `generation` build it."""
    source = Path(__file__).parents[1] / "generation" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tiny_model_builder", source)
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    return builder.save_tiny_model(tmp_path_factory.mktemp("tiny-model"))
