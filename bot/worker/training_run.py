"""One training in the worker: the trainer's micro-steps, then the job's pictures. Everything that it hands out is on
disk and checked. It gets the trainer from outside and imports neither torch nor diffusers itself."""

import logging
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from PIL import Image

from bot.worker.drawing import Engine
from bot.worker.messages import Done, DrawnImage, FromWorker, Progress, Train
from bot.worker.pictures import CheckedFiles, CheckFailed
from bot.worker.time_left import Expected, TimeLeft
from generation import events
from generation.request import ConceptUse
from training.events import Finished, Phase, Sampled, Stepped, TrainingEvent
from training.order import Card, TrainedConcept

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.5
STRIP = "strip.png"

Samples = list[tuple[float, list[Image.Image]]]


class Trainer(Protocol):
    """What is used of `training.trainer.Trainer`."""

    def steps(self) -> Generator[TrainingEvent, None, None]: ...
    def close(self) -> None: ...


class Trainers(Protocol):
    """What is used of `bot.worker.trainers.Trainers`."""

    def begin(self, train: Train, engine: Engine) -> Trainer:
        """Raises TrainingRefused."""
        ...

    def expected(self, train: Train) -> Expected: ...

    def samples_picture(self, images: Sequence[Image.Image]) -> Image.Image: ...

    def strip_picture(self, samples: Samples, card: Card) -> Image.Image: ...

    def sentence(self, error: Exception) -> str | None:
        """What the libraries' errors are to a member; None for a fault of the program."""
        ...

    def tidy(self) -> None:
        """A training has ended: the device's memory is for pictures again."""
        ...


