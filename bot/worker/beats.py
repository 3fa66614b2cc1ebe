"""Heartbeats: from the worker's main loop, so that a step which hangs stops them; inside of what may honestly take
long they come from a thread beside it, for a while."""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from bot.worker.messages import FromWorker, Heartbeat

HEARTBEAT_SECONDS = 1.0
LONGEST_MICRO_STEP = 600.0
"""Seconds. Of a training: on a CPU, all weights of a large model move for minutes. Beyond that it hangs."""


class Beats:
    """`send`: to the bot, from any thread."""

    def __init__(
        self,
        send: Callable[[FromWorker], None],
        every: float = HEARTBEAT_SECONDS / 2,
        longest: float = LONGEST_MICRO_STEP,
    ) -> None:
        self.steps = 0
        """Units of work until now."""
        self._send, self._every, self._longest = send, every, longest
        self._last = float("-inf")
        self._inside = threading.Event()
        self._jobs: Sequence[str] = ()
        self._deadline = 0.0
        self._thread: threading.Thread | None = None

    def beat(self, jobs: Sequence[str]) -> None:
        """A heartbeat that names `jobs`, where the last one is long enough ago."""
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._send(Heartbeat(step_counter=self.steps, jobs=list(jobs)))

    @contextmanager
    def during(self, jobs: Sequence[str]) -> Generator[None]:
        """They go on inside of the block, for as long as a micro-step may take."""
        self._jobs, self._deadline = tuple(jobs), time.monotonic() + self._longest
        if self._thread is None:
            self._thread = threading.Thread(target=self._go_on, name="heartbeats", daemon=True)
            self._thread.start()
        self._inside.set()
        try:
            yield
        finally:
            self._inside.clear()

    def _go_on(self) -> None:
        while self._inside.wait():
            time.sleep(self._every / 2)
            if self._inside.is_set() and time.monotonic() < self._deadline:
                self.beat(self._jobs)
