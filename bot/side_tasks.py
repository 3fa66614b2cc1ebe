"""Tasks that run as long as their owner does: one that dies ends it too."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class SideTasks:
    """`owner`: what they are called after in the log."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._tasks: list[asyncio.Task[None]] = []
        self._may_end = False

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"{self._owner}-{name}")
        task.add_done_callback(self._log_death)
        self._tasks.append(task)

    def _log_death(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            name = task.get_name().removeprefix(f"{self._owner}-")
            log.critical("the %s's %s task died", self._owner, name, exc_info=task.exception())

    async def watch(self) -> None:
        """Waits for as long as all of them run, and raises what killed one, so that their owner stops too."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if not self._may_end:
            for task in done:
                task.result()
            raise RuntimeError(f"{', '.join(task.get_name() for task in done)} ended")

    def may_end(self) -> None:
        """From now on it is no trouble where one ends."""
        self._may_end = True

    async def end(self, seconds: float) -> None:
        """Waits so long for them, and cancels the rest."""
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
