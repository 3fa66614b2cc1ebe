"""The link that brings the bot into a server, with exactly the permissions that it uses."""

import discord

# What each is for: see the channel; post and edit pictures, there and in threads; find its own message again
# after a restart.
PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    attach_files=True,
    read_message_history=True,
)


def invite_link(application_id: int) -> str:
    """OAuth2 address with the scopes `bot` and `applications.commands` (Discord: OAuth2, bot authorization flow)."""
    return discord.utils.oauth_url(application_id, permissions=PERMISSIONS, scopes=("bot", "applications.commands"))
