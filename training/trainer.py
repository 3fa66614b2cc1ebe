"""Photos → a concept: the one loop of all three methods, as a generator that stops after every micro-step.

In order: photos become latents; the model draws class pictures where the method wants them; steps, with pictures at
25, 50 and 75 %; the file is written; pictures of the finished concept; did it learn?

All that chance decides comes from the job and the step (see `chance`), and every run reads latents and class pictures
back from the disk. So a killed training that goes on from its checkpoint gives the same file, byte for byte (on a
CPU, with as many threads).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from generation.generate import GenerationFailed
from generation.memory import is_out_of_memory
from generation.request import ConceptUse
from training.backdrops import backdrop_words
from training.chance import number_of
from training.checkpoint import Checkpoints, Notes
from training.dataset import latents_of
from training.defaults import ordered_settings, settings_for
from training.early_stop import EarlyStop
from training.events import Finished, Phase, Sampled, Stepped, TrainingRefused
from training.finish import Finish
from training.methods import check, learner_for
from training.optimization import Optimization
from training.order import PHOTOS, TrainedConcept
from training.pictures import draw
from training.prior import class_pictures
from training.relay import relayed
from training.samples import sample_request
from training.tensors import remove_half_written, sha256_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from generation.engine import Engine
    from generation.model import LoadedModel
    from training.dataset import Latents
    from training.defaults import TrainingSettings
    from training.events import TrainingEvent
    from training.judge import Judge
    from training.learner import Learner
    from training.order import TrainingOrder

logger = logging.getLogger(__name__)

HOLD_OUT_FROM: Final = 5
"""With so many photos one of them is kept out of the training, to see what was learned."""
_SHOWN_AT: Final = (0.25, 0.5, 0.75)
_NO_MEMORY: Final = (
    "There is not enough memory to train this here; try textual inversion, or ask for a smaller model."
)
_OUT_OF_RANGE: Final = (
    "The training's numbers ran out of range, so nothing was learned; please try again with other photos."
)


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a training keeps things."""

    work: Path
    """Of this training alone: latents, checkpoint. For the caller to remove."""
    prior: Path
    """Class pictures, for all trainings."""
    concept: Path
    """For the finished files."""


