"""Rate limits, with the headers that Discord sends and discord.py obeys.

Per channel, only what shapes a bot that edits messages: sending, editing and deleting messages, 5 calls in 5 s for
each kind and channel. For the whole bot, Discord's documented 50 calls a second, of which "interaction endpoints"
(callbacks and follow-ups) are no part. And the documented ban: an address that made 10,000 invalid requests (401,
403, 429 other than of scope `shared`) in 10 minutes is answered by Cloudflare, not by Discord.
"""

import math
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

LIMIT = 5
WINDOW_SECONDS = 5.0
GLOBAL_LIMIT = 50
GLOBAL_SECONDS = 1.0
INVALID_LIMIT = 10_000
INVALID_SECONDS = 600.0
_LIMITED = re.compile(r"^/channels/(\d+)/messages(/\d+)?$")
_INTERACTIONS = ("/interactions/", "/webhooks/")


@dataclass
class Verdict:
    """What to do with one call, and the headers that say so."""

    allowed: bool
    retry_after: float
    headers: dict[str, str]
    everywhere: bool = False


class RateLimits:
    """Fixed windows, as Discord counts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}
        self._second: tuple[float, int] = (0.0, 0)

    def check(self, method: str, path: str) -> Verdict | None:
        """Count this call. None: it isn't limited."""
        if not path.startswith(_INTERACTIONS):
            verdict = self._check_everywhere()
            if verdict is not None:
                return verdict
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
        headers = bucket_headers(f"{method.lower()}-messages", max(0, LIMIT - used - 1), reset_after)
        if used >= LIMIT:
            headers |= refusal_headers(reset_after, "user")
        return Verdict(used < LIMIT, reset_after, headers)

    def _check_everywhere(self) -> Verdict | None:
        now = self._clock()
        start, used = self._second
        if now - start >= GLOBAL_SECONDS:
            start, used = now, 0
        self._second = (start, used + 1)
        if used < GLOBAL_LIMIT:
            return None
        wait = max(0.0, start + GLOBAL_SECONDS - now)
        return Verdict(False, wait, refusal_headers(wait, "global") | {"X-RateLimit-Global": "true"}, everywhere=True)


class InvalidRequests:
    """How many of the last ten minutes' answers count as invalid requests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: deque[float] = deque(maxlen=INVALID_LIMIT)

    def note(self, status: int) -> None:
        """An answer was given."""
        if status in (401, 403, 429):
            self._at.append(self._clock())

    @property
    def count(self) -> int:
        limit = self._clock() - INVALID_SECONDS
        while self._at and self._at[0] <= limit:
            self._at.popleft()
        return len(self._at)

    @property
    def banned(self) -> bool:
        return self.count >= INVALID_LIMIT


def bucket_headers(bucket: str, remaining: int, reset_after: float) -> dict[str, str]:
    """What every answer of a limited route says."""
    return {
        "X-RateLimit-Limit": str(LIMIT),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": f"{time.time() + reset_after:.3f}",
        "X-RateLimit-Reset-After": f"{reset_after:.3f}",
        "X-RateLimit-Bucket": f"playground-{bucket}",
    }


def refusal_headers(retry_after: float, scope: str) -> dict[str, str]:
    """What a 429 says besides: whole seconds in the header, the exact time is in the body. Discord's own answers
    have come through a proxy (`Via`); discord.py takes others for a ban."""
    return {"Via": "1.1 playground", "X-RateLimit-Scope": scope, "Retry-After": str(math.ceil(retry_after))}
