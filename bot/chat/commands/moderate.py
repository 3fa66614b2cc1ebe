"""/moderate: who may not ask for pictures in this server, and what is not shared there any more. Discord shows it to
those who may time out members."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat import concepts
from bot.chat.answers import answer, answering, in_time
from bot.chat.commands.concepts import choices
from bot.chat.commands.server import server_of
from bot.chat.concept_names import fitting
from bot.chat.wording import members as words
from bot.errors import UserError
from bot.members import REASON_LENGTH

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient

moderate = app_commands.Group(
    name="moderate",
    description="Who may not ask for pictures in this server, and which concepts are not shared here.",
    allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=False, private_channel=False),
    allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
    default_permissions=discord.Permissions(moderate_members=True),
)


@moderate.command(name="block", description="A member can't ask for pictures in this server any more.")
@app_commands.describe(member="Whom", reason="For the other moderators; the member does not see it")
async def block(
    interaction: discord.Interaction[AtelierClient],
    member: discord.User,
    reason: app_commands.Range[str, 0, REASON_LENGTH] = "",
) -> None:
    async with answering(interaction):
        if interaction.client.user is not None and member.id == interaction.client.user.id:
            raise UserError(words.NOT_THE_BOT)
        if member.id == interaction.user.id:
            raise UserError(words.NOT_YOURSELF)
        blocking = interaction.client.studio.members.block(
            server_of(interaction), member.id, by=interaction.user.id, reason=reason
        )
        await answer(interaction, words.blocked(member.id, await in_time(interaction, blocking)))


@moderate.command(name="unblock", description="A blocked member may ask for pictures again.")
@app_commands.describe(member="Whom")
async def unblock(interaction: discord.Interaction[AtelierClient], member: discord.User) -> None:
    async with answering(interaction):
        members = interaction.client.studio.members
        was_blocked = await in_time(interaction, members.unblock(server_of(interaction), member.id))
        await answer(interaction, words.unblocked(member.id) if was_blocked else words.NOT_BLOCKED)


@moderate.command(name="blocked", description="Who is blocked in this server, by whom and why.")
async def blocked(interaction: discord.Interaction[AtelierClient]) -> None:
    async with answering(interaction):
        found = await in_time(interaction, interaction.client.studio.members.blocked(server_of(interaction)))
        await answer(interaction, words.blocks(found))


@moderate.command(name="takedown", description="A concept is not shared in this server any more.")
@app_commands.describe(name="Which one")
async def takedown(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    async with answering(interaction):
        await concepts.take_down(interaction, name)


@takedown.autocomplete("name")
async def _shared(  # pyright: ignore[reportUnusedFunction]  (the decorator uses it)
    interaction: discord.Interaction[AtelierClient], current: str
) -> list[app_commands.Choice[str]]:
    here = await interaction.client.studio.concepts.shared(server_of(interaction))
    return choices(fitting(current, (one.name for one in here)))
