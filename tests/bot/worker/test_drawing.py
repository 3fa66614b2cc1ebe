"""The worker's loop around the real engine and a tiny model, without a process around it."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
from PIL import Image

from bot.errors import INTERNAL_ERROR, NOT_CHECKED, StartImageGone
from bot.worker import drawing as drawing_module
from bot.worker import pictures as pictures_module
from bot.worker.drawing import DrawingLoop
from bot.worker.messages import Cancel, Cancelled, Done, Draw, Failed, Progress
from bot.worker.pictures import CheckedFiles
from generation.engine import Engine
from generation.model import load_model
from generation.recipe import Recipe, from_parameters
from generation.request import ImageRequest

STEPS = 6


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """A network this small only loses by being split."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return load_model(str(tiny_model_folder), device="cpu")


@pytest.fixture(autouse=True)
def previews_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing_module, "PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr(drawing_module, "PREVIEW_SHARE", float("inf"))


class Worker:
    """A loop with everything that it said."""

    def __init__(
        self,
        model: Any,
        folder: Path,
        score: Callable[[Image.Image], float] = lambda _: 0.1,
        *,
        reproducible: bool = False,
    ) -> None:
        self.said: list[Any] = []
        self.folder = folder / "images" / "j"
        self.engine = Engine(model, reproducible=reproducible)
        self.loop = DrawingLoop(self.engine, CheckedFiles(score, nsfw_threshold=0.7), self.said.append)

    def draw(
        self,
        *,
        attempt: int = 1,
        redraw: ImageRequest | None = None,
        resample: Recipe | None = None,
        **values: Any,
    ) -> None:
        request = ImageRequest(**{"prompt": "a red apple", "seed": 3, "num_inference_steps": STEPS, **values})
        self.loop.take(
            Draw(
                job="j",
                attempt=attempt,
                request=request,
                output_dir=str(self.folder),
                redraw=redraw,
                resample=resample,
            )
        )

    @property
    def start(self) -> Path:
        return self.folder / "start.png"

    def run(self, steps: int | None = None) -> None:
        while self.loop.busy and steps != 0:
            self.loop.step()
            steps = None if steps is None else steps - 1

    def only(self, kind: type) -> list[Any]:
        return [message for message in self.said if isinstance(message, kind)]

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*"))


