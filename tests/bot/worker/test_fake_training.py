import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

from bot.errors import UserError
from bot.worker.fake import FakeWorker
from bot.worker.messages import Cancel, Cancelled, Done, Draw, Failed, Forget, Heartbeat, Progress, Train
from generation.request import ConceptUse, ImageRequest
from training.events import Phase
from training.order import Method, TrainingOrder, Verdict


def train(folder: Path, job: str = "t", method: Method = Method.LORA) -> Train:
    return Train(
        job=job,
        attempt=2,
        order=TrainingOrder(job=job, method=method, name="cat", class_word="animal"),
        photos=[str(folder / "photos" / f"{k}.png") for k in range(3)],
        work_dir=str(folder / "trainings" / job),
        prior_dir=str(folder / "prior"),
        concept_dir=str(folder / "concepts" / job),
        request=ImageRequest(prompt=["a <cat>", "a red <cat>"], seed=4),
        output_dir=str(folder / "images" / job),
    )


async def said(worker: FakeWorker) -> Sequence[object]:
    await worker.stop()
    return [message async for message in worker.messages()]


async def test_a_training_ends_with_a_concept_its_pictures_and_a_strip(tmp_path: Path) -> None:
    worker = FakeWorker()
    await worker.start()
    await worker.send(train(tmp_path))
    *others, done = await said(worker)
    progress = [message for message in others if isinstance(message, Progress)]
    phases = [phase for phase, _ in itertools.groupby(message.phase for message in progress)]
    assert phases == [Phase.PREPARING, Phase.CLASS_PICTURES, Phase.TRAINING, Phase.JUDGING, Phase.SAMPLING]
    assert [message.step for message in progress if message.preview] == [2, 4, 6, 8]
    left = [message.seconds_left for message in progress]
    assert left == sorted(left, reverse=True)  # type: ignore[type-var]
    assert left[-1] == 0
    assert isinstance(done, Done)
    assert (done.job, done.attempt) == ("t", 2)
    trained = done.trained
    assert trained is not None
    assert trained.card.verdict is Verdict.LEARNED
    assert Path(trained.file).parent == tmp_path / "concepts" / "t"
    with safe_open(trained.file, "numpy") as file:
        assert file.get_tensor("<cat>").shape == (2, 4)
    with Image.open(Path(trained.file).with_name("strip.png")) as strip:
        strip.load()
    assert [image.recipe.prompt for image in done.images] == ["a <cat>", "a red <cat>"]
    assert [image.recipe.concepts[0].sha256 for image in done.images] == [trained.sha256] * 2
    assert not (tmp_path / "images" / "t" / "preview.webp").exists()


async def test_a_held_training_lets_pictures_go_by_and_can_be_cancelled(tmp_path: Path) -> None:
    worker = FakeWorker()
    worker.hold_trainings()
    await worker.start()
    await worker.send(train(tmp_path))
    worker.train(5)
    await worker.send(
        Draw(job="p", attempt=1, request=ImageRequest(prompt="x", seed=1), output_dir=str(tmp_path / "p"))
    )
    assert worker.current is None
    assert worker.training is not None
    worker.train(2)
    await worker.send(Cancel(job="t"))
    assert worker.training is None
    messages = [message for message in await said(worker) if not isinstance(message, Heartbeat)]
    ends = [message for message in messages if isinstance(message, Done | Cancelled)]
    assert [(type(end), end.job, end.attempt) for end in ends] == [(Done, "p", 1), (Cancelled, "t", 2)]


async def test_it_fails_and_dies_when_told(tmp_path: Path) -> None:
    worker = FakeWorker()
    worker.hold()
    await worker.start()
    await worker.send(train(tmp_path))
    worker.fail_training("no")
    await worker.send(train(tmp_path))
    worker.die()
    with pytest.raises(RuntimeError):
        worker.train()
    await worker.send(train(tmp_path))
    worker.release()
    ends = [message for message in await said(worker) if isinstance(message, Failed | Done)]
    assert [type(end) for end in ends] == [Failed, Done]


async def test_two_trainings_make_two_files_and_a_missing_one_fails_the_picture(tmp_path: Path) -> None:
    worker = FakeWorker()
    await worker.start()
    await worker.send(train(tmp_path, "a"))
    await worker.send(train(tmp_path, "b", Method.TEXTUAL_INVERSION))
    first, second = (message.trained for message in await said(worker) if isinstance(message, Done))
    assert first is not None
    assert second is not None
    assert first.sha256 != second.sha256
    assert (first.trigger, second.trigger) == ("animal", "")

    worker = FakeWorker()
    await worker.start()
    await worker.send(Forget(sha256=first.sha256))
    assert worker.forgotten == [first.sha256]
    Path(first.file).unlink()
    request = ImageRequest(prompt="a <cat>", seed=1, concepts=[ConceptUse(name="cat", path=first.file)])
    await worker.send(Draw(job="p", attempt=1, request=request, output_dir=str(tmp_path / "p")))
    (failed,) = [message for message in await said(worker) if isinstance(message, Failed)]
    assert failed.reason == str(UserError("The file of <cat> is not there."))
