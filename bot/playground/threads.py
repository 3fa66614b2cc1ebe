"""Threads as Discord documents them, on top of simcord's.

"Threads" in Discord's documentation: a thread of a message has that message's id, one thread a message; sending a
message unarchives a thread that is not locked; other operations on an archived thread are refused with 50083;
a thread is archived after `auto_archive_duration` minutes without activity.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from simcord.backend import Backend, serializers
from simcord.backend.errors import BackendError, cannot_execute_on_channel_type, invalid_form_body
from simcord.backend.models import Channel, Message, SystemMessageMetadata
from simcord.enums import ChannelType, MessageType

HAS_THREAD = 1 << 5
ARCHIVE_MINUTES = (60, 1440, 4320, 10080)


def thread_archived() -> BackendError:
    return BackendError(400, 50083, "Thread is archived")


class ThreadBackend(Backend):
    """simcord's model with the rules above."""

    def create_thread(
        self,
        parent_id: int,
        name: str,
        owner_id: int,
        *,
        type: int = ChannelType.PUBLIC_THREAD,
        auto_archive_duration: int = 1440,
        message_id: int | None = None,
        applied_tags: Iterable[int] = (),
        broadcast: bool = True,
    ) -> Channel:
        if not isinstance(name, str) or not 1 <= len(name) <= 100:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise invalid_form_body("name: Must be between 1 and 100 in length.")
        if auto_archive_duration not in ARCHIVE_MINUTES:
            raise invalid_form_body("auto_archive_duration: Value must be one of {60, 1440, 4320, 10080}.")
        parent = self.get_channel(parent_id)
        if parent.is_thread or parent.guild_id is None:
            raise cannot_execute_on_channel_type()
        if message_id is not None and message_id in self.channels:
            raise BackendError(400, 160004, "A thread has already been created for this message")
        thread = super().create_thread(
            parent_id,
            name,
            owner_id,
            type=type,
            auto_archive_duration=auto_archive_duration,
            message_id=message_id,
            applied_tags=applied_tags,
            broadcast=broadcast and message_id is None,
        )
        if message_id is not None and broadcast:
            self._announce_thread_of(self.get_message(parent_id, message_id), thread)
        return thread

    def _announce_thread_of(self, message: Message, thread: Channel) -> None:
        """A message's thread: no "started a thread" in the channel, the message itself says it; the thread starts
        with a THREAD_STARTER_MESSAGE that refers to it."""
        self.announce_thread_create(thread)
        message.flags |= HAS_THREAD
        self.emit("MESSAGE_UPDATE", dict(serializers.message_payload(self, message)))
        assert thread.owner_id is not None
        starter = self.prepare_message(
            thread.id,
            thread.owner_id,
            "-",
            message_type=MessageType.THREAD_STARTER_MESSAGE,
            system_metadata=SystemMessageMetadata(
                referenced_channel_id=message.channel_id, referenced_message_id=message.id
            ),
        )
        starter.content = ""  # simcord prepares no empty message
        self.commit_message(starter)

    def set_archived(self, thread_id: int, archived: bool, *, locked: bool | None = None) -> Channel:
        """Archive or open a thread; `locked` also keeps members from opening it again."""
        changes: dict[str, Any] = {"archived": archived, "archive_timestamp": self.now_iso()}
        if locked is not None:
            changes["locked"] = locked
        return self.edit_channel(thread_id, {}, thread_metadata=changes)

    def archive_idle(self) -> None:
        """Archive the threads in which nobody wrote for as long as they say."""
        now = self.clock.now()
        for guild in self.guilds.values():
            for thread in self.active_threads(guild.id):
                assert thread.thread_metadata is not None
                messages = self.messages[thread.id].values()
                latest = max([m.timestamp for m in messages] + [thread.thread_metadata.archive_timestamp])
                idle = now - datetime.fromisoformat(latest)
                if idle >= timedelta(minutes=thread.thread_metadata.auto_archive_duration):
                    self.set_archived(thread.id, True)

    # ---------------------------------------------------- in archived threads

    def commit_message(self, message: Message, *, broadcast: bool = True) -> Message:
        state = self.get_channel(message.channel_id).thread_metadata
        if state is not None and state.archived and not message.is_ephemeral:
            if state.locked:
                raise thread_archived()
            self.set_archived(message.channel_id, False)
        return super().commit_message(message, broadcast=broadcast)

    def edit_message(self, channel_id: int, message_id: int, fields: dict[str, Any]) -> Message:
        self._require_open(channel_id, message_id)
        return super().edit_message(channel_id, message_id, fields)

    def delete_message(self, channel_id: int, message_id: int) -> None:
        self._require_open(channel_id, message_id)
        super().delete_message(channel_id, message_id)

    def add_thread_member(self, thread_id: int, user_id: int) -> Channel:
        self._require_open(thread_id)
        return super().add_thread_member(thread_id, user_id)

    def _require_open(self, channel_id: int, message_id: int | None = None) -> None:
        state = self.get_channel(channel_id).thread_metadata
        if state is None or not state.archived:
            return
        if message_id is None or not self.get_message(channel_id, message_id).is_ephemeral:
            raise thread_archived()
