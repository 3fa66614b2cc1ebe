"""The playground's Discord: simcord's model on a wall clock, with one furnished server in it.

Adds to simcord what a server that runs for days in front of people needs: stable ids (a bot's registry may
outlive this process), bounded memory, news about ephemeral messages for the page, which simcord keeps
from every gateway listener because bots never receive them, and direct messages that the bot is not in.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, TypeVar, cast

import discord
from simcord.backend import errors, serializers
from simcord.backend.models import Channel, Guild, Message, Role
from simcord.enums import ChannelType

from bot.playground import wire
from bot.playground.cdn import AttachmentStore
from bot.playground.clock import WallClock
from bot.playground.links import Links
from bot.playground.threads import ThreadBackend

DISCORD_EPOCH_MS = 1_420_070_400_000
SEED_EPOCH = 1_346_000_000_000_000_000
"""Ids of the seeded server, channels and people count up from here (a snowflake of early 2025)."""
MESSAGES_PER_CHANNEL = 1000
MODERATOR_PERMISSIONS = discord.Permissions(
    manage_messages=True, manage_guild=True, manage_threads=True, moderate_members=True, kick_members=True
)
T = TypeVar("T")


class Bounded(list[T]):
    """A list that forgets its oldest entries: simcord's records would grow for ever."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def append(self, item: T, /) -> None:
        super().append(item)
        if len(self) > self._limit:
            del self[: -self._limit]


