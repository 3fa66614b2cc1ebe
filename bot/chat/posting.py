"""A job's own message: made once, with the nonce `{job}:0`, and known from then on.

Its id is stored before GPU work. After a crash in between it is looked for by the job id in its buttons before a new
one is sent.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import aiohttp
import discord

from bot.chat.cards import Phase
from bot.chat.discord_errors import cannot_send, is_passing, short
from bot.chat.rendering import render_live
from bot.errors import NotFound, RegistryTrouble
from bot.job import JobKind
from bot.registry.doomed import DoomedMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from bot.chat.cards import Card, Cards
    from bot.chat.chores import Chores
    from bot.chat.messages import Messages
    from bot.chat.rendering import Rendered
    from bot.job import Job
    from bot.outlook import Place
    from bot.studio import Studio

log = logging.getLogger(__name__)

SEND_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds between tries to send the first message."""


class Posting:
    def __init__(
        self,
        studio: Studio,
        messages: Messages,
        cards: Cards,
        chores: Chores,
        *,
        posted: Callable[[Card], None],
        followed_up: Callable[[Card], None],
        refused: Callable[[Card, Exception], Awaitable[None]],
    ) -> None:
        """`posted` and `followed_up` hear that a card's first message is there, and how; `refused`, that the bot
        can't write where it was asked, and has no other way."""
        self._studio = studio
        self._messages = messages
        self._cards = cards
        self._chores = chores
        self._posted = posted
        self._followed_up = followed_up
        self._refused = refused

    async def message_of(self, card: Card) -> discord.Message | discord.PartialMessage:
        """The job's message: known, stored, found in the channel, or sent now."""
        async with card.lock:
            if card.message is None and card.job.message_id is not None:
                card.message = self._messages.stored(card.job, card.job.message_id)
            if card.message is None:
                found = await self._messages.find(card.job)
                if found is None:
                    # After a restart nobody knows what asked for a remix: perhaps a message.
                    reply = card.job.kind is JobKind.REMIX
                    found = await self._messages.send(card.job, await render_live(card), reply=reply)
                self._remember(card, found)
            assert card.message is not None
            return card.message

    def _remember(self, card: Card, message: discord.Message | discord.PartialMessage) -> None:
        """What the registry makes of it is no matter of whoever made the message."""
        job = card.job
        card.message, card.fresh = message, False
        card.storing.append(
            self._chores.insist(
                f"job {job.id}: the id of its message can't be stored", lambda: self._store(job, message.id)
            )
        )

    async def _store(self, job: Job, message_id: int) -> None:
        try:
            await self._studio.attach_message(job.id, message_id)
        except NotFound:
            await self.discard(job, message_id)

    async def discard(self, job: Job, message_id: int) -> None:
        """The job was deleted while this message was sent: nothing else knows of it."""
        log.info("job %s was deleted while its message was sent: that goes too", job.id)
        for pause in (*SEND_PAUSES, None):
            try:
                return await self._messages.delete(DoomedMessage(job.guild_id, job.channel_id, message_id))
            except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
                if pause is None or not is_passing(error):
                    return log.warning("job %s: its message could not be deleted: %s", job.id, short(error))
            await self._chores.sleep(pause)

    # ── the first message, called by the command ──

    async def publish(self, job: Job, place: Place | None, interaction: discord.Interaction[Any] | None) -> bool:
        """Send the job's channel message, or a follow-up where the bot can't write. True: it was a follow-up.

        `interaction` None: it was asked for by a message. Where that can't be answered, the job ends.

        After bounded tries it is left to the next edit of the job (the job waits for it a little and then runs).
        """
        card = self._cards.of(job)
        if card is None:
            return False  # it ended at once, and that was told
        if place is not None and card.phase is Phase.QUEUED:
            card.queued(card.job, place)
        async with card.lock:
            if card.message is not None or await self._has_message(job.id):
                return False  # its end came first, and made the message
            try:
                return await self._first_message(card, interaction)
            finally:
                card.fresh = False

    async def _has_message(self, job_id: str) -> bool:
        """False where that isn't known: sent again with its nonce, it is the same message."""
        try:
            return (await self._studio.job(job_id)).message_id is not None
        except RegistryTrouble as error:
            log.warning("job %s can't be looked up: %s", job_id, short(error))
            return False

    async def _first_message(self, card: Card, interaction: discord.Interaction[Any] | None) -> bool:
        rendered = await render_live(card)
        for pause in (*SEND_PAUSES, None):
            try:
                if interaction is not None and not self._messages.may_send(interaction):
                    break
                message = await self._messages.send(card.job, rendered, reply=interaction is None)
                card.shown = rendered.content
                self._remember(card, message)
                self._posted(card)
                return False
            except Exception as error:
                if cannot_send(error):
                    if interaction is None:
                        await self._refused(card, error)
                        return False
                    break
                if not is_passing(error):
                    raise
                log.warning("job %s: sending its message failed: %s", card.job.id, short(error))
                if pause is None:
                    return False
                await self._chores.sleep(pause)
        assert interaction is not None
        card.follow_up = interaction
        self._remember(card, await self._follow_up(interaction, rendered))
        self._followed_up(card)
        return True

    async def _follow_up(self, interaction: discord.Interaction[Any], rendered: Rendered) -> discord.Message:
        """Again only where Discord said no: it has no nonce, so after a lost answer there would be two."""
        for pause in SEND_PAUSES:
            try:
                return await self._messages.follow_up(interaction, rendered)
            except discord.HTTPException as error:
                if not is_passing(error):
                    raise
                log.warning("interaction %s: a follow-up failed: %s", interaction.id, short(error))
                await self._chores.sleep(pause)
        return await self._messages.follow_up(interaction, rendered)
