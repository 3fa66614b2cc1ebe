"""Work that a cancelled caller does not interrupt."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Uncancelled:
    """Whoever waits may be cancelled at any moment (a timeout, the end of the bot); what was begun goes on."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closed = False

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which becomes a task of its own."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def close(self, seconds: float) -> None:
        """Waits so long at most for what is under way; `closed` is for the owner, to refuse more from now on."""
        self.closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
