"""/server: what a server's managers decide about remixing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat.answers import answer, answering, in_time
from bot.chat.wording import server as words

if TYPE_CHECKING:
    from discord.abc import Snowflake

    from bot.chat.client import AtelierClient

server = app_commands.Group(
    name="server",
    description="Settings of this server, for those who manage it.",
    allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=False, private_channel=False),
    allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
    default_permissions=discord.Permissions(manage_guild=True),
)


@server.command(name="remix", description="May members make something of other members' pictures?")
@app_commands.describe(allowed="False: only of their own")
async def remix(interaction: discord.Interaction[AtelierClient], allowed: bool) -> None:
    async with answering(interaction):
        guilds = interaction.client.studio.guilds
        await in_time(interaction, guilds.set_remix_others(server_of(interaction), allowed))
        await answer(interaction, words.REMIX_ALLOWED if allowed else words.REMIX_FORBIDDEN)


@server.command(name="studio", description="Is this channel a studio, in which every reply to a picture is a remix?")
@app_commands.describe(here="True: this channel and its threads are a studio")
async def studio(interaction: discord.Interaction[AtelierClient], here: bool) -> None:
    async with answering(interaction):
        guilds = interaction.client.studio.guilds
        channel_id = studio_channel_of(interaction.channel)
        await in_time(interaction, guilds.set_studio_channel(server_of(interaction), channel_id, here))
        await answer(interaction, words.studio(here, reads_all=interaction.client.intents.message_content))


@server.command(name="show", description="What is decided for this server.")
async def show(interaction: discord.Interaction[AtelierClient]) -> None:
    async with answering(interaction):
        settings = await in_time(interaction, interaction.client.studio.guilds.settings(server_of(interaction)))
        await answer(interaction, words.settings(settings.remix_others, settings.studio_channels))


def studio_channel_of(channel: Snowflake | None) -> int:
    """The id under which a channel is marked: a thread counts as its channel."""
    if isinstance(channel, discord.Thread):
        return channel.parent_id
    assert channel is not None, "commands of servers and messages have a channel"
    return channel.id


def server_of(interaction: discord.Interaction[AtelierClient]) -> int:
    """Its id. Who may use the command is Discord's to check: its managers may allow others, too."""
    assert interaction.guild_id is not None, "the command is for servers"
    return interaction.guild_id
