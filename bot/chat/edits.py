"""One edit scheduler per channel: finals first, stale previews dropped, one preview at a time.

Discord allows about 5 edits in 5 s in a channel, and the channel is all that it counts. So pictures of all
members in a channel share one scheduler. It knows nothing about jobs or messages: an edit is a key and a
coroutine function that does it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from bot.chat.discord_errors import is_gone, is_passing, short
from bot.chat.waiting import Sleep

log = logging.getLogger(__name__)

PREVIEW_SECONDS: Final = 1.25
"""Between two previews in a channel: 4 in 5 s, so that the fifth call of Discord's window is a final's."""
EDIT_TIMEOUT_SECONDS: Final = 180.0
PREVIEW_TIMEOUT_SECONDS: Final = 15.0
MINOR_PATIENCE_SECONDS: Final = 6.0
"""A minor preview (a place in the queue) lets progress go first for this long, then takes every other turn."""
FINAL_ATTEMPTS: Final = 8
FIRST_BACKOFF_SECONDS: Final = 0.5
LONGEST_BACKOFF_SECONDS: Final = 60.0

Edit = Callable[[], Awaitable[None]]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Owner(Protocol):
    """Who hears how an edit ended. Called from the scheduler's task."""

    async def edit_gone(self, key: str, error: BaseException) -> None:
        """The message can never be edited again."""
        ...

    async def edit_given_up(self, key: str, error: BaseException) -> None:
        """A final failed `FINAL_ATTEMPTS` times, or with an error that a retry can't help."""
        ...


@dataclass(frozen=True, slots=True)
class _Preview:
    edit: Edit
    minor: bool
    since: float


@dataclass(slots=True)
class _Final:
    key: str
    edit: Edit
    owner: Owner
    attempts: int = 0
    not_before: float = 0.0


class EditScheduler:
    """Edits of one channel, one after another, in a task that lives while there is work.

    `spawn` must keep a strong reference to the task and pass its failure on to an owner
    (`asyncio.TaskGroup.create_task` does both).
    """

    def __init__(
        self,
        owner: Owner,
        *,
        spawn: Spawn,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._owner = owner
        self._spawn = spawn
        self._clock = clock
        self._sleep = sleep
        self._finals: list[_Final] = []
        self._previews: dict[str, _Preview] = {}
        self._next_preview = 0.0
        self._last_was_minor = False
        self._task: asyncio.Task[None] | None = None
        self._nap: asyncio.Task[None] | None = None
        self._nap_until = 0.0

    @property
    def idle(self) -> bool:
        return self._task is None or self._task.done()

    def preview(self, key: str, edit: Edit, *, minor: bool = False) -> None:
        """Do `edit` when there is time for it; a newer one for the same key takes its place."""
        if any(final.key == key for final in self._finals):
            return
        before = self._previews.get(key)
        since = before.since if before is not None and before.minor == minor else self._clock()
        self._previews[key] = _Preview(edit, minor, since)
        self._wake(urgent=False)

    def final(self, key: str, edit: Edit, *, owner: Owner | None = None) -> None:
        """Do `edit` next, before every preview, and again until it succeeds or can't; `owner` hears how it ended."""
        self._previews.pop(key, None)
        self._finals = [final for final in self._finals if final.key != key]
        self._finals.append(_Final(key, edit, owner or self._owner))
        self._wake(urgent=True)

    def drop(self, key: str) -> None:
        """Forget what is planned for `key`."""
        self._previews.pop(key, None)
        self._finals = [final for final in self._finals if final.key != key]

    def _wake(self, *, urgent: bool) -> None:
        if self.idle:
            self._task = self._spawn(self._work())
        elif self._nap is not None and (urgent or self._next_preview < self._nap_until):
            self._nap.cancel()

    async def _work(self) -> None:
        while self._finals or self._previews:
            now = self._clock()
            final = next((final for final in self._finals if final.not_before <= now), None)
            if final is not None:
                await self._do_final(final)
            elif self._previews and self._next_preview <= now:
                await self._do_preview()
            else:
                times = [final.not_before for final in self._finals]
                await self._rest(min([*times, self._next_preview] if self._previews else times) - now)

    async def _rest(self, seconds: float) -> None:
        """Sleep, or less when there is something to do before."""

        async def nap() -> None:
            await self._sleep(max(0.0, seconds))

        self._nap, self._nap_until = self._spawn(nap()), self._clock() + seconds
        try:
            await asyncio.wait({self._nap})
        finally:
            self._nap = None

    def _choose(self) -> str:
        """The preview whose turn it is: the one that waits longest, minor ones after `MINOR_PATIENCE_SECONDS`."""
        waiting = sorted(self._previews.items(), key=lambda item: item[1].since)
        major = next((key for key, preview in waiting if not preview.minor), None)
        minor = next(((key, preview) for key, preview in waiting if preview.minor), None)
        if minor is None or major is None:
            return waiting[0][0]
        patient = self._clock() - minor[1].since < MINOR_PATIENCE_SECONDS
        return major if patient or self._last_was_minor else minor[0]

    async def _do_preview(self) -> None:
        key = self._choose()
        preview = self._previews.pop(key)
        self._last_was_minor = preview.minor
        self._next_preview = self._clock() + PREVIEW_SECONDS
        error = await self._try(preview.edit, PREVIEW_TIMEOUT_SECONDS)
        if error is None:
            return
        if is_gone(error):
            self.drop(key)
            await self._owner.edit_gone(key, error)
        elif not is_passing(error):
            log.error("preview of job %s failed: %s", key, short(error), exc_info=error)
        # A preview that failed in passing is not worth a second request: a newer one comes anyway.

    async def _do_final(self, final: _Final) -> None:
        final.attempts += 1
        error = await self._try(final.edit, EDIT_TIMEOUT_SECONDS)
        if final not in self._finals:
            return  # replaced or dropped meanwhile
        if error is not None and is_passing(error) and final.attempts < FINAL_ATTEMPTS:
            pause = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** (final.attempts - 1))
            final.not_before = self._clock() + pause
            log.warning("job %s: %s, next try in %.1f s", final.key, short(error), pause)
            return
        self._finals.remove(final)
        if error is not None and is_gone(error):
            await final.owner.edit_gone(final.key, error)
        elif error is not None:
            await final.owner.edit_given_up(final.key, error)

    async def _try(self, edit: Edit, seconds: float) -> Exception | None:
        try:
            async with asyncio.timeout(seconds):
                await edit()
        except Exception as error:  # noqa: BLE001  one job's error must not stop the channel's other pictures
            return error
        return None
