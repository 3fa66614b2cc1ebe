"""The server's clock: the wall's, which tests may move forward."""

import time
from datetime import UTC, datetime, timedelta

from simcord._clock import Clock


class WallClock(Clock):
    """simcord's clock, running by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the clock forward. What waits in real time (an answer's three seconds) goes on waiting."""
        self._ahead += timedelta(seconds=seconds)

    def monotonic(self) -> float:
        """Seconds that never run backwards, moved along with `now`."""
        return time.monotonic() + self._ahead.total_seconds()
