"""What the dispatcher hands to the worker besides a request: start images to draw again, pictures to enlarge."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.job import JobKind
from bot.outlook import WorkerState
from bot.registry.registry import Registry
from bot.settings import Settings
from bot.studio import Studio
from bot.worker.fake import FakeWorker
from bot.worker.messages import Draw
from generation.recipe import Recipe
from generation.request import ImageRequest

Until = Callable[..., Awaitable[None]]
RECIPE = Recipe(
    prompt="a red apple", guidance_scale=7.5, num_inference_steps=4, seed=41, width=64, height=64,
    scheduler="ddim", model_name="fake", model_hash="0",
)  # fmt: skip
VARIED = ImageRequest(prompt="a red apple", seed=7, init_image="a picture that is gone", strength=0.6)


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
async def studio(
    settings: Settings, registry: Registry, worker: FakeWorker, recorder: Any, until: Until
) -> AsyncIterator[Studio]:
    async with Studio(settings, registry, worker) as opened:
        opened.subscribe(recorder)
        await until(lambda: opened.status().worker.state is WorkerState.READY, "the fake worker")
        yield opened


async def run(studio: Studio, recorder: Any, until: Until, **values: Any) -> Any:
    """The images of a job that may start at once."""
    submitted = await studio.submit(VARIED, member_id=1, guild_id=5, channel_id=6, **values)
    await studio.attach_message(submitted.job.id, 99)
    await until(lambda: recorder.count("done", submitted.job.id), "the end")
    return recorder.last("done", submitted.job.id)


async def test_a_start_image_that_is_gone_is_drawn_again_into_the_new_jobs_folder(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until, settings: Settings
) -> None:
    redraw = ImageRequest(prompt="a red apple", seed=41, init_image="images/older/start.png", strength=0.5)
    (image,) = await run(studio, recorder, until, kind=JobKind.VARY, redraw=redraw)
    (draw,) = [sent for sent in worker.sent if isinstance(sent, Draw)]
    data = settings.data_dir.absolute()
    assert draw.request.init_image == str(data / "images" / image.job_id / "start.png")
    assert Path(draw.request.init_image).is_file()
    assert draw.redraw is not None
    assert (draw.redraw.init_image, draw.redraw.seed) == (str(data / "images/older/start.png"), 41)
    assert draw.resample is None
    assert studio.queue_view().seconds is not None, "how long pictures take is known now"


async def test_a_picture_is_enlarged_without_the_model(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    redraw = ImageRequest(prompt="a red apple", seed=41)
    (image,) = await run(studio, recorder, until, kind=JobKind.RESAMPLE, redraw=redraw, recipe=RECIPE)
    assert (image.width, image.height, image.recipe, image.seed) == (512, 512, RECIPE, 41)
    with Image.open(image.path) as picture:
        assert picture.size == (512, 512)
    assert studio.queue_view().seconds is None, "it says nothing about how long pictures take to draw"