def test_progress_at_every_step_previews_between_and_two_pictures(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    worker.draw(count=2)
    worker.run(4)
    with Image.open(worker.only(Progress)[-1].preview) as preview:
        assert preview.format == "WEBP"
    worker.run()
    progress = worker.only(Progress)
    assert [message.step for message in progress] == list(range(STEPS + 1))
    assert [message.preview is not None for message in progress] == [False, *[True] * (STEPS - 1), False]
    (done,) = worker.only(Done)
    assert worker.said[-1] is done
    assert worker.files == ["1-0.png", "1-1.png"]
    assert [(image.seed, image.nsfw) for image in done.images] == [(3, 0.1), (4, 0.1)]
    with Image.open(done.images[1].path) as picture:
        assert from_parameters(picture.text["parameters"]).seed == 4  # type: ignore[attr-defined]


def test_words_that_were_not_read_are_passed_on(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    worker.draw(prompt="a red apple on the left of a big house and the small blue car of a green fox")
    worker.run()
    (done,) = worker.only(Done)
    assert "fox" in done.images[0].words_not_read


def test_previews_of_all_jobs_together_take_a_tenth_of_the_time(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]

    def check_for_a_second(_: Image.Image) -> float:
        clock[0] += 1
        return 0.1

    monkeypatch.setattr(drawing_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(drawing_module, "PREVIEW_SHARE", 0.1)
    worker = Worker(model, tmp_path, check_for_a_second)
    for job in ("a", "b"):
        request = ImageRequest(prompt="a red apple", seed=3, num_inference_steps=60)
        worker.loop.take(Draw(job=job, attempt=1, request=request, output_dir=str(tmp_path / job)))
    while worker.loop.busy:
        worker.loop.step()
        clock[0] += 1
    previewed = [message.job for message in worker.only(Progress) if message.preview]
    assert set(previewed) == {"a", "b"}
    assert 4 <= len(previewed) <= 0.1 * (clock[0] - 100) + 1


def test_an_unsafe_picture_is_kept_for_the_bot_to_decide_but_no_preview_is_written(
    model: Any, tmp_path: Path
) -> None:
    worker = Worker(model, tmp_path, score=lambda _: 0.7)
    worker.draw()
    worker.run(STEPS)
    assert all(message.preview is None for message in worker.only(Progress))
    assert worker.files == []
    worker.run()
    assert [image.nsfw for image in worker.only(Done)[0].images] == [0.7]


@pytest.mark.parametrize("after", [0, STEPS - 1], ids=["at a preview", "at the picture"])
def test_a_check_that_crashes_shows_nothing(model: Any, tmp_path: Path, after: int) -> None:
    calls: list[Image.Image] = []

    def score(image: Image.Image) -> float:
        calls.append(image)
        if len(calls) > after:
            raise RuntimeError("the check is broken")
        return 0.0

    worker = Worker(model, tmp_path, score)
    worker.draw()
    worker.run()
    (failed,) = worker.only(Failed)
    assert failed.reason == NOT_CHECKED
    assert worker.only(Done) == worker.only(Cancelled) == []
    assert worker.files == []
    worker.draw(attempt=2)  # and the loop goes on
    worker.run()
    assert len(worker.only(Failed)) == 2


def test_cancel_takes_effect_at_the_next_step(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    worker.draw()
    worker.run(3)
    before = len(worker.only(Progress))
    worker.loop.take(Cancel(job="j"))
    worker.run()
    assert worker.only(Cancelled) == [Cancelled(job="j", attempt=1)]
    assert len(worker.only(Progress)) == before
    assert worker.files == []
    worker.loop.take(Cancel(job="j"))
    worker.run()
    assert len(worker.only(Cancelled)) == 1


def test_a_second_attempt_may_come_while_the_first_is_being_cancelled(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    worker.draw()
    worker.run(2)
    worker.loop.take(Cancel(job="j"))
    worker.draw(attempt=2)
    worker.run()
    assert worker.only(Cancelled) == [Cancelled(job="j", attempt=1)]
    assert [done.attempt for done in worker.only(Done)] == [2]
    assert worker.files == ["2-0.png"]


def test_a_size_that_the_model_cannot_draw_fails_with_the_sentence(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    worker.draw(width=2048, height=2048)
    (failed,) = worker.only(Failed)
    assert "2048" in failed.reason
    assert not worker.loop.busy


def test_a_full_disk_fails_the_job_with_a_sentence(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    worker = Worker(model, tmp_path)
    monkeypatch.setattr(pictures_module, "save_png", full)
    worker.draw()
    worker.run()
    assert "disk is full" in worker.only(Failed)[0].reason


def test_a_fault_of_the_engine_ends_the_job_and_not_the_worker(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(model, tmp_path)
    worker.draw()
    with monkeypatch.context() as broken:
        broken.setattr(worker.engine, "_run_batch", lambda: 1 / 0)
        worker.run()
    assert [failed.reason for failed in worker.only(Failed)] == [INTERNAL_ERROR]
    worker.draw(attempt=2)
    worker.run()
    assert len(worker.only(Done)) == 1


def test_a_fault_in_one_request_leaves_the_others_alone(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(model, tmp_path)
    for job in ("a", "b"):
        request = ImageRequest(prompt="a red apple", seed=3, num_inference_steps=STEPS)
        worker.loop.take(Draw(job=job, attempt=1, request=request, output_dir=str(tmp_path / job)))
    with monkeypatch.context() as broken:
        broken.setattr(worker.engine._drawings["a:1"], "start", lambda: 1 / 0)
        worker.run()
    assert [(failed.job, failed.reason) for failed in worker.only(Failed)] == [("a", INTERNAL_ERROR)]
    assert [done.job for done in worker.only(Done)] == ["b"]


def test_it_names_the_jobs_that_it_holds(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    assert worker.loop.jobs == []
    worker.draw()
    assert worker.loop.jobs == ["j"]


# ── a start image that is drawn again ──

GREEN = ImageRequest(prompt="a green house", seed=3, num_inference_steps=STEPS)


def vary(worker: Worker, *, redraw: ImageRequest = GREEN, **values: Any) -> None:
    """From a start image that is not kept any more: six steps for it, then the last half of six."""
    worker.draw(init_image=str(worker.start), redraw=redraw, **{"strength": 0.5, **values})


def test_a_start_image_that_is_gone_is_drawn_first(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    vary(worker, count=2)
    worker.run()
    assert [(message.step, message.total_steps) for message in worker.only(Progress)] == [
        *((step, 9) for step in range(7)),
        *((step, 9) for step in range(6, 10)),
    ]
    (done,) = worker.only(Done)
    assert worker.said[-1] is done
    assert [image.seed for image in done.images] == [3, 4]
    assert worker.files == ["1-0.png", "1-1.png", "start.png"]
    with Image.open(worker.start) as start:
        assert from_parameters(start.text["parameters"]).prompt == "a green house"  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' Heun with numpy 2
def test_steps_of_both_are_counted_as_their_samplers_do_them(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    vary(worker, redraw=msgspec.structs.replace(GREEN, scheduler="heun"))
    worker.run()
    assert {message.total_steps for message in worker.only(Progress)} == {2 * STEPS - 1 + 3}  # Heun does 2n − 1


@pytest.mark.parametrize("index", [0, 2])
def test_drawn_again_it_is_the_same_file_whoever_else_is_drawing(model: Any, tmp_path: Path, index: int) -> None:
    first = Worker(model, tmp_path / "first", reproducible=True)
    first.draw(prompt="a green house", count=4, seed=11, negative_prompt="red")
    first.run()
    original = first.folder / f"1-{index}.png"

    again = Worker(model, tmp_path / "again", reproducible=True)
    other = ImageRequest(prompt="a blue car", seed=1, num_inference_steps=9, count=2)
    again.loop.take(Draw(job="other", attempt=1, request=other, output_dir=str(tmp_path / "other")))
    again.run(3)
    alone = msgspec.structs.replace(GREEN, seed=11 + index, negative_prompt="red")
    vary(again, redraw=alone)
    again.run()
    assert again.start.read_bytes() == original.read_bytes()

    beside = Worker(model, tmp_path / "beside", reproducible=True)
    beside.draw(init_image=str(original), strength=0.5)
    beside.run()
    varied = next(done.images[0] for done in again.only(Done) if done.job == "j")
    assert Path(varied.path).read_bytes() == Path(beside.only(Done)[0].images[0].path).read_bytes()


def test_a_start_image_that_is_there_is_not_drawn_again(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    worker.folder.mkdir(parents=True)
    Image.new("RGB", (64, 64), "teal").save(worker.start)
    before = worker.start.read_bytes()
    vary(worker, attempt=2)
    worker.run()
    assert worker.only(Progress)[-1].total_steps == 3
    assert worker.files == ["2-0.png", "start.png"]
    assert worker.start.read_bytes() == before


@pytest.mark.parametrize("after", [3, 12], ids=["the start image", "the picture"])
def test_cancel_stops_whichever_is_being_drawn(model: Any, tmp_path: Path, after: int) -> None:
    worker = Worker(model, tmp_path)
    vary(worker)
    worker.run(after)
    assert (worker.only(Progress)[-1].step > STEPS) == (after == 12)
    assert worker.start.exists() == (after == 12)
    assert worker.loop.jobs == ["j"]
    worker.loop.take(Cancel(job="j"))
    worker.run()
    assert worker.only(Cancelled) == [Cancelled(job="j", attempt=1)]
    assert worker.only(Done) == worker.only(Failed) == []
    assert not (worker.folder / "1-0.png").exists()
    assert not (worker.folder / "preview.webp").exists()


def test_what_cannot_be_drawn_afterwards_is_refused_before(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    vary(worker, width=2048, height=2048)
    assert "2048" in worker.only(Failed)[0].reason
    assert not worker.loop.busy


def test_a_start_image_that_cannot_be_drawn_again_fails_with_the_sentence(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    vary(worker, redraw=msgspec.structs.replace(GREEN, width=2048, height=2048))
    assert "2048" in worker.only(Failed)[0].reason
    vary(worker, attempt=2, redraw=msgspec.structs.replace(GREEN, init_image=str(tmp_path / "gone.png")))
    worker.run()
    assert "start image" in worker.only(Failed)[1].reason
    assert not worker.start.exists()


def test_a_start_image_that_could_not_be_checked_is_not_kept(model: Any, tmp_path: Path) -> None:
    def broken(image: Image.Image) -> float:
        raise RuntimeError(f"the check is broken: {image.size}")

    worker = Worker(model, tmp_path, broken)
    vary(worker)
    worker.run()
    assert [failed.reason for failed in worker.only(Failed)] == [NOT_CHECKED]
    assert worker.files == []


def test_a_fault_while_the_start_image_is_drawn_ends_the_job(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(model, tmp_path)
    vary(worker)
    monkeypatch.setattr(worker.engine, "_run_batch", lambda: 1 / 0)
    worker.run()
    assert [failed.reason for failed in worker.only(Failed)] == [INTERNAL_ERROR]


# ── enlarging without the model ──

RECIPE = Recipe(
    prompt="a red apple", guidance_scale=7.5, num_inference_steps=20, seed=41, width=96, height=64,
    scheduler="ddim", model_name="some", model_hash="0" * 64, version="Atelier 0.0.1",
)  # fmt: skip


def enlarge(worker: Worker, size: tuple[int, int] | None = None, **values: Any) -> None:
    if size is not None:
        worker.folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "teal").save(worker.start)
    worker.draw(init_image=str(worker.start), resample=RECIPE, **values)
    worker.run()


@pytest.mark.parametrize(
    ("size", "larger"),
    [((96, 64), (512, 341)), ((64, 64), (512, 512)), ((200, 400), (400, 800)), ((1536, 32), (2048, 43))],
)
def test_a_picture_becomes_twice_as_large_as_it_was_shown(
    model: Any, tmp_path: Path, size: tuple[int, int], larger: tuple[int, int]
) -> None:
    checked: list[tuple[int, int]] = []

    def score(image: Image.Image) -> float:
        checked.append(image.size)
        return 0.75

    worker = Worker(model, tmp_path, score)
    enlarge(worker, size)
    (done,) = worker.said
    (image,) = done.images
    assert (image.path, image.nsfw, image.seed) == (str(worker.folder / "1-0.png"), 0.75, 41)
    assert (image.width, image.height) == larger
    assert image.recipe == RECIPE, "that of the picture which was enlarged"
    assert checked == [larger]
    with Image.open(image.path) as picture:
        assert picture.size == larger
        assert from_parameters(picture.text["parameters"]).width == 96  # type: ignore[attr-defined]
    assert not worker.loop.busy


def test_pictures_to_be_enlarged_come_one_between_two_steps_of_the_others(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    worker.folder.mkdir(parents=True)
    Image.new("RGB", (64, 64), "teal").save(worker.start)
    worker.draw()
    worker.run(3)
    before = worker.only(Progress)[-1].step
    request = ImageRequest(prompt="x", seed=1, init_image=str(worker.start))
    for job in ("a", "b", "c"):
        worker.loop.take(Draw(job=job, attempt=1, request=request, output_dir=str(tmp_path / job), resample=RECIPE))
    assert worker.only(Done) == []
    assert worker.loop.jobs == ["j", "a", "b", "c"]
    worker.run(1)
    assert [done.job for done in worker.only(Done)] == ["a"]
    assert worker.only(Progress)[-1].step == before + 1
    worker.loop.take(Cancel(job="b"))
    assert [cancelled.job for cancelled in worker.only(Cancelled)] == ["b"]
    worker.run(1)
    assert [done.job for done in worker.only(Done)] == ["a", "c"]
    assert worker.only(Progress)[-1].step == before + 2


def test_what_is_enlarged_is_drawn_again_where_it_is_gone(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    enlarge(worker, redraw=GREEN)
    worker.run()
    assert [(message.step, message.total_steps) for message in worker.only(Progress)] == [(n, 6) for n in range(7)]
    (done,) = worker.only(Done)
    assert worker.said[-1] is done
    assert (done.images[0].width, done.images[0].recipe) == (512, RECIPE)
    assert worker.files == ["1-0.png", "start.png"]
    assert worker.loop.jobs == []


def test_what_cannot_be_enlarged_fails_with_a_sentence(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path)
    enlarge(worker)
    assert worker.only(Failed)[-1].reason == str(StartImageGone())
    worker.start.write_bytes(b"not a picture")
    enlarge(worker)
    assert "not a PNG" in worker.only(Failed)[-1].reason
    assert worker.only(Done) == []


def test_an_enlarged_picture_that_could_not_be_checked_is_not_kept(model: Any, tmp_path: Path) -> None:
    worker = Worker(model, tmp_path, lambda _: 1 / 0)
    enlarge(worker, (64, 64))
    assert [failed.reason for failed in worker.only(Failed)] == [NOT_CHECKED]
    assert worker.files == ["start.png"]
