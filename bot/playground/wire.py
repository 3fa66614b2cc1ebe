"""Payloads with what simcord's serializers leave out, as Discord documents them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from simcord.backend import serializers
from simcord.enums import ChannelType

from bot.playground.threads import HAS_THREAD

if TYPE_CHECKING:
    from bot.playground.world import World

REPLY = 19
_THREADS = (ChannelType.PUBLIC_THREAD, ChannelType.PRIVATE_THREAD)
_DIRECT_FIELDS = ("id", "type", "last_message_id", "recipients")


def event_payload(world: "World", event: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What the gateway sends for an event."""
    sent = dict(payload)
    if event in ("MESSAGE_CREATE", "MESSAGE_UPDATE"):
        return message_payload(world, sent)
    if event.startswith(("CHANNEL_", "THREAD_")) and event != "CHANNEL_PINS_UPDATE":
        return channel_payload(world, sent)
    if event.startswith("GUILD_") and "channels" in sent:
        sent["channels"] = [channel_payload(world, channel) for channel in sent["channels"]]
        # "All active threads in the guild that current user has permission to view"
        active = [thread for thread in sent["threads"] if not thread["thread_metadata"]["archived"]]
        sent["threads"] = [channel_payload(world, thread) for thread in active]
    return sent


def channel_payload(world: "World", payload: Mapping[str, Any]) -> dict[str, Any]:
    """A channel or thread with its age restriction (a thread's is its parent's); a direct message's few fields."""
    if payload.get("type") == ChannelType.DM:
        return {key: payload[key] for key in _DIRECT_FIELDS if key in payload} | {"flags": 0}
    if "parent_id" not in payload and "name" not in payload:
        return dict(payload)  # news about a thread's members, or its bare ids
    parent = payload["parent_id"] if payload.get("type") in _THREADS else payload["id"]
    return {**payload, "nsfw": int(parent) in world.age_restricted}


def message_payload(world: "World", payload: Mapping[str, Any]) -> dict[str, Any]:
    """A message: one level of `referenced_message`, null where that is gone; `thread` where one was started.

    "If this field is not present, … the referenced message was not attempted to be fetched. If the field exists but
    is null, the referenced message was deleted."
    """
    sent = dict(payload)
    referenced = sent.get("referenced_message")
    if referenced:
        sent["referenced_message"] = {k: v for k, v in referenced.items() if k != "referenced_message"}
    elif sent.get("type") == REPLY:
        sent["referenced_message"] = None
    thread = world.channels.get(int(sent["id"])) if sent.get("flags", 0) & HAS_THREAD else None
    if thread is not None:
        sent["thread"] = channel_payload(world, cast("dict[str, Any]", serializers.thread_payload(world, thread)))
    stored = world.messages.get(int(sent["channel_id"]), {}).get(int(sent["id"]))
    told = stored.system_metadata if stored is not None else None
    if told is not None and told.channel_id is not None:  # "… started a thread" refers to that thread
        sent["message_reference"] = {"type": 0, "channel_id": str(told.channel_id), "guild_id": str(world.guild.id)}
    return sent


def rest_answer(world: "World", result: Any) -> Any:
    """A REST answer: a channel, a message, or something that holds messages."""
    if isinstance(result, list):
        return [rest_answer(world, part) for part in cast("list[Any]", result)]
    if not isinstance(result, dict):
        return result
    body = cast("dict[str, Any]", result)
    if "channel_id" in body and "author" in body:
        return message_payload(world, body)
    if "id" in body and "type" in body and ("last_message_id" in body or "parent_id" in body):
        return channel_payload(world, body)
    held = {key: rest_answer(world, body[key]) for key in ("threads", "message", "resource") if key in body}
    return body | held
