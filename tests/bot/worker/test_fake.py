import itertools
from pathlib import Path

from PIL import Image

from bot.errors import StartImageGone
from bot.worker import messages
from bot.worker.fake import FakeWorker
from bot.worker.messages import Done, Draw, Failed, Heartbeat, Progress, Ready, WorkerLost
from generation.recipe import Recipe
from generation.request import ImageRequest


def draw(folder: Path, **more: int) -> Draw:
    return Draw(job="j", attempt=1, request=ImageRequest(prompt="x", seed=1, **more), output_dir=str(folder))


async def said(worker: FakeWorker) -> list[object]:
    await worker.stop()
    return [message async for message in worker.messages()]


async def test_by_default_it_draws_at_once_and_the_same_every_time(tmp_path: Path) -> None:
    pictures: list[bytes] = []
    for name in ("a", "b"):
        worker = FakeWorker()
        await worker.start()
        await worker.send(draw(tmp_path / name, count=2, width=72))
        (done,) = [message for message in await said(worker) if isinstance(message, Done)]
        with Image.open(done.images[1].path) as image:
            assert image.size == (72, 64)
            pictures.append(image.tobytes())
        assert [image.seed for image in done.images] == [1, 2]
    assert pictures[0] == pictures[1]


async def test_held_it_moves_by_hand(tmp_path: Path) -> None:
    worker = FakeWorker()
    worker.hold()
    await worker.start()
    await worker.send(draw(tmp_path))
    worker.step(3)
    assert (tmp_path / "preview.webp").exists()
    worker.finish()
    assert not (tmp_path / "preview.webp").exists()
    await worker.send(draw(tmp_path))
    await worker.send(messages.Cancel(job="j"))
    await worker.send(draw(tmp_path))
    worker.fail("no")
    await worker.send(draw(tmp_path))
    worker.release()
    kinds = [type(message).__name__ for message in await said(worker) if not isinstance(message, Heartbeat)]
    expected = ["Loading", "Ready", "Progress", "Done", "Cancelled", "Failed", "Progress", "Done"]
    assert [name for name, _ in itertools.groupby(kinds)] == expected


async def test_dead_it_hears_nothing(tmp_path: Path) -> None:
    worker = FakeWorker()
    worker.hold()
    await worker.start()
    await worker.send(draw(tmp_path))
    worker.die(back=False)
    await worker.send(draw(tmp_path))
    assert worker.current is None
    worker.come_back()
    rest = [m for m in await said(worker) if isinstance(m, WorkerLost | Ready | Progress)]
    assert [type(message) for message in rest] == [Ready, WorkerLost, Ready]


async def test_a_start_image_that_is_gone_is_drawn_first(tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    request = ImageRequest(prompt="x", seed=1, init_image=str(start), num_inference_steps=3)
    redraw = ImageRequest(prompt="y", seed=9, num_inference_steps=5)
    for attempt, steps in ((1, 8), (2, 3)):  # the second time it is there
        worker = FakeWorker()
        await worker.start()
        await worker.send(Draw(job="j", attempt=attempt, request=request, output_dir=str(tmp_path), redraw=redraw))
        heard = await said(worker)
        assert [(m.step, m.total_steps) for m in heard if isinstance(m, Progress)][-1] == (steps, steps)
        (done,) = [m for m in heard if isinstance(m, Done)]
        assert [image.seed for image in done.images] == [1]
    alone = FakeWorker()
    await alone.start()
    await alone.send(Draw(job="k", attempt=1, request=redraw, output_dir=str(tmp_path / "k")))
    (done,) = [m for m in await said(alone) if isinstance(m, Done)]
    assert start.read_bytes() == Path(done.images[0].path).read_bytes()


async def test_a_picture_is_enlarged(tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    recipe = Recipe(
        prompt="x", guidance_scale=7.5, num_inference_steps=4, seed=41, width=64, height=32, scheduler="ddim",
        model_name="m", model_hash="0",
    )  # fmt: skip
    request = ImageRequest(prompt="x", seed=1, init_image=str(start))
    draw = Draw(job="j", attempt=1, request=request, output_dir=str(tmp_path), resample=recipe)
    worker = FakeWorker()
    worker.nsfw = 0.9
    await worker.start()
    await worker.send(draw)
    Image.new("RGB", (64, 32), "teal").save(start)
    await worker.send(draw)
    failed, done = [m for m in await said(worker) if isinstance(m, Done | Failed)]
    assert isinstance(failed, Failed)
    assert failed.reason == str(StartImageGone())
    assert isinstance(done, Done)
    (image,) = done.images
    assert (image.width, image.height, image.recipe, image.nsfw) == (512, 256, recipe, 0.9)
    with Image.open(image.path) as picture:
        assert picture.size == (512, 256)
