"""The state of the server as one member sees it: what a page shows around the messages."""

from typing import Any

from simcord.backend import serializers
from simcord.enums import AppCommandType

from bot.playground.access import usable_commands, visible
from bot.playground.world import World


def describe(world: World, user_id: int, channel_id: int | None) -> dict[str, Any]:
    """Server, people, places and commands for a member; with a channel only the commands they may use there."""

    def commands(kind: AppCommandType) -> list[dict[str, Any]]:
        return usable_commands(world, kind, user_id=user_id, channel_id=channel_id)

    direct = [world.get_dm_channel(user_id).id, *world.private_channels_of(user_id)]
    return {
        "server": {"id": str(world.guild.id), "name": world.guild.name},
        "me": {"id": str(user_id), "permissions": str(world.compute_permissions(world.guild.id, user_id))},
        "members": [_member(world, number) for number in world.people],
        "channels": _channels(world, world.guild.channel_ids, user_id),
        "threads": _channels(world, world.guild.thread_ids, user_id),
        "dms": [_direct(world, number, user_id) for number in direct],
        "commands": commands(AppCommandType.CHAT_INPUT),
        "message_commands": commands(AppCommandType.MESSAGE),
        "bot": serializers.user_payload(world.bot_user),
    }


def _member(world: World, user_id: int) -> dict[str, Any]:
    roles = [world.guild.roles[role_id].name for role_id in world.guild.members[user_id].role_ids]
    permissions = str(world.compute_permissions(world.guild.id, user_id))
    more = {"roles": roles, "owner": user_id == world.guild.owner_id, "permissions": permissions}
    return {**serializers.user_payload(world.users[user_id]), **more}


def _channels(world: World, ids: list[int], user_id: int) -> list[dict[str, Any]]:
    seen = [number for number in ids if visible(world, number, user_id)]
    return [world.channel(number) | {"permissions": str(world.permissions_in(user_id, number))} for number in seen]


def _direct(world: World, channel_id: int, user_id: int) -> dict[str, Any]:
    """A direct message as its member sees it: the recipient is the other side."""
    others = [n for n in world.channels[channel_id].recipient_ids if n != user_id] or [world.bot_user.id]
    recipients = [serializers.user_payload(world.users[number]) for number in others]
    return world.channel(channel_id) | {"recipients": recipients}
