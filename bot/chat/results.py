"""How a job ended, told in its channel so that killing the bot at any point neither loses nor doubles a picture.

The first four pictures go into the job's own message by an edit, which may be repeated. Every further four are a
message of their own, a part: sent with the nonce `{job}:{part}`, its id stored at once, and looked for by its buttons
before it is sent where an earlier try may have sent it.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Final, TypeVar

import discord

from bot.chat import wording
from bot.chat.buttons import PART_SIZE
from bot.chat.discord_errors import is_archived, is_passing, is_too_large, short
from bot.chat.rendering import render_end
from bot.chat.wording import training_job
from bot.errors import NotFound
from bot.job import JobKind, JobState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bot.chat.cards import Card
    from bot.chat.chores import Chores
    from bot.chat.messages import Messages
    from bot.chat.posting import Posting
    from bot.chat.rendering import Rendered
    from bot.job import Job, JobImage
    from bot.studio import Studio

log = logging.getLogger(__name__)

T = TypeVar("T")

PING_SECONDS: Final = 60.0
"""A job that took longer ends with a mention of its member, who will have gone on to other things."""
PING_PAUSES: Final = (0.5, 1.0, 2.0)
_MUCH_SMALLER: Final = 2 * 1024 * 1024
"""Bytes that a file may have after Discord called it too large."""


class Results:
    def __init__(self, studio: Studio, messages: Messages, posting: Posting, chores: Chores) -> None:
        self._studio = studio
        self._messages = messages
        self._posting = posting
        self._chores = chores

    async def tell(self, card: Card) -> None:
        """All of it; what an earlier call has done is not done again. Raises Discord's errors."""
        message = await self._posting.message_of(card)
        repeated, card.ending = card.ending, True
        if card.job.kind is JobKind.TRAIN and card.job.state not in (JobState.CANCELLED, JobState.FAILED):
            card.trained = await self._studio.concepts.trained(card.job.id)
        made_from = _made_from(card) if card.images else ""
        if 0 not in card.told:
            await self._reopening(card.job, lambda: self._edit(card, message, made_from))
            card.told.add(0)
        for part in range(1, -(-len(card.images) // PART_SIZE)):
            if part not in card.told:
                await self._tell_part(card, part, made_from, search=repeated)
                card.told.add(part)
        await self._ping(card, message, search=repeated)

    async def mark_told(self, card: Card) -> None:
        """The registry may know now. Raises RegistryTrouble."""
        for storing in card.storing:
            await storing  # pictures that have no id of a message get that of the job's message
        await self._studio.mark_delivered(card.job.id, card.job.attempt)

    # ── pictures ──

    async def _edit(self, card: Card, message: discord.Message | discord.PartialMessage, made_from: str) -> None:
        async def edit(rendered: Rendered) -> None:
            await self._messages.edit(message, rendered)

        await self._fitting(card, 0, made_from, edit)

    async def _tell_part(self, card: Card, part: int, made_from: str, *, search: bool) -> None:
        job = card.job
        images = card.images[part * PART_SIZE : (part + 1) * PART_SIZE]
        if images[0].message_id is not None:
            return
        found = await self._messages.find(job, part) if search else None

        async def send(rendered: Rendered) -> discord.Message:
            if card.follow_up is not None:
                return await self._messages.follow_up(card.follow_up, rendered)
            return await self._messages.send(job, rendered, part)

        message = found or await self._fitting(card, part, made_from, send)
        card.storing.append(
            self._chores.insist(
                f"job {job.id}: the id of a further message can't be stored",
                lambda: self._store(job, images, message.id),
            )
        )

    async def _store(self, job: Job, images: Sequence[JobImage], message_id: int) -> None:
        try:
            await self._studio.attach_pictures(job.id, [image.index for image in images], message_id)
        except NotFound:
            await self._posting.discard(job, message_id)

    async def _fitting(self, card: Card, part: int, made_from: str, use: Callable[[Rendered], Awaitable[T]]) -> T:
        """`use` with files as large as may be, and much smaller ones where Discord finds these too large."""
        venue = self._messages.venue(card.job)
        rendered = await render_end(card, venue, part, made_from)
        card.seen = card.seen or bool(rendered.files)
        try:
            return await use(rendered)
        except discord.HTTPException as error:
            if not is_too_large(error):
                raise
            log.warning("job %s: its files are too large: %s", card.job.id, short(error))
            smaller = dataclasses.replace(venue, file_limit=_MUCH_SMALLER)
            return await use(await render_end(card, smaller, part, made_from))

    async def _reopening(self, job: Job, edit: Callable[[], Awaitable[None]]) -> None:
        """`edit`, where need be after opening the thread, which was archived while the picture was drawn."""
        try:
            await edit()
        except discord.HTTPException as error:
            if not is_archived(error):
                raise
            await self._messages.reopen(job)
            await edit()

    # ── the mention ──

    async def _ping(self, card: Card, message: discord.Message | discord.PartialMessage, *, search: bool) -> None:
        """Best effort: that it fails is no reason to tell the end again."""
        job = card.job
        if card.pinged or card.follow_up is not None or not _deserves_ping(job):
            return
        card.pinged = True
        failed = card.reason is not None
        text = wording.ping(job, failed=failed, shown=card.seen)
        if job.kind is JobKind.TRAIN:
            text = training_job.ping(job, failed=failed)
        for pause in (*PING_PAUSES, None):
            try:
                if not await self._studio.members.ping(job.member_id):
                    return
                said = await self._messages.reply_to(job, message.id) if search else None
                await self._keep_mention(job, said or await self._messages.ping(job, message.id, text))
                return
            except Exception as error:  # noqa: BLE001  the picture is there, whatever this was
                if not is_passing(error) or pause is None:
                    log.info("job %s: its member could not be mentioned: %s", job.id, short(error))
                    return
                await self._chores.sleep(pause)

    async def _keep_mention(self, job: Job, mention: discord.Message) -> None:
        try:
            await self._studio.attach_mention(job.id, mention.id)
        except NotFound:  # deleted meanwhile, with all messages that were known
            await mention.delete()


def _deserves_ping(job: Job) -> bool:
    """In direct messages every message notifies. Who stopped it knows that."""
    if job.guild_id is None or job.state is JobState.CANCELLED or job.finished_at is None:
        return False
    return (job.finished_at - job.created_at).total_seconds() > PING_SECONDS


def _made_from(card: Card) -> str:
    """The line about it, with a link where those who see it can follow it and it leads somewhere."""
    job, link = card.job, None
    origin = job.origin
    if origin is not None and origin.channel_id is not None and origin.message_id is not None:
        here = origin.guild_id == job.guild_id and (job.guild_id is not None or origin.channel_id == job.channel_id)
        # A job that was deleted is not named any more; somebody's own picture never was a job.
        if here and (origin.job_id is not None or job.foreign_start):
            link = wording.jump_link(origin.guild_id, origin.channel_id, origin.message_id)
    return wording.made_from(job, card.images, link)
