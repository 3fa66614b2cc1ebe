"""What delivery has running beside its main loop: held, and never silently dead."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from bot.chat.discord_errors import short
from bot.errors import RegistryTrouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from bot.chat.waiting import Sleep

log = logging.getLogger(__name__)

REGISTRY_SECONDS: Final = 3.0
"""Between two tries of what the registry could not do."""


class Chores:
    def __init__(self, sleep: Sleep) -> None:
        self.sleep = sleep
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, and keep what is spawned meanwhile: what kills one ends all, as an `ExceptionGroup`."""
        async with asyncio.TaskGroup() as self._tasks:
            await work

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """In the group: it holds the task, and what kills it ends `run`."""
        assert self._tasks is not None, "Delivery.run() is not running"
        try:
            return self._tasks.create_task(work)
        except RuntimeError:  # the group is finished: the client is closing
            work.close()
            raise

    def insist(self, trouble: str, ask: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
        """Ask the registry until it can; `trouble` is logged once where it can't. No error of it ends `run`."""

        async def insist() -> None:
            warned = False
            while True:
                try:
                    await ask()
                    return
                except RegistryTrouble as error:
                    if not warned:
                        log.warning("%s, trying again: %s", trouble, short(error))
                    warned = True
                except Exception:
                    log.exception("%s", trouble)
                    return
                await self.sleep(REGISTRY_SECONDS)

        return self.spawn(insist())
