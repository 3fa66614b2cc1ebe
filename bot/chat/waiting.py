"""How the chat waits, so that tests can say what moves the clock.

simcord must know which waits are for something outside of the bot: its `external_wait` has the form of `Wait`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

Sleep = Callable[[float], Awaitable[None]]


class Wait(Protocol):
    """Awaits `awaitable`; `reason` says what for."""

    def __call__(self, awaitable: Awaitable[Any], *, reason: str) -> Awaitable[Any]: ...


async def plain_wait(awaitable: Awaitable[Any], *, reason: str) -> Any:
    return await awaitable
