"""The worker's trainings: one at a time, a micro-step when it is asked for one; the others wait in order."""

import logging
from collections import deque
from collections.abc import Callable

from bot.errors import sentence
from bot.worker.drawing import Engine
from bot.worker.messages import Cancel, Cancelled, Done, Failed, FromWorker, Train
from bot.worker.pictures import CheckedFiles
from bot.worker.training_run import Trainers, TrainingRun
from training.events import TrainingRefused

log = logging.getLogger(__name__)


class TrainingLoop:
    """`engine` is the pictures' one: each training draws on a line beside it. `send`: to the bot."""

    def __init__(
        self, engine: Engine, trainers: Trainers, files: CheckedFiles, send: Callable[[FromWorker], None]
    ) -> None:
        self._engine, self._trainers, self._files, self._send = engine, trainers, files, send
        self._waiting: deque[Train] = deque()
        self._run: TrainingRun | None = None

    @property
    def busy(self) -> bool:
        return self._run is not None or bool(self._waiting)

    @property
    def jobs(self) -> list[str]:
        """Those that it holds."""
        first = [] if self._run is None else [self._run.train.job]
        return [*first, *(train.job for train in self._waiting)]

    def take(self, message: Train | Cancel) -> None:
        if isinstance(message, Train):
            self._waiting.append(message)
            return
        for train in [train for train in self._waiting if train.job == message.job]:
            self._waiting.remove(train)
            self._send(Cancelled(job=train.job, attempt=train.attempt))
        if self._run is not None and self._run.train.job == message.job:
            self._end(self._run, Cancelled(job=message.job, attempt=self._run.train.attempt))

    def step(self) -> None:
        """One micro-step of the training whose turn it is."""
        if self._run is None:
            train = self._waiting.popleft()
            log.info("training %s: attempt %d", train.job, train.attempt)
            self._run = TrainingRun(train, self._engine.beside(), self._trainers, self._files, self._send)
        run, reason = self._run, None
        try:
            next(run.micro_steps)
        except StopIteration as end:
            self._end(run, end.value)
            return
        except Exception as error:  # noqa: BLE001 (whatever a training meets, pictures go on)
            reason = self._reason(run.train.job, error)
        # Outside of the except block: the traceback no longer holds the tensors.
        if reason is not None:
            self._end(run, Failed(job=run.train.job, attempt=run.train.attempt, reason=reason))

    def _end(self, run: TrainingRun, message: Done | Failed | Cancelled) -> None:
        self._run = None
        try:
            run.close(finished=isinstance(message, Done))
            self._trainers.tidy()
        except Exception:
            log.exception("training %s: what it left could not be put away", run.train.job)
        self._send(message)

    def _reason(self, job: str, error: Exception) -> str:
        if isinstance(error, TrainingRefused):
            log.info("training %s was refused", job)
            return str(error)
        log.error("training %s failed", job, exc_info=error)
        return self._trainers.sentence(error) or sentence(error)
