"""An in-memory worker that draws plain coloured squares: for tests and for trying the chat without a model.

Deterministic: the colour follows the seed. By default every job is done at once; after `hold()` a test moves it
by hand with `step()`, `finish()`, `fail()` and `die()`. Trainings are beside the pictures: `hold_trainings()`, then
`train()`, `finish_training()` and `fail_training()`.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from PIL import Image

from bot.errors import UserError, sentence
from bot.worker.fake_training import LEARNED, FakeStep, fake_steps, finished_concept, with_concept
from bot.worker.messages import (
    Cancel,
    Cancelled,
    Done,
    Draw,
    DrawnImage,
    Failed,
    Forget,
    FromWorker,
    Heartbeat,
    LoadFailed,
    Loading,
    Progress,
    Ready,
    ToWorker,
    Train,
    WorkerLost,
)
from bot.worker.pictures import CheckedFiles, drawn_first, start_path
from generation.image_input import ImageRefused
from generation.recipe import ConceptUsed, Recipe
from generation.request import ConceptUse, ImageRequest, ModelDefaults, ModelInfo
from training.order import Card

PREVIEW = "preview.webp"
FAKE_MODEL = ModelInfo(
    name="fake",
    source="fake",
    family="fake",
    hash="0" * 10,
    defaults=ModelDefaults(num_inference_steps=4, guidance_scale=7.5, width=64, height=64, size_multiple=8),
    prediction_type="epsilon",
    parameters=0,
    scheduler="ddim",
)


class FakeWorker:
    """Implements `bot.worker.protocol.Worker`. Set `nsfw`, `words_not_read` and `card` to change what results say."""

    def __init__(self, *, model: ModelInfo = FAKE_MODEL, ready: bool = True, previews: bool = True) -> None:
        self.model = model
        self.nsfw = 0.0
        self.words_not_read: list[str] = []
        self.card = LEARNED
        self.sent: list[ToWorker] = []
        self.forgotten: list[str] = []
        """SHA-256 of the concepts that it was told to forget."""
        self.current: Draw | None = None
        self.steps_done = 0
        self.training: Train | None = None
        self._training_steps: list[FakeStep] = []
        """Still to be done."""
        self.alive = False
        self._ready_at_start = ready
        self._previews = previews
        self._held = self._trainings_held = False
        self._first: ImageRequest | None = None
        self._files = CheckedFiles(lambda _: self.nsfw, nsfw_threshold=1.0)
        self._out: asyncio.Queue[FromWorker | WorkerLost | None] = asyncio.Queue()

    async def start(self) -> None:
        self.alive = True
        self.say(Loading(text="loading the model"))
        if self._ready_at_start:
            self.say(Ready(model=self.model))

    async def stop(self) -> None:
        self.alive = False
        self.current = self.training = None
        self._out.put_nowait(None)

    async def send(self, message: ToWorker) -> None:
        if not self.alive:
            return
        self.sent.append(message)
        if isinstance(message, Draw):
            self.current, self.steps_done = message, 0
            self._first = drawn_first(message)
            if not self._held:
                self.finish()
        elif isinstance(message, Train):
            self.training, self._training_steps = message, fake_steps(message)
            if not self._trainings_held:
                self.finish_training()
        elif isinstance(message, Forget):
            self.forgotten.append(message.sha256)
        elif isinstance(message, Cancel):
            self._cancel(message.job)

    async def messages(self) -> AsyncIterator[FromWorker | WorkerLost]:
        while (message := await self._out.get()) is not None:
            yield message

    # ── what a test does with it ──

    def say(self, message: FromWorker | WorkerLost) -> None:
        """Put any message on the way to the bot, also a wrong or late one."""
        self._out.put_nowait(message)

    def hold(self) -> None:
        """From now on jobs wait for `step()` and `finish()`, trainings for `train()` and `finish_training()`."""
        self._held = self._trainings_held = True

    def hold_trainings(self) -> None:
        """From now on trainings wait; pictures are drawn at once all the same."""
        self._trainings_held = True

    def release(self) -> None:
        """Stop holding; a job that is held is finished now, a training too."""
        self._held = self._trainings_held = False
        if self.current is not None:
            self.finish()
        if self.training is not None:
            self.finish_training()

    def step(self, count: int = 1) -> None:
        """Do `count` denoising steps of the current job; those of a start image to be drawn again come first."""
        draw = self._require()
        total = self._all_steps(draw)
        for _ in range(count):
            self.steps_done = min(self.steps_done + 1, total)
            last = self.steps_done == total
            self.say(
                Progress(
                    job=draw.job,
                    attempt=draw.attempt,
                    step=self.steps_done,
                    total_steps=total,
                    seconds_per_step=0.1,
                    preview=None if last or not self._previews else str(self._write_preview(draw)),
                )
            )
            self.say(Heartbeat(step_counter=self.steps_done, jobs=[draw.job]))

    def finish(self) -> None:
        """Do the steps that are left and hand over the images; fail where there is none to enlarge."""
        draw = self._require()
        self.step(self._all_steps(draw) - self.steps_done)
        try:
            images = self._images(draw)
        except (UserError, ImageRefused) as error:
            self.fail(sentence(error))
            return
        self._take()
        self.say(Done(job=draw.job, attempt=draw.attempt, images=images))

    def fail(self, reason: str = "The fake worker was told to fail.") -> None:
        draw = self._take()
        self.say(Failed(job=draw.job, attempt=draw.attempt, reason=reason))

    def train(self, count: int = 1) -> None:
        """Do `count` steps of the current training; after some there are new samples."""
        train = self._require_training()
        for _ in range(count):
            if not self._training_steps:
                return
            step = self._training_steps.pop(0)
            preview = None
            if step.samples and self._previews:
                preview = str(_write_preview(train.output_dir, self._colour(train.request.seed + step.step)))
            self.say(
                Progress(
                    job=train.job,
                    attempt=train.attempt,
                    step=step.step,
                    total_steps=step.total,
                    seconds_per_step=0.1,
                    preview=preview,
                    phase=step.phase,
                    seconds_left=0.1 * len(self._training_steps),
                )
            )
            self.say(Heartbeat(step_counter=self.steps_done, jobs=[train.job]))

    def finish_training(self, card: Card | None = None) -> None:
        """Do the steps that are left and hand over the concept and its pictures."""
        train = self._require_training()
        self.train(len(self._training_steps))
        trained = finished_concept(train, card or self.card)
        request = with_concept(train, trained)
        folder = Path(train.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        indices = range(request.total_images)
        images = [self._draw(request, index, folder / f"{train.attempt}-{index}.png") for index in indices]
        self._take_training()
        self.say(Done(job=train.job, attempt=train.attempt, images=images, trained=trained))

    def fail_training(self, reason: str = "The fake worker was told to fail.") -> None:
        train = self._take_training()
        self.say(Failed(job=train.job, attempt=train.attempt, reason=reason))

    def die(self, reason: str = "The worker process ended (signal 9).", *, back: bool = True) -> None:
        """Lose everything, like a killed process; `back` starts the next one at once."""
        self.current = self.training = None
        self.say(WorkerLost(reason=reason))
        self.alive = back
        if back:
            self.say(Loading(text="loading the model"))
            self.say(Ready(model=self.model))

    def come_back(self) -> None:
        """After `die(back=False)` or `fail_to_load()`."""
        self.alive = True
        self.say(Ready(model=self.model))

    def loading(self, text: str, fraction: float | None = None) -> None:
        self.say(Loading(text=text, fraction=fraction))

    def fail_to_load(self, reason: str) -> None:
        self.alive = False
        self.say(LoadFailed(reason=reason))

    # ── how it draws ──

    def _require(self) -> Draw:
        if self.current is None:
            raise RuntimeError("the fake worker has no job")
        return self.current

    def _take(self) -> Draw:
        draw, self.current = self._require(), None
        (Path(draw.output_dir) / PREVIEW).unlink(missing_ok=True)
        return draw

    def _require_training(self) -> Train:
        if self.training is None:
            raise RuntimeError("the fake worker has no training")
        return self.training

    def _take_training(self) -> Train:
        train, self.training = self._require_training(), None
        (Path(train.output_dir) / PREVIEW).unlink(missing_ok=True)
        return train

    def _cancel(self, job: str) -> None:
        if self.current is not None and self.current.job == job:
            self.say(Cancelled(job=job, attempt=self._take().attempt))
        elif self.training is not None and self.training.job == job:
            self.say(Cancelled(job=job, attempt=self._take_training().attempt))

    def _total_steps(self, request: ImageRequest) -> int:
        return request.num_inference_steps or self.model.defaults.num_inference_steps

    def _all_steps(self, draw: Draw) -> int:
        own = 0 if draw.resample is not None else self._total_steps(draw.request)
        return own + (0 if self._first is None else self._total_steps(self._first))

    def _size(self, request: ImageRequest) -> tuple[int, int]:
        return request.width or self.model.defaults.width, request.height or self.model.defaults.height

    def _colour(self, seed: int) -> tuple[int, int, int]:
        return seed * 67 % 256, seed * 131 % 256, seed * 29 % 256

    def _write_preview(self, draw: Draw) -> Path:
        return _write_preview(draw.output_dir, self._colour(draw.request.seed + self.steps_done))

    def _images(self, draw: Draw) -> list[DrawnImage]:
        folder = Path(draw.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        if self._first is not None:
            self._draw(self._first, 0, start_path(draw))
        if draw.resample is not None:
            return [self._files.enlarge(start_path(draw), folder / f"{draw.attempt}-0.png", draw.resample)]
        indices = range(draw.request.total_images)
        return [self._draw(draw.request, index, folder / f"{draw.attempt}-{index}.png") for index in indices]

    def _draw(self, request: ImageRequest, index: int, path: Path) -> DrawnImage:
        width, height = self._size(request)
        seed = request.seed + index
        recipe = Recipe(
            prompt=request.prompt_of(index),
            negative_prompt=request.negative_prompt,
            guidance_scale=request.guidance_scale,
            num_inference_steps=self._total_steps(request),
            seed=seed,
            width=width,
            height=height,
            scheduler=request.scheduler or "ddim",
            model_name=self.model.name,
            model_hash=self.model.hash,
            strength=request.strength,
            concepts=[_used(use) for use in request.concepts],
        )
        image = Image.new("RGB", (width, height), self._colour(seed))
        return self._files.keep(image, path, recipe, self.words_not_read)


def _write_preview(output_dir: str, colour: tuple[int, int, int]) -> Path:
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PREVIEW
    Image.new("RGB", (64, 64), colour).save(path, "WEBP")
    return path


def _used(use: ConceptUse) -> ConceptUsed:
    try:
        sha256 = hashlib.sha256(Path(use.path).read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise UserError(f"The file of <{use.name}> is not there.") from error
    return ConceptUsed(name=use.name, weight=use.weight, sha256=sha256)
