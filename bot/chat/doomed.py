"""Messages that have to be deleted (the delete button, /forget-me): one after another in each channel, until none is
left. They are in the registry until then, so no crash and no outage forgets one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import discord

from bot.chat.discord_errors import is_deleted, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.chat.chores import Chores
    from bot.chat.edits import EditScheduler
    from bot.chat.messages import Messages
    from bot.registry.doomed import DoomedMessage
    from bot.studio import Studio

log = logging.getLogger(__name__)

DELETE_SECONDS: Final = 1.0
"""Between two deletions in a channel: pictures that are ready come first."""


class Doomed:
    """Implements `bot.chat.edits.Owner` for its deletions."""

    def __init__(
        self, studio: Studio, messages: Messages, chores: Chores, scheduler: Callable[[int], EditScheduler]
    ) -> None:
        self._studio = studio
        self._messages = messages
        self._chores = chores
        self._scheduler = scheduler
        self._known: dict[str, DoomedMessage] = {}
        self._queues: dict[int, list[str]] = {}
        """What is under way: in each channel the first is being deleted, the others wait."""

    def look(self) -> None:
        """There may be some: take them up."""
        self._chores.insist("messages to be deleted can't be looked up", self._take_up)

    async def _take_up(self) -> None:
        for doomed in await self._studio.doomed():
            key = f"delete:{doomed.message_id}"
            if key in self._known:
                continue
            self._known[key] = doomed
            queue = self._queues.setdefault(doomed.channel_id, [])
            queue.append(key)
            if len(queue) == 1:
                self._begin(key)

    def _begin(self, key: str) -> None:
        self._scheduler(self._known[key].channel_id).final(key, lambda: self._delete(key), owner=self)

    async def _delete(self, key: str) -> None:
        await self._messages.delete(self._known[key])
        self._chores.spawn(self._store(key))

    async def edit_gone(self, key: str, error: BaseException) -> None:
        if isinstance(error, discord.HTTPException) and error.status == 401:
            await self.edit_given_up(key, error)  # the message is there: it is the bot's token that is not valid
            return
        if not is_deleted(error):
            message = self._known[key]
            log.warning("message %d can't be deleted and stays: %s", message.message_id, short(error))
        self._chores.spawn(self._store(key))

    async def edit_given_up(self, key: str, error: BaseException) -> None:
        """It stays in the registry, and the next `look` tries again."""
        log.warning("message %d could not be deleted yet: %s", self._known[key].message_id, short(error))
        self._chores.spawn(self._go_on(key))

    async def _store(self, key: str) -> None:
        message = self._known[key]
        await self._chores.insist(
            f"message {message.message_id} is deleted, which can't be stored",
            lambda: self._studio.message_deleted(message.channel_id, message.message_id),
        )
        await self._go_on(key)

    async def _go_on(self, key: str) -> None:
        channel_id = self._known.pop(key).channel_id
        queue = self._queues[channel_id]
        queue.remove(key)
        if not queue:
            del self._queues[channel_id]
            return
        await self._chores.sleep(DELETE_SECONDS)
        self._begin(queue[0])
