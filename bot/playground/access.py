"""Who may see and use what, as Discord's client decides it before anything reaches a bot."""

from typing import Any

import discord
from simcord.backend.access import channel_accessible
from simcord.backend.command_access import command_access
from simcord.enums import AppCommandType

from bot.playground.world import World

GUILD_CONTEXT, BOT_DM_CONTEXT, PRIVATE_CONTEXT = 0, 1, 2
GUILD_INSTALL, USER_INSTALL = 0, 1
DIRECT_PERMISSIONS = discord.Permissions(embed_links=True, attach_files=True, mention_everyone=True).value
"""Discord's documentation of `app_permissions`: in direct messages between other users always these …"""
BOT_DM_PERMISSIONS = DIRECT_PERMISSIONS | discord.Permissions.use_external_emojis.flag
"""… and in those with the app's bot also this."""
_REASONS = {
    "context": "can't be used here",
    "scope": "can't be used here",
    "use-application-commands": "needs the permission to use commands here",
    "channel-denied": "is switched off in this channel",
    "override-denied": "is switched off for you",
    "default-member-permissions": "needs permissions that you don't have",
}


def context_of(world: World, channel_id: int) -> int:
    """The interaction context type of a channel."""
    if world.recipients(channel_id) is None:
        return GUILD_CONTEXT
    return PRIVATE_CONTEXT if channel_id in world.private_channels else BOT_DM_CONTEXT


def integration_owners(world: World, channel_id: int, user_id: int) -> dict[str, str]:
    """`authorizing_integration_owners`: "GUILD_INSTALL (0) … the guild ID … or "0" in a DM with the app's bot user;
    USER_INSTALL (1) … the user ID"."""
    context = context_of(world, channel_id)
    if context == PRIVATE_CONTEXT:
        return {str(USER_INSTALL): str(user_id)}
    return {str(GUILD_INSTALL): str(world.guild.id) if context == GUILD_CONTEXT else "0"}


def app_permissions(world: World, channel_id: int) -> int:
    """What the bot may do where the interaction comes from."""
    context = context_of(world, channel_id)
    if context == GUILD_CONTEXT:
        return world.permissions_in(world.bot_user.id, channel_id)
    return BOT_DM_PERMISSIONS if context == BOT_DM_CONTEXT else DIRECT_PERMISSIONS


def visible(world: World, channel_id: int, user_id: int) -> bool:
    """Whether a member sees this channel at all."""
    if channel_id in world.private_channels:
        return user_id in world.channels[channel_id].recipient_ids
    return channel_accessible(world, channel_id, user_id)


def usable_commands(
    world: World, kind: AppCommandType, *, user_id: int, channel_id: int | None
) -> list[dict[str, Any]]:
    """The commands of this kind that a member may use in a channel; all of them without a channel."""
    found = [
        c for scope in (world.guild.id, None) for c in world.commands.get(scope, {}).values() if c["type"] == kind
    ]
    if channel_id is None:
        return found
    return [command for command in found if not refusal(world, command, user_id=user_id, channel_id=channel_id)]


def refusal(world: World, command: dict[str, Any], *, user_id: int, channel_id: int) -> str | None:
    """Why this member may not use this command in this channel, as the rest of a sentence; None: they may."""
    context = context_of(world, channel_id)
    installs = command.get("integration_types") or [GUILD_INSTALL]
    if context == PRIVATE_CONTEXT:
        contexts = command.get("contexts")
        there = contexts is None or PRIVATE_CONTEXT in contexts
        usable = there and USER_INSTALL in installs and "guild_id" not in command
        return None if usable else _REASONS["context"]
    if GUILD_INSTALL not in installs:
        return "is not installed in this server"
    access = command_access(world, command, user_id=user_id, channel_id=channel_id)
    if not access.allowed:
        return _REASONS[access.reason or "context"]
    if command.get("nsfw") and context == GUILD_CONTEXT and not world.channel(channel_id)["nsfw"]:
        return "can only be used in an age-restricted channel"
    return None
