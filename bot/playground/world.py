"""The playground's Discord: simcord's model on a wall clock, with one furnished server in it.

Adds to simcord what a server that runs for days in front of people needs: stable ids (a bot's registry may
outlive this process), bounded memory, and news about ephemeral messages for the page, which simcord keeps
from every gateway listener because bots never receive them.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeVar, cast

from simcord._clock import Clock
from simcord.backend import Backend, serializers
from simcord.backend.models import Guild, Message

from bot.playground.cdn import AttachmentStore

SEED_EPOCH = 1_346_000_000_000_000_000
"""Ids of the seeded server, channels and people count up from here (a snowflake of early 2025)."""
MESSAGES_PER_CHANNEL = 1000
T = TypeVar("T")


class WallClock(Clock):
    """simcord's clock, running by itself."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Bounded(list[T]):
    """A list that forgets its oldest entries: simcord's records would grow for ever."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def append(self, item: T, /) -> None:
        super().append(item)
        if len(self) > self._limit:
            del self[: -self._limit]


class World(Backend):
    """Everything that exists in the playground.

    Args:
        base_url: Where attachment links point, for example `http://127.0.0.1:7860`.
    """

    guild: Guild

    def __init__(self, base_url: str) -> None:
        self._seed_ids: Iterator[int] | None = count(SEED_EPOCH, 1 << 22)
        self._nonce: str | int | None = None
        self.private_listeners: list[Callable[[str, Mapping[str, Any]], None]] = []
        self.age_restricted: set[int] = set()
        super().__init__(clock=WallClock())
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

    @property
    def people(self) -> list[int]:
        """User ids of the members that a visitor of the page can be, the owner first."""
        return [user_id for user_id in self.guild.members if not self.users[user_id].bot]

    def snowflake(self) -> int:
        if self._seed_ids is not None:
            return self.reserve_id(next(self._seed_ids))
        return super().snowflake()

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
        if committed.is_ephemeral:
            self._tell_privately("MESSAGE_CREATE", committed)
        kept = self.messages[message.channel_id]
        while len(kept) > MESSAGES_PER_CHANNEL:
            dropped = kept.pop(next(iter(kept)))
            self.attachments.release(_links(dropped))
        return committed

    def edit_message(self, channel_id: int, message_id: int, fields: dict[str, Any]) -> Message:
        before = _links(self.get_message(channel_id, message_id))
        message = super().edit_message(channel_id, message_id, fields)
        self.attachments.release(before - _links(message))
        if message.is_ephemeral:
            self._tell_privately("MESSAGE_UPDATE", message)
        return message

    def delete_message(self, channel_id: int, message_id: int) -> None:
        message = self.get_message(channel_id, message_id)
        super().delete_message(channel_id, message_id)
        self.attachments.release(_links(message))
        if message.is_ephemeral:
            self._tell_privately("MESSAGE_DELETE", message)

    def _tell_privately(self, event: str, message: Message) -> None:
        payload = self.message(message)
        for listener in self.private_listeners:
            listener(event, payload)

    # ----------------------------------------------------------------- wire

    def message(self, message: Message) -> dict[str, Any]:
        """A message as Discord sends it."""
        return dict(serializers.message_payload(self, message))

    def channel(self, channel_id: int) -> dict[str, Any]:
        """A channel as Discord sends it, age restriction included."""
        payload = serializers.channel_payload(self, self.get_channel(channel_id))
        return self.wire("CHANNEL_UPDATE", cast("dict[str, Any]", payload))

    def wire(self, event: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The payload with what simcord's serializers leave out: which channels are age-restricted."""
        sent = dict(payload)
        if event.startswith("CHANNEL_") and "id" in sent:
            sent["nsfw"] = int(sent["id"]) in self.age_restricted
        elif event.startswith("GUILD_") and "channels" in sent:
            sent["channels"] = [self.wire("CHANNEL_UPDATE", channel) for channel in sent["channels"]]
        elif event == "INTERACTION_CREATE":
            sent["channel"] = self.wire("CHANNEL_UPDATE", sent["channel"])
        return sent


def _links(message: Message) -> set[str]:
    return {str(attachment["url"]) for attachment in message.attachments}
