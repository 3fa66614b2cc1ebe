"""Passes every event on to every listener; one that fails is logged and stops nobody."""

import logging
from collections.abc import Callable, Sequence

from bot.job import Job, JobImage
from bot.outlook import JobListener, Place
from bot.worker.messages import Progress

log = logging.getLogger(__name__)


class Announcer:
    """Itself a `JobListener`."""

    def __init__(self) -> None:
        self._listeners: list[JobListener] = []

    def subscribe(self, listener: JobListener) -> None:
        self._listeners.append(listener)

    def _tell(self, tell: Callable[[JobListener], None]) -> None:
        for listener in self._listeners:
            try:
                tell(listener)
            except Exception:
                log.exception("a listener failed")

    def on_queued(self, job: Job, place: Place) -> None:
        self._tell(lambda listener: listener.on_queued(job, place))

    def on_started(self, job: Job) -> None:
        self._tell(lambda listener: listener.on_started(job))

    def on_progress(self, job: Job, progress: Progress) -> None:
        self._tell(lambda listener: listener.on_progress(job, progress))

    def on_done(self, job: Job, images: Sequence[JobImage]) -> None:
        self._tell(lambda listener: listener.on_done(job, images))

    def on_failed(self, job: Job, reason: str) -> None:
        self._tell(lambda listener: listener.on_failed(job, reason))

    def on_cancelled(self, job: Job) -> None:
        self._tell(lambda listener: listener.on_cancelled(job))
