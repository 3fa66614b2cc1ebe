"""Remix by replying: which replies are meant for the bot, and what becomes of them.

A reply to a picture of ours is a remix where it carries a picture, mentions the bot in its text (the ping that
Discord adds to a reply is not in its text) or is written in a studio channel or a direct message. A reply to anybody
else's message is one where it mentions the bot or is written in such a place, and there is a picture in either
message. Nothing else ever is: who writes "nice!" under a picture has asked for nothing, and is not answered.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
import discord

from bot.chat import wording
from bot.chat.answers import sentence_for
from bot.chat.asking import allowed_to_remix, new_seed
from bot.chat.commands.server import studio_channel_of
from bot.chat.concept_names import Asker, usable_words
from bot.chat.discord_errors import NO_HISTORY_CODE, short
from bot.chat.requests import MEDIUM_STRENGTH, remixed
from bot.chat.sources import Source, source_of, start_from
from bot.chat.starts import pictures_in
from bot.chat.wording import replies as words
from bot.errors import RegistryTrouble, UserError
from bot.job import JobKind
from generation.prompt import parse_prompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.chat.client import AtelierClient

log = logging.getLogger(__name__)

HINT_SECONDS: Final = 60 * 60
"""Between two hints to the same member."""
_HINTS_REMEMBERED: Final = 1000
_NUMBER: Final = re.compile(r"#(\d{1,2})(?!\w)")


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that was read. `target`: what it replies to, where that is still there."""

    message: discord.Message
    target: discord.Message | None
    own: Source
    """The pictures that it carries."""
    mentions: bool
    studio: bool

    @property
    def wanted(self) -> bool:
        """Meant for the bot, whatever it replies to."""
        return self.mentions or self.studio