class World(ThreadBackend):
    """Everything that exists in the playground.

    Args:
        base_url: Where attachment links point, for example `http://127.0.0.1:7860`.
    """

    guild: Guild

    def __init__(self, base_url: str) -> None:
        self._seed_ids: Iterator[int] | None = count(SEED_EPOCH, 1 << 22)
        self._newest_id = 0
        self._nonce: str | int | None = None
        self._uses: Counter[str] = Counter()
        self.private_listeners: list[Callable[[str, Mapping[str, Any]], None]] = []
        self.age_restricted: set[int] = set()
        self.private_channels: set[int] = set()
        self.closed_channels: set[int] = set()  # direct messages of members who take none from the bot
        self.wall = WallClock()
        super().__init__(clock=self.wall)
        self.links = Links(base_url, self.wall)
        self.attachments = AttachmentStore(base_url)
        self.cdn = self.attachments
        self.transcript = Bounded(300)
        self.http_requests = Bounded(300)
        self._furnish()
        self._seed_ids = None

    def _furnish(self) -> None:
        self.bot_user.name = "Atelier"
        you = self.make_user("you", global_name="You")
        self.guild = self.create_guild("Atelier playground", owner_id=you.id)
        for name in ("Robin", "Sascha"):
            self.add_member(self.guild.id, self.make_user(name.lower(), global_name=name).id)
        self.create_channel(self.guild.id, "studio", topic="Type / to see what Atelier can draw for you.")
        self.create_channel(self.guild.id, "general", topic="Talk about anything.")
        dark = self.create_channel(self.guild.id, "after-dark", topic="An age-restricted channel.")
        self.age_restricted.add(dark.id)
        # New furniture goes below: ids are given in this order, and a registry may know the ones above.
        role = Role(self.snowflake(), "Moderator", MODERATOR_PERMISSIONS.value, position=2)
        self.guild.roles[role.id] = role
        _, robin, sascha = self.people
        self.guild.members[sascha].role_ids.append(role.id)
        for user_id in self.people:
            self.get_dm_channel(user_id)
        private = self.create_channel(None, None, type=ChannelType.DM, recipient_ids=[you.id, robin])
        self.private_channels.add(private.id)

    @property
    def people(self) -> list[int]:
        """User ids of the members that a visitor of the page can be, the owner first."""
        return [user_id for user_id in self.guild.members if not self.users[user_id].bot]

    def snowflake(self) -> int:
        """A new id. simcord's own would remember every id that was ever given."""
        if self._seed_ids is not None:
            self._newest_id = next(self._seed_ids)
        else:
            milliseconds = int(self.clock.now().timestamp() * 1000) - DISCORD_EPOCH_MS
            self._newest_id = max(self._newest_id + 1, milliseconds << 22)
        return self._newest_id

    # ------------------------------------------------------------- channels

    def recipients(self, channel_id: int) -> list[int] | None:
        """The members in a direct message, or None: it is a channel or thread of the server."""
        channel = self.channels.get(channel_id)
        return None if channel is None or channel.guild_id is not None else channel.recipient_ids

    def private_channels_of(self, user_id: int) -> list[int]:
        """Direct messages between this member and others, without the bot."""
        return [number for number in self.private_channels if user_id in self.channels[number].recipient_ids]

    def require_permissions(self, guild_id: int | None, user_id: int, channel_id: int | None, *names: str) -> None:
        if channel_id in self.private_channels:
            if user_id not in self.channels[channel_id].recipient_ids:
                raise errors.missing_access()
            return
        super().require_permissions(guild_id, user_id, channel_id, *names)

    def permissions_in(self, user_id: int, channel_id: int) -> int:
        """What a member may do in a channel; 0 in direct messages, where Discord knows no permissions."""
        if self.get_channel(channel_id).guild_id is None:
            return 0
        return self.compute_permissions(self.guild.id, user_id, channel_id)

    def delete_channel(self, channel_id: int) -> None:
        for thread in [t for t in self.channels.values() if t.is_thread and t.parent_id == channel_id]:
            self._forget_messages(thread)  # Discord tells of the channel only
            self.guild.thread_ids.remove(thread.id)
            del self.channels[thread.id]
        self._forget_messages(self.get_channel(channel_id))
        super().delete_channel(channel_id)

    def _forget_messages(self, channel: Channel) -> None:
        for message in self.messages.pop(channel.id, {}).values():
            self._let_go(_links(message))

    # ------------------------------------------------------------- messages

    @contextmanager
    def sending_with(self, nonce: str | int | None) -> Generator[None]:
        """The next MESSAGE_CREATE carries this nonce, as Discord's does."""
        self._nonce = nonce
        try:
            yield
        finally:
            self._nonce = None

    def emit(self, event: str, payload: Mapping[str, Any]) -> None:
        if event == "MESSAGE_CREATE" and self._nonce is not None:
            payload = {**payload, "nonce": self._nonce}
        super().emit(event, self.wire(event, payload))

    def commit_message(self, message: Message, *, broadcast: bool = True) -> Message:
        committed = super().commit_message(message, broadcast=broadcast)
        self._uses.update(_links(committed))
        if committed.is_ephemeral:
            self._tell_privately("MESSAGE_CREATE", committed)
        kept = self.messages[message.channel_id]
        while len(kept) > MESSAGES_PER_CHANNEL:
            self._let_go(_links(kept.pop(next(iter(kept)))))
        return committed

    def edit_message(self, channel_id: int, message_id: int, fields: dict[str, Any]) -> Message:
        before = _links(self.get_message(channel_id, message_id))
        message = super().edit_message(channel_id, message_id, fields)
        self._uses.update(_links(message))
        self._let_go(before)
        if message.is_ephemeral:
            self._tell_privately("MESSAGE_UPDATE", message)
        return message

    def delete_message(self, channel_id: int, message_id: int) -> None:
        message = self.get_message(channel_id, message_id)
        super().delete_message(channel_id, message_id)
        self._let_go(_links(message))
        if message.is_ephemeral:
            self._tell_privately("MESSAGE_DELETE", message)

    def bulk_delete_messages(self, channel_id: int, message_ids: Iterable[int]) -> list[int]:
        stored = self.messages.get(channel_id, {})
        wanted = [stored[number] for number in message_ids if number in stored]
        deleted = super().bulk_delete_messages(channel_id, [message.id for message in wanted])
        for message in wanted:
            self._let_go(_links(message))
        return deleted

    def _let_go(self, links: set[str]) -> None:
        """Release the attachments that no other message, such as one that forwards this one, still shows."""
        self._uses.subtract(links)
        unused = [link for link in sorted(links) if self._uses[link] <= 0]
        for link in unused:
            del self._uses[link]
        self.attachments.release(unused)

    def _tell_privately(self, event: str, message: Message) -> None:
        payload = self.message(message)
        for listener in self.private_listeners:
            listener(event, payload)

    # ----------------------------------------------------------------- wire

    def message(self, message: Message) -> dict[str, Any]:
        """A message as Discord sends it, its links still unsigned."""
        return wire.message_payload(self, cast("dict[str, Any]", serializers.message_payload(self, message)))

    def pings(self, message: Message) -> list[str]:
        """Whom a message notifies: a mention that `allowed_mentions` keeps quiet is not among them."""
        roles, members = set(message.ping_role_ids), self.guild.members
        pinged = dict.fromkeys(message.ping_user_ids)
        pinged |= dict.fromkeys(number for number in members if roles & set(members[number].role_ids))
        if message.mention_everyone:
            pinged |= dict.fromkeys(members)
        return [str(user_id) for user_id in pinged]

    def channel(self, channel_id: int) -> dict[str, Any]:
        """A channel as Discord sends it, age restriction included."""
        payload = serializers.channel_payload(self, self.get_channel(channel_id))
        return wire.channel_payload(self, cast("dict[str, Any]", payload))

    def wire(self, event: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The payload of an event with what simcord's serializers leave out."""
        return wire.event_payload(self, event, payload)


def _links(message: Message) -> set[str]:
    """Links of a message's attachments, those of what it forwards included."""
    shown = list(message.attachments)
    for snapshot in message.snapshots:
        shown += snapshot["message"]["attachments"]
    return {str(attachment["url"]) for attachment in shown}