class TrainingRun:
    """`engine` is a line of its own beside the pictures' one."""

    def __init__(
        self,
        train: Train,
        engine: Engine,
        trainers: Trainers,
        files: CheckedFiles,
        send: Callable[[FromWorker], None],
    ) -> None:
        self.train = train
        self.micro_steps = self._steps()
        """To be drawn on, one after another; returns the message for its end."""
        self._engine, self._trainers, self._files, self._send = engine, trainers, files, send
        self._trainer: Trainer | None = None
        self._said: tuple[Phase | None, float] = (None, 0.0)

    def close(self, *, finished: bool) -> None:
        """Let go of everything; what is not `finished` leaves no concept behind. Safe at any time."""
        try:
            self.micro_steps.close()
            if self._trainer is not None:
                self._trainer.close()
        finally:
            self._trainer = None
            self._put_away(finished=finished)

    def _put_away(self, *, finished: bool) -> None:
        self._engine.close()
        # What its own pictures were drawn with goes, samples too: a prompt with the concept reads it anew.
        for folder in (self.train.work_dir, self.train.concept_dir):
            self._engine.forget_files(Path(folder))
        self._preview_path.unlink(missing_ok=True)
        if not finished:
            shutil.rmtree(self.train.concept_dir, ignore_errors=True)

    @property
    def _preview_path(self) -> Path:
        return Path(self.train.output_dir) / "preview.webp"

    @property
    def _samples_folder(self) -> Path:
        return Path(self.train.work_dir) / "samples"

    # ── the micro-steps ──

    def _steps(self) -> Generator[None, None, Done]:
        train = self.train
        self._left = TimeLeft(self._trainers.expected(train))
        for folder in (train.work_dir, train.prior_dir, train.concept_dir, train.output_dir):
            Path(folder).mkdir(parents=True, exist_ok=True)
        self._trainer = self._trainers.begin(train, self._engine)
        yield
        trained: TrainedConcept | None = None
        for event in self._trainer.steps():
            match event:
                case Stepped():
                    self._stepped(event)
                case Sampled():
                    self._sampled(event)
                case Finished():
                    trained = event.concept
            yield
        assert trained is not None, "a trainer's last event is Finished"
        self._trainer.close()  # its memory is for the pictures
        self._trainer = None
        self._left.finish()
        images = yield from self._pictures(trained)
        self._write_strip(trained.card)
        return Done(job=train.job, attempt=train.attempt, images=images, trained=trained)

    def _pictures(self, trained: TrainedConcept) -> Generator[None, None, list[DrawnImage]]:
        """The job's own, with what was trained. Those that can't be drawn or checked are left out: the concept is
        there all the same."""
        train = self.train
        use = ConceptUse(name=train.order.name, path=trained.file, trigger=trained.trigger)
        request = msgspec.structs.replace(train.request, concepts=[use])
        request_id = f"{train.job}:{train.attempt}"
        images: dict[int, DrawnImage] = {}
        self._engine.admit(request_id, request)
        while self._engine.holds(request_id):
            for event in self._engine.step():
                match event:
                    case events.ImageReady():
                        self._keep(event, images)
                    case events.Failed():
                        log.warning("training %s: its pictures could not be drawn: %s", train.job, event.reason)
                    case _:
                        pass
            self._stepped(Stepped(Phase.SAMPLING, len(images), request.total_images))
            yield
        return [image for _, image in sorted(images.items())]

    def _keep(self, event: events.ImageReady, images: dict[int, DrawnImage]) -> None:
        path = Path(self.train.output_dir) / f"{self.train.attempt}-{event.index}.png"
        try:
            images[event.index] = self._files.keep(event.image, path, event.recipe, event.words_not_read)
        except CheckFailed:
            log.exception("training %s: a picture could not be checked", self.train.job)

    # ── what is told ──

    def _stepped(self, event: Stepped, preview: str | None = None) -> None:
        """Said at once where something is new to see, and else at times."""
        self._left.stepped(event.phase, event.step, event.total)
        phase, when = self._said
        now = time.monotonic()
        soon = event.phase is phase and now - when < PROGRESS_SECONDS and event.step < event.total
        if preview is None and soon:
            return
        self._said = event.phase, now
        self._send(
            Progress(
                job=self.train.job,
                attempt=self.train.attempt,
                step=event.step,
                total_steps=event.total,
                seconds_per_step=self._left.seconds_per_step,
                preview=preview,
                phase=event.phase,
                seconds_left=self._left.seconds,
            )
        )

    def _sampled(self, event: Sampled) -> None:
        try:
            shown = self._show(event)
        except CheckFailed:  # nothing is shown, and what was learned is no worse for it
            log.exception("training %s: samples could not be checked", self.train.job)
            shown = False
        if shown:
            count = len(event.images)
            self._stepped(Stepped(Phase.SAMPLING, count, count), str(self._preview_path))
        self._left.sampled()

    def _show(self, event: Sampled) -> bool:
        """Those that may be seen, side by side; whether there are any."""
        seen = [image for image, _ in event.images if self._files.may_be_seen(image)]
        self._keep_samples(event.fraction, seen)
        return bool(seen) and self._files.preview(self._trainers.samples_picture(seen), self._preview_path)

    def _keep_samples(self, fraction: float, images: Sequence[Image.Image]) -> None:
        """For the strip at the end, which another process may have to write."""
        self._samples_folder.mkdir(exist_ok=True)
        for index, image in enumerate(images):
            image.save(self._samples_folder / f"{fraction:.2f}-{index}.png")

    def _write_strip(self, card: Card) -> None:
        """Without it the concept is as good."""
        strip = self._trainers.strip_picture(list(self._samples().items()), card)
        path = Path(self.train.concept_dir) / STRIP
        try:
            if self._files.may_be_seen(strip):
                strip.save(path)
        except (CheckFailed, OSError):
            log.exception("training %s: its strip could not be checked, or not be written", self.train.job)
            path.unlink(missing_ok=True)

    def _samples(self) -> dict[float, list[Image.Image]]:
        """By fraction of the way."""
        rows: dict[float, list[Image.Image]] = {}
        for path in sorted(self._samples_folder.glob("*.png")):
            try:
                with Image.open(path) as image:
                    sample = image.convert("RGB")
            except (OSError, SyntaxError):  # a power cut
                log.warning("training %s: a sample can't be read", self.train.job)
                continue
            rows.setdefault(float(path.stem.split("-")[0]), []).append(sample)
        return rows
