"""All that the worker does: pictures first, a training in between (see `share`), heartbeats for both."""

import time
from collections.abc import Callable

from bot.worker.beats import HEARTBEAT_SECONDS, Beats
from bot.worker.drawing import DrawingLoop
from bot.worker.messages import Cancel, Draw, Forget, Train
from bot.worker.share import Share
from bot.worker.training import TrainingLoop

Order = Draw | Train | Cancel | Forget


class Work:
    def __init__(
        self,
        drawing: DrawingLoop,
        training: TrainingLoop,
        beats: Beats,
        share: Share | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._drawing, self._training, self._beats, self._clock = drawing, training, beats, clock
        self._share = share or Share(clock)

    @property
    def patience(self) -> float:
        """Seconds to wait for a message at most: 0 while there is something to do."""
        if self._drawing.busy:
            return 0.0
        return self._share.seconds_to_idle if self._training.busy else HEARTBEAT_SECONDS

    def take(self, message: Order) -> None:
        match message:
            case Draw():
                self._drawing.take(message)
            case Train():
                self._training.take(message)
            case Cancel():
                self._drawing.take(message)
                with self._beats.during(self._jobs):  # a large checkpoint may have to reach the disk first
                    self._training.take(message)
            case Forget():
                self._drawing.forget(message.sha256)

    def step(self) -> None:
        """One unit of the pictures' work, and at most one micro-step of a training after it."""
        if self._drawing.busy:
            began = self._clock()
            self._beats.steps += 1
            self._drawing.step()
            if not self._drawing.stalled:
                self._share.drew(self._clock() - began)
        pictures_wait = self._drawing.busy and not self._drawing.stalled
        if self._training.busy and self._share.may_train(pictures_wait=pictures_wait):
            began = self._clock()
            self._beats.steps += 1
            with self._beats.during(self._jobs):
                self._training.step()
            self._share.trained(self._clock() - began)

    def beat(self) -> None:
        self._beats.beat(self._jobs)

    @property
    def _jobs(self) -> list[str]:
        return [*self._drawing.jobs, *self._training.jobs]