class Trainer:
    """One training on one model. Not thread-safe: the thread that owns the engine runs it."""

    def __init__(
        self,
        model: LoadedModel,
        order: TrainingOrder,
        photos: Sequence[Path],
        folders: Folders,
        engine: Engine,
        judge: Judge | None = None,
        *,
        settings: TrainingSettings | None = None,
    ) -> None:
        """`photos` are clean RGB pictures. `engine` draws this training's own pictures, nobody else's. `settings`
        take the place of those in `defaults` for this model and method.

        Raises:
            TrainingRefused: too few photos, or too little memory for all weights of the model.
        """
        least, most = PHOTOS
        if not least <= len(photos) <= most:
            raise TrainingRefused(f"A training takes {least} to {most} photos, not {len(photos)}.")
        self._model, self._order, self._photos, self._folders = model, order, list(photos), folders
        self._engine, self._judge = engine, judge
        self.settings = ordered_settings(settings or settings_for(model.info, order.method), order)
        check(model, order, self.settings)
        self._size = self.settings.picture_size(model.info)
        self._held_out = number_of(order.job, "held out") % len(photos) if len(photos) >= HOLD_OUT_FROM else None
        self._fingerprint = self._fingerprint_of_all()
        remove_half_written(folders.work)
        remove_half_written(folders.concept)
        self._checkpoints = Checkpoints(folders.work, self._fingerprint)
        self._seconds = 0.0
        self._sampled: list[float] = []
        self._events = self._run()

    def steps(self) -> Generator[TrainingEvent, None, None]:
        """Train. Yields after every micro-step: at most one forward and backward of a few rows, or one unit of the
        engine's work. Goes on where the folder's checkpoint left off. The last event is `Finished`.

        Raises:
            TrainingRefused: a sentence for the member.
            OSError: no room on the disk, photos that are gone.
        """
        while True:
            started = time.monotonic()
            try:
                event = next(self._events)
            except StopIteration:
                return
            except GenerationFailed as error:
                raise TrainingRefused(str(error)) from error
            except Exception as error:
                if is_out_of_memory(error):
                    raise TrainingRefused(_NO_MEMORY) from error
                raise
            finally:
                self._seconds += time.monotonic() - started
            yield event

    def close(self) -> None:
        """Stop: requests to the engine are taken back, a checkpoint that is being written is finished."""
        try:
            self._events.close()
        finally:
            self._checkpoints.close()

    def _fingerprint_of_all(self) -> str:
        """Of all that decides about the outcome."""
        digest = hashlib.sha256(msgspec.json.encode((self._order, self.settings, self._model.info.hash)))
        for photo in self._photos:
            digest.update(hashlib.sha256(photo.read_bytes()).digest())
        return digest.hexdigest()

    # ── the phases ──

    def _run(self) -> Generator[TrainingEvent, None, None]:
        encoded = self._folders.work / f"latents-{self._fingerprint[:16]}.safetensors"  # never of other photos
        photos = yield from self._latents(self._photos, encoded)
        prior = yield from self._prior()
        held_out = None if self._held_out is None else photos.part([self._held_out])
        kept = [index for index in range(len(photos)) if index != self._held_out]
        learner = learner_for(self._model, self._order, self.settings)
        run = Optimization(self._model, learner, self._order, self.settings, photos.part(kept), held_out, prior)
        watch = self._resumed(run)
        yield from self._train(run, learner, watch)
        self._checkpoints.finish()
        yield from self._save_checkpoint(run, watch)  # so that a kill from here on costs no steps
        file = self._folders.concept / "concept.safetensors"
        yield from self._save(run, learner, file)
        try:
            yield from self._show(run, learner, file, 1.0)
            concept = yield from self._finish(run, learner, watch, file)
        except BaseException:  # above all when closed: the file goes, and nobody could have it forgotten later
            with contextlib.suppress(FileNotFoundError):
                self._engine.forget_concept(sha256_of(file))
            raise
        yield Finished(concept)

    def _latents(self, pictures: Sequence[Path], file: Path) -> Generator[TrainingEvent, None, Latents]:
        encoding = latents_of(self._model, pictures, file, *self._size)
        latents = yield from relayed(encoding, lambda done: Stepped(Phase.PREPARING, done, len(pictures)))
        if not self.settings.name_backgrounds:
            return latents
        return replace(latents, words=tuple(backdrop_words(picture) for picture in pictures))

    def _prior(self) -> Generator[TrainingEvent, None, Latents | None]:
        if not self.settings.prior_images:
            return None
        count, word = self.settings.prior_images, self._order.class_word
        pictures = yield from class_pictures(self._engine, self._model, word, count, self._folders.prior)
        file = pictures[0].parent / f"latents-{self._size[0]}x{self._size[1]}-{count}.safetensors"
        return (yield from self._latents(pictures, file))

    def _resumed(self, run: Optimization) -> EarlyStop:
        checkpoint = self._checkpoints.load()
        settings = self.settings
        if checkpoint is None:
            return EarlyStop(settings.patience, settings.min_improvement, settings.min_steps)
        run.load(checkpoint.notes.step, checkpoint.tensors)
        self._seconds += checkpoint.notes.seconds
        self._sampled = checkpoint.notes.sampled
        logger.info("training %s goes on from step %d", self._order.job, run.step)
        return checkpoint.notes.watch

    def _train(self, run: Optimization, learner: Learner, watch: EarlyStop) -> Generator[TrainingEvent, None, None]:
        last, every = self.settings.max_steps, self.settings.evaluate_every
        while True:
            if watch.at != run.step and (run.step % every == 0 or run.step == last):
                yield from self._evaluate(run, watch)
            if run.step >= last or watch.stopped:
                return
            yield from self._show_at(run, learner)
            if run.step and run.step % self.settings.checkpoint_every == 0:
                yield from self._save_checkpoint(run, watch)
            for _ in run.take_step():
                yield self._stepped(run)
            yield self._stepped(run)

    def _stepped(self, run: Optimization, loss: float | None = None) -> Stepped:
        return Stepped(Phase.TRAINING, run.step, self.settings.max_steps, loss)

    def _evaluate(self, run: Optimization, watch: EarlyStop) -> Generator[TrainingEvent, None, None]:
        loss = yield from relayed(run.evaluate(), lambda _: self._stepped(run))
        if not loss < float("inf"):
            raise TrainingRefused(_OUT_OF_RANGE)
        watch.take(run.step, loss)
        yield self._stepped(run, loss)

    def _save_checkpoint(self, run: Optimization, watch: EarlyStop) -> Generator[TrainingEvent, None, None]:
        notes = Notes(
            fingerprint=self._fingerprint,
            step=run.step,
            seconds=self._seconds,
            sampled=list(self._sampled),
            watch=msgspec.structs.replace(watch),
        )
        yield from relayed(self._checkpoints.save(run.tensors(), notes), lambda _: self._stepped(run))

    # ── pictures and files ──

    def _save(self, run: Optimization, learner: Learner, file: Path) -> Generator[TrainingEvent, None, None]:
        saving = learner.save(file)
        if saving is not None:
            yield from relayed(saving, lambda _: self._stepped(run))

    def _show_at(self, run: Optimization, learner: Learner) -> Generator[TrainingEvent, None, None]:
        """Pictures of the concept as it is now, where they are due."""
        for fraction in _SHOWN_AT:
            if run.step == round(self.settings.max_steps * fraction) and fraction not in self._sampled:
                file = self._folders.work / f"sample-{run.step}.safetensors"
                yield from self._save(run, learner, file)
                try:
                    yield from self._show(run, learner, file, fraction)
                finally:
                    with contextlib.suppress(FileNotFoundError):  # its member wanted to be forgotten
                        self._engine.forget_concept(sha256_of(file))
                        file.unlink()

    def _show(
        self, run: Optimization, learner: Learner, file: Path, fraction: float
    ) -> Generator[TrainingEvent, None, None]:
        self._sampled.append(fraction)
        if not self.settings.samples:
            return
        use = ConceptUse(name=self._order.name, path=str(file), trigger=learner.trigger)
        request = sample_request(self._order.job, use, self.settings.samples)
        drawing = draw(self._engine, f"training-{self._order.job}-{run.step}", [request])
        try:
            images = yield from relayed(drawing, lambda done: Stepped(Phase.SAMPLING, *done))
        except GenerationFailed:
            logger.warning("training %s: no samples at step %d", self._order.job, run.step)  # why may hold a name
            logger.debug("because", exc_info=True)
            return
        yield Sampled(fraction, images)

    def _finish(
        self, run: Optimization, learner: Learner, watch: EarlyStop, file: Path
    ) -> Generator[TrainingEvent, None, TrainedConcept]:
        assert watch.first is not None
        assert watch.last is not None
        finish = Finish(
            engine=self._engine,
            model=self._model,
            judge=self._judge,
            order=self._order,
            photos=[photo for index, photo in enumerate(self._photos) if index != self._held_out],
            held_out=None if self._held_out is None else self._photos[self._held_out],
            loss_before=watch.first,
            loss_after=watch.last,
        )
        kept, card = yield from finish.choose(learner, file)
        return TrainedConcept(
            file=str(kept),
            sha256=sha256_of(kept),
            trigger=learner.trigger,
            steps=run.step,
            stopped_early=run.step < self.settings.max_steps,
            seconds=self._seconds,
            full_weights=kept != file,
            card=card,
        )
