import itertools
from pathlib import Path

from PIL import Image

from bot.worker import messages
from bot.worker.fake import FakeWorker
from bot.worker.messages import Done, Draw, Heartbeat, Progress, Ready, WorkerLost
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
