"""`nonce` with `enforce_nonce`: a message that is sent twice is one message.

Discord's documentation: "If enforce_nonce is true and nonce is present, it will be checked for uniqueness in
the past few minutes. If another message was created by the same author with the same nonce, that message
will be returned and no new message will be created."
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from simcord.backend.errors import BackendError

REMEMBERED_SECONDS = 300.0
LONGEST = 25


class Nonces:
    """Which message a (channel, nonce) pair made, for the past few minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._messages: OrderedDict[tuple[int, str], tuple[float, int]] = OrderedDict()

    def find(self, channel_id: int, nonce: str | int) -> int | None:
        """Id of the message that this nonce already made, if any."""
        self._forget_old()
        known = self._messages.get((channel_id, str(nonce)))
        return known[1] if known else None

    def remember(self, channel_id: int, nonce: str | int, message_id: int) -> None:
        self._messages[channel_id, str(nonce)] = (self._clock(), message_id)

    def _forget_old(self) -> None:
        limit = self._clock() - REMEMBERED_SECONDS
        while self._messages and next(iter(self._messages.values()))[0] < limit:
            self._messages.popitem(last=False)


def check_nonce(nonce: object) -> str | int | None:
    """The nonce of a message body.

    Raises:
        BackendError: 50035, it is not a number or a text of at most 25 characters.
    """
    if nonce is None or (isinstance(nonce, int) and not isinstance(nonce, bool)):
        return nonce
    if isinstance(nonce, str) and len(nonce) <= LONGEST:
        return nonce
    raise BackendError(400, 50035, f"Invalid Form Body: nonce: Must be {LONGEST} or fewer in length.")
