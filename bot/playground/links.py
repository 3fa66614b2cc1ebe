"""Signed attachment links, as Discord's content network has them.

Discord's documentation, "Signed Attachment CDN URLs": attachment links carry `ex` (hex timestamp: when it expires),
`is` (hex timestamp: when it was issued) and `hm` (a signature that is valid until then). Links in every payload
that Discord sends are fresh; whoever keeps one for longer has to ask again.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from bot.playground.clock import WallClock

LIFETIME_SECONDS = 24 * 3600
ROUNDED_SECONDS = 3600
"""Links issued within the same hour are the same, so that a browser need not load a picture again."""
_FIELDS = frozenset({"url", "proxy_url", "icon_url", "proxy_icon_url"})


class Links:
    """Signs and checks. The secret lives as long as this process.

    Args:
        base_url: Links under `{base_url}/cdn/attachments/` are ours.
        clock: Decides when a link is old.
    """

    def __init__(self, base_url: str, clock: WallClock) -> None:
        self._prefix = f"{base_url}/cdn/attachments/"
        self._clock = clock
        self._secret = secrets.token_bytes(32)

    def sign(self, url: str) -> str:
        """The link with a fresh signature; an older one is replaced."""
        plain = url.partition("?")[0]
        issued = int(self._clock.now().timestamp()) // ROUNDED_SECONDS * ROUNDED_SECONDS
        expires, start = f"{issued + LIFETIME_SECONDS:x}", f"{issued:x}"
        return f"{plain}?ex={expires}&is={start}&hm={self._signature(plain, expires, start)}&"

    def valid(self, url: str, query: Mapping[str, str]) -> bool:
        """Whether this link was signed here and is not yet old."""
        expires, start, signature = (query.get(name, "") for name in ("ex", "is", "hm"))
        if not hmac.compare_digest(self._signature(url, expires, start).encode(), signature.encode()):
            return False
        return int(expires, 16) > self._clock.now().timestamp()

    def refreshed(self, url: str) -> str | None:
        """A fresh link for an old one; None: it is not ours."""
        return self.sign(url) if url.startswith(self._prefix) else None

    def fresh(self, payload: Any) -> Any:
        """A copy of a JSON payload in which every link to an attachment is signed anew."""
        if isinstance(payload, Mapping):
            return {key: self._fresh_field(key, value) for key, value in payload.items()}
        if isinstance(payload, list | tuple):
            return [self.fresh(value) for value in payload]
        return payload

    def _fresh_field(self, key: Any, value: Any) -> Any:
        if isinstance(value, str):
            return self.sign(value) if key in _FIELDS and value.startswith(self._prefix) else value
        return self.fresh(value)

    def _signature(self, url: str, expires: str, start: str) -> str:
        return hmac.new(self._secret, f"{url}?ex={expires}&is={start}".encode(), hashlib.sha256).hexdigest()
