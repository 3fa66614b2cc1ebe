"""The few things that the chat does with Discord's messages. Each call is one try; callers decide about retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import discord

from bot.chat.attachments import DEFAULT_FILE_LIMIT
from bot.chat.rendering import Venue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.chat.rendering import Rendered
    from bot.job import Job

SEARCHED_MESSAGES: Final = 50
"""How many messages of a channel are looked through for a job's own."""


class Messages:
    def __init__(self, client: discord.Client, *, nsfw_threshold: float) -> None:
        self._client = client
        self._nsfw_threshold = nsfw_threshold

    def _channel(self, job: Job) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(job.channel_id, guild_id=job.guild_id)

    def stored(self, job: Job, message_id: int) -> discord.PartialMessage:
        """A message by its stored id, without a request."""
        return self._channel(job).get_partial_message(message_id)

    async def find(self, job: Job) -> discord.Message | None:
        """The bot's own message whose buttons carry the job's id, among the first after its command."""
        me = self._client.user
        after = discord.Object(job.interaction_id) if job.interaction_id else None
        try:
            async for message in self._channel(job).history(limit=SEARCHED_MESSAGES, after=after):
                if me is not None and message.author.id == me.id and _carries(message, job.id):
                    return message
        except discord.Forbidden:  # the history may not be read: sending will say whether the channel can be used
            return None
        return None

    async def send(self, job: Job, rendered: Rendered) -> discord.Message:
        """With the job's nonce: sent twice within some minutes, Discord returns the first message."""
        return await self._channel(job).send(
            rendered.content, view=rendered.view, nonce=f"{job.id}:0", suppress_embeds=True
        )

    async def edit(self, message: discord.Message | discord.PartialMessage, rendered: Rendered) -> None:
        if rendered.files is None:
            await message.edit(content=rendered.content, view=rendered.view)
        else:
            await message.edit(content=rendered.content, view=rendered.view, attachments=rendered.files)

    async def follow_up(self, interaction: discord.Interaction[Any], rendered: Rendered) -> discord.WebhookMessage:
        """A message through the interaction, which needs no permission in the channel (15 minutes)."""
        return await interaction.followup.send(rendered.content, view=rendered.view, suppress_embeds=True, wait=True)

    def may_send(self, interaction: discord.Interaction[Any]) -> bool:
        """Whether the bot may write and attach files where the command was typed; in a DM it is tried."""
        if interaction.guild_id is None:
            return True
        allowed = interaction.app_permissions
        write = allowed.send_messages_in_threads if _is_thread(interaction) else allowed.send_messages
        return write and allowed.view_channel and allowed.attach_files

    def venue(self, job: Job) -> Venue:
        guild = self._client.get_guild(job.guild_id) if job.guild_id is not None else None
        limit = DEFAULT_FILE_LIMIT if guild is None else guild.filesize_limit
        return Venue(limit, self._age_restricted(job), self._nsfw_threshold)

    def _age_restricted(self, job: Job) -> bool:
        """False where it isn't known: then explicit pictures are withheld."""
        channel = self._client.get_channel(job.channel_id)
        if isinstance(
            channel,
            discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel | discord.Thread,
        ):
            return channel.is_nsfw()
        return False


def _is_thread(interaction: discord.Interaction[Any]) -> bool:
    return isinstance(interaction.channel, discord.Thread)


def _carries(message: discord.Message, job_id: str) -> bool:
    return any(custom_id.endswith(f":{job_id}") for custom_id in _custom_ids(message))


def _custom_ids(message: discord.Message) -> Iterator[str]:
    for row in message.components:
        if isinstance(row, discord.ActionRow):
            for component in row.children:
                if component.custom_id is not None:
                    yield component.custom_id