class Replies:
    def __init__(self, client: AtelierClient, *, clock: Callable[[], float]) -> None:
        """`clock`: seconds that only go forward."""
        self._client = client
        self._clock = clock
        self._hinted: dict[int, float] = {}

    async def on_message(self, message: discord.Message) -> None:
        """Every message that the gateway brings. Nobody is told of an error before it is clear that they asked."""
        if message.type is not discord.MessageType.reply or message.author.bot or message.webhook_id is not None:
            return
        try:
            reply = await self._read(message)
        except RegistryTrouble as error:
            log.warning("a reply can't be judged: %s", short(error))
            return
        try:
            await self._answer(reply)
        except Exception as error:  # noqa: BLE001  a member must never meet a traceback, whatever it was
            await self._say(message, sentence_for(error, f"{message.id:x}"))

    async def _read(self, message: discord.Message) -> Reply:
        replied = message.reference.resolved if message.reference is not None else None
        return Reply(
            message,
            replied if isinstance(replied, discord.Message) else None,
            Source(message, attachments=pictures_in(message)),
            mentions=self._mention.search(message.content) is not None,
            studio=await self._in_studio(message),
        )

    async def _answer(self, reply: Reply) -> None:
        message, target = reply.message, reply.target
        if self._is_hidden(message):
            await self._hint_in_studio(reply)
            return
        to_us = target is not None and self._is_me(target.author)
        if not reply.wanted and not (to_us and reply.own.pictures):
            return
        shown = None if target is None else await source_of(self._client, target)
        if not reply.wanted and (shown is None or (shown.job is None and not shown.pictures)):
            return  # to a message of ours that is no picture
        if reply.own.pictures:
            await self._remix(message, reply.own, shown)
        elif shown is not None and shown.pictures:
            guild_id = None if message.guild is None else message.guild.id
            await allowed_to_remix(self._client.studio, shown.owner_id, message.author.id, guild_id)
            await self._remix(message, shown, shown)
        elif shown is not None and reply.mentions:
            await self._say_why_not(message, shown)

    # ── what is meant ──

    @property
    def _mention(self) -> re.Pattern[str]:
        assert self._client.user is not None, "messages come after the login"
        return re.compile(rf"<@!?{self._client.user.id}>")

    def _is_me(self, user: discord.abc.User) -> bool:
        return self._client.user is not None and user.id == self._client.user.id

    async def _in_studio(self, message: discord.Message) -> bool:
        """Direct messages are one."""
        if message.guild is None:
            return True
        settings = await self._client.studio.guilds.settings(message.guild.id)
        return studio_channel_of(message.channel) in settings.studio_channels

    def _is_hidden(self, message: discord.Message) -> bool:
        """Discord blanks what neither is ours nor mentions us, unless the operator may read everything."""
        if self._client.intents.message_content or message.guild is None:
            return False
        if self._is_me(message.author) or any(self._is_me(user) for user in message.mentions):
            return False
        parts = message.message_snapshots or [message]
        return not any(part.content or part.attachments or part.embeds or part.stickers for part in parts)

    # ── the remix ──

    async def _remix(self, message: discord.Message, source: Source, shown: Source | None) -> None:
        """From a picture of `source`; what the words don't say comes from what is `shown` above them."""
        if not _may_show(message):
            log.info("a reply in channel %s is not answered: the bot can't post there", message.channel.id)
            return
        client, guild = self._client, message.guild
        number, text = _numbered(self._mention.sub(" ", message.content), source)
        said = parse_prompt(text)
        asker = Asker(message.author.id, None if guild is None else guild.id)
        start, basis = await start_from(client, source, number, asker)
        if shown is not None and shown is not source and shown.images:
            basis = dataclasses.replace(shown.basis(client, None), size=basis.size)
        basis = await usable_words(client.studio, basis, asker)
        request = remixed(basis, said, start.path, seed=new_seed(), strength=MEDIUM_STRENGTH)
        submitted = await client.studio.submit(
            request,
            member_id=message.author.id,
            guild_id=None if guild is None else guild.id,
            channel_id=message.channel.id,
            interaction_id=message.id,
            init_image=start.data,
            kind=JobKind.REMIX,
            origin=start.origin,
            foreign_start=start.foreign,
            redraw=start.redraw,
            file_limit=None if guild is None else guild.filesize_limit,
        )
        if submitted.created:
            job = submitted.job
            log.info("job %s: %s asked for by a reply", job.id, wording.images_count(job.images))
            await client.delivery.publish(job, submitted.place, None)

    # ── a sentence instead ──

    async def _say_why_not(self, message: discord.Message, shown: Source) -> None:
        """The bot was mentioned, but there is no picture. Silence where it was only talked about."""
        if shown.job is not None:
            await self._say(message, words.NO_PICTURE_THERE if shown.job.state.ended else words.NO_PICTURE_YET)
        elif self._is_hidden(shown.message):
            await self._hint(message, words.HIDDEN_PICTURE)

    async def _hint_in_studio(self, reply: Reply) -> None:
        if not reply.studio or reply.target is None:
            return
        if not self._is_me(reply.target.author):
            await self._hint(reply.message, words.HIDDEN_PICTURE)
        elif pictures_in(reply.target):
            await self._hint(reply.message, words.HIDDEN_REPLY)

    async def _hint(self, message: discord.Message, text: str) -> None:
        """Once per member and hour: they may not have meant the bot at all."""
        now, last = self._clock(), self._hinted.get(message.author.id)
        if last is not None and now - last < HINT_SECONDS:
            return
        self._hinted[message.author.id] = now
        if len(self._hinted) > _HINTS_REMEMBERED:
            self._hinted = {member: at for member, at in self._hinted.items() if now - at < HINT_SECONDS}
        await self._say(message, text)

    async def _say(self, message: discord.Message, text: str) -> None:
        """A short reply that pings nobody. What can't be said is logged, not raised."""
        nonce = f"reply:{message.id:x}"  # the same event twice is answered once
        send = functools.partial(message.channel.send, text, mention_author=False, nonce=nonce)
        try:
            try:
                await send(reference=message.to_reference(fail_if_not_exists=False))
            except discord.HTTPException as error:
                if error.code != NO_HISTORY_CODE:
                    raise
                await send()
        except (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("a reply in channel %s can't be answered: %s", message.channel.id, short(error))


def _numbered(text: str, source: Source) -> tuple[int | None, str]:
    """`#2 in blue` → (2, "in blue"), where there are several pictures to choose from.

    Raises UserError: there is no such picture.
    """
    found = _NUMBER.match(text.strip())
    if found is None or source.pictures < 2:
        return None, text
    number = int(found[1])
    if number not in source.numbers:
        raise UserError(words.no_such_picture(number, source.numbers))
    return number, text.strip()[found.end() :]


def _may_show(message: discord.Message) -> bool:
    """Whether the bot may post pictures there; where that isn't known, it is tried."""
    channel = message.channel
    if message.guild is None or isinstance(channel, discord.PartialMessageable):
        return True
    in_thread = isinstance(channel, discord.Thread)
    if in_thread and channel.parent is None:
        return True
    allowed = channel.permissions_for(message.guild.me)
    write = allowed.send_messages_in_threads if in_thread else allowed.send_messages
    return allowed.view_channel and write and allowed.attach_files
