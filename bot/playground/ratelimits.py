"""Rate limits per channel, with the headers that Discord sends and discord.py obeys.

Only what shapes a bot that edits messages: sending, editing and deleting messages, 5 calls in 5 s for each
kind and channel. Interaction callbacks and follow-ups are not limited here.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

LIMIT = 5
WINDOW_SECONDS = 5.0
_LIMITED = re.compile(r"^/channels/(\d+)/messages(/\d+)?$")


@dataclass
class Verdict:
    """What to do with one call, and the headers that say so."""

    allowed: bool
    retry_after: float
    headers: dict[str, str]


class RateLimits:
    """Fixed windows, as Discord counts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def check(self, method: str, path: str) -> Verdict | None:
        """Count this call. None: it isn't limited."""
        match = _LIMITED.match(path)
        if match is None or method not in ("POST", "PATCH", "DELETE"):
            return None
        key = (method, match[1])
        now = self._clock()
        start, used = self._windows.get(key, (now, 0))
        if now - start >= WINDOW_SECONDS:
            start, used = now, 0
        self._windows[key] = (start, used + 1)
        reset_after = max(0.0, start + WINDOW_SECONDS - now)
        headers = {
            "X-RateLimit-Limit": str(LIMIT),
            "X-RateLimit-Remaining": str(max(0, LIMIT - used - 1)),
            "X-RateLimit-Reset": f"{time.time() + reset_after:.3f}",
            "X-RateLimit-Reset-After": f"{reset_after:.3f}",
            "X-RateLimit-Bucket": f"playground-{method.lower()}-messages",
        }
        if used >= LIMIT:
            headers |= {"Via": "1.1 playground", "X-RateLimit-Scope": "user"}
            headers["Retry-After"] = f"{reset_after:.3f}"
        return Verdict(used < LIMIT, reset_after, headers)
