"""The few things that the chat does with Discord's messages. Each call is one try; callers decide about retries."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import discord

from bot.chat.attachments import DEFAULT_FILE_LIMIT
from bot.chat.buttons import PART_SIZE, buttons_of
from bot.chat.discord_errors import NO_HISTORY_CODE
from bot.chat.explicit import is_age_restricted
from bot.chat.rendering import Venue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.chat.rendering import Rendered
    from bot.job import Job
    from bot.registry.doomed import DoomedMessage

SEARCHED_MESSAGES: Final = 50
"""How many messages of a channel are looked through for a job's own."""
CLOCKS_SECONDS: Final = 60.0
"""How far two times of ours may be from the same two of Discord's."""
_SNOWFLAKE_SHIFT: Final = 22
"""Above these bits of an id are milliseconds."""


class Messages:
    def __init__(self, client: discord.Client, *, nsfw_threshold: float) -> None:
        self._client = client
        self._nsfw_threshold = nsfw_threshold

    def _channel(self, job: Job) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(job.channel_id, guild_id=job.guild_id)

    def stored(self, job: Job, message_id: int) -> discord.PartialMessage:
        """A message by its stored id, without a request."""
        return self._channel(job).get_partial_message(message_id)

    async def find(self, job: Job, part: int = 0) -> discord.Message | None:
        """The bot's own message whose buttons carry the job's id and pictures of that part: among the first after
        its command, a further part among the first after its end."""
        me = self._client.user
        after = job.interaction_id if part == 0 else _sent_before_end(job)
        try:
            async for message in self._history(job, after):
                if me is not None and message.author.id == me.id and _carries(message, job.id, part):
                    return message
        except discord.Forbidden:  # the history may not be read: sending will say whether the channel can be used
            return None
        return None

    async def reply_to(self, job: Job, message_id: int) -> discord.Message | None:
        """With which the bot has answered the job's message since the job ended. Raises Forbidden."""
        me = self._client.user
        async for message in self._history(job, _sent_before_end(job)):
            reference = message.reference
            if me is not None and message.author.id == me.id and reference and reference.message_id == message_id:
                return message
        return None

    def _history(self, job: Job, after: int | None) -> AsyncIterator[discord.Message]:
        since = None if after is None else discord.Object(after)
        return self._channel(job).history(limit=SEARCHED_MESSAGES, after=since)

    async def send(self, job: Job, rendered: Rendered, part: int = 0, *, reply: bool = False) -> discord.Message:
        """With the part's nonce: sent twice within some minutes, Discord returns the first message.

        `reply`: to the message that asked for the job, without a ping. Where it was no message but an interaction, or
        is gone, Discord makes a plain one of it.
        """
        send = functools.partial(
            self._channel(job).send,
            rendered.content,
            view=rendered.view,
            files=rendered.files or [],
            nonce=f"{job.id}:{part}",
            suppress_embeds=True,
        )
        if not reply or job.interaction_id is None:
            return await send()
        asked = discord.MessageReference(
            message_id=job.interaction_id, channel_id=job.channel_id, fail_if_not_exists=False
        )
        try:
            return await send(reference=asked, mention_author=False)
        except discord.HTTPException as error:
            if error.code != NO_HISTORY_CODE:
                raise
            return await send()

    async def edit(self, message: discord.Message | discord.PartialMessage, rendered: Rendered) -> None:
        if rendered.files is None:
            await message.edit(content=rendered.content, view=rendered.view)
        else:
            await message.edit(content=rendered.content, view=rendered.view, attachments=rendered.files)

    async def ping(self, job: Job, message_id: int, text: str) -> discord.Message:
        """A reply to the job's message that mentions its member and nobody else."""
        return await self._channel(job).send(
            text,
            reference=discord.MessageReference(message_id=message_id, channel_id=job.channel_id),
            allowed_mentions=discord.AllowedMentions(
                everyone=False, roles=False, replied_user=False, users=[discord.Object(job.member_id)]
            ),
            nonce=f"{job.id}:p",
        )

    async def delete(self, doomed: DoomedMessage) -> None:
        channel = self._client.get_partial_messageable(doomed.channel_id, guild_id=doomed.guild_id)
        await channel.get_partial_message(doomed.message_id).delete()

    async def reopen(self, job: Job) -> None:
        """A thread that was archived meanwhile; unless it is locked, who may write in it may do this."""
        thread = await self._client.fetch_channel(job.channel_id)
        if isinstance(thread, discord.Thread):
            await thread.edit(archived=False)

    async def follow_up(self, interaction: discord.Interaction[Any], rendered: Rendered) -> discord.WebhookMessage:
        """A message through the interaction, which needs no permission in the channel (15 minutes)."""
        return await interaction.followup.send(
            rendered.content, view=rendered.view, files=rendered.files or [], suppress_embeds=True, wait=True
        )

    def may_send(self, interaction: discord.Interaction[Any]) -> bool:
        """Whether the bot may write and attach files where the command was typed; in a DM it is tried."""
        if interaction.guild_id is None:
            return True
        allowed = interaction.app_permissions
        write = allowed.send_messages_in_threads if _is_thread(interaction) else allowed.send_messages
        return write and allowed.view_channel and allowed.attach_files

    def venue(self, job: Job) -> Venue:
        guild = self._client.get_guild(job.guild_id) if job.guild_id is not None else None
        limit = job.file_limit or (DEFAULT_FILE_LIMIT if guild is None else guild.filesize_limit)
        age_restricted = is_age_restricted(self._client.get_channel(job.channel_id))
        return Venue(max(limit, DEFAULT_FILE_LIMIT), age_restricted, self._nsfw_threshold)


def _is_thread(interaction: discord.Interaction[Any]) -> bool:
    return isinstance(interaction.channel, discord.Thread)


def _carries(message: discord.Message, job_id: str, part: int) -> bool:
    return any(of_job == job_id and (index or 0) // PART_SIZE == part for _, of_job, index in buttons_of(message))


def _sent_before_end(job: Job) -> int | None:
    """An id that messages about its end are above: by Discord's clock, which may be far from ours."""
    if job.interaction_id is None or job.finished_at is None:
        return job.interaction_id
    drawing = (job.finished_at - job.created_at).total_seconds() - CLOCKS_SECONDS
    return job.interaction_id + (max(0, int(drawing * 1000)) << _SNOWFLAKE_SHIFT)
