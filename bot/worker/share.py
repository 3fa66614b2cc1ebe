"""How much of its time the worker gives to a training: all that nobody else wants, and a tenth of the rest."""

import statistics
import time
from collections import deque
from collections.abc import Callable

TRAINING_SHARE = 0.1
"""Of the time that is spent on pictures, for trainings, while pictures wait."""
IDLE_AFTER_SECONDS = 0.1
"""Without pictures: the next one of a queue may be on its way already."""
_REMEMBERED = 5


class Share:
    """A training takes its micro-steps whole, so it saves up for each. What is saved is lost in idle time: then it
    has everything, and the next picture should not pay for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._credit = 0.0
        self._idle = True
        self._last_picture = float("-inf")
        self._steps: deque[float] = deque(maxlen=_REMEMBERED)

    def drew(self, seconds: float) -> None:
        """So long was spent on pictures, just now."""
        if self._idle:
            self._idle, self._credit = False, 0.0
        self._credit += TRAINING_SHARE * seconds
        self._last_picture = self._clock()

    def trained(self, seconds: float) -> None:
        """So long took a training's micro-step, just now."""
        self._steps.append(seconds)
        self._credit -= seconds

    def may_train(self, *, pictures_wait: bool) -> bool:
        """Is the next micro-step a training's?"""
        if not pictures_wait and self.seconds_to_idle == 0:
            self._idle = True
            return True
        usual = statistics.median(self._steps) if self._steps else 0.0
        return self._credit > 0 and self._credit >= usual

    @property
    def seconds_to_idle(self) -> float:
        """How long it still may be that pictures come right after the last ones."""
        return max(0.0, self._last_picture + IDLE_AFTER_SECONDS - self._clock())
