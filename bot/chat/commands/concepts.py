"""/concepts: a member's trained words, and those which others share in this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat import concept_import
from bot.chat import concepts as actions
from bot.chat.answers import answering
from bot.chat.concept_names import MOST_CHOICES, fitting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bot.chat.client import AtelierClient
    from bot.concepts import Concept

concepts = app_commands.Group(name="concepts", description="Your own trained words, and those shared here.")


@concepts.command(name="list", description="Your concepts, and those which others share in this server.")
async def list_all(interaction: discord.Interaction[AtelierClient]) -> None:
    async with answering(interaction):
        await actions.list_all(interaction)


@concepts.command(name="show", description="One concept: samples, how well it learned, who can use it.")
@app_commands.describe(name="Which one")
async def show(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    async with answering(interaction):
        await actions.show(interaction, name)


@concepts.command(name="share", description="Everybody in this server can use one of your concepts.")
@app_commands.describe(name="Which one")
async def share(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    async with answering(interaction):
        await actions.share(interaction, name)


@concepts.command(name="unshare", description="Only you can use it again.")
@app_commands.describe(name="Which one")
async def unshare(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    async with answering(interaction):
        await actions.unshare(interaction, name)


@concepts.command(name="rename", description="Another name for one of your concepts.")
@app_commands.describe(name="Which one", new_name="1 to 32 letters a to z, digits and hyphens")
async def rename(interaction: discord.Interaction[AtelierClient], name: str, new_name: str) -> None:
    async with answering(interaction):
        await actions.rename(interaction, name, new_name)


@concepts.command(name="delete", description="Remove one of your concepts for good; I ask once more.")
@app_commands.describe(name="Which one")
async def delete(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    async with answering(interaction):
        await actions.delete(interaction, name)


@concepts.command(name="export", description="The file of one of your concepts, for other programs too.")
@app_commands.describe(name="Which one")
async def export(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    async with answering(interaction):
        await actions.export(interaction, name)


@concepts.command(name="import", description="A concept that you have as a .safetensors file; a form opens.")
@app_commands.rename(class_="class")
@app_commands.describe(
    name="The word for it in prompts: letters a to z, digits and hyphens", class_="What it is: dog, teddy bear"
)
async def import_(interaction: discord.Interaction[AtelierClient], name: str, class_: str) -> None:
    async with answering(interaction):
        await concept_import.begin(interaction, name=name, class_=class_)


# ── names while they are typed ──


def choices(offered: Iterable[str]) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=name, value=name) for name in offered][:MOST_CHOICES]


async def usable_names(interaction: discord.Interaction[AtelierClient]) -> tuple[list[str], list[str]]:
    """Own ones, and those that others share here."""
    return _by_owner(interaction, await _all_usable(interaction))


async def drawable_names(interaction: discord.Interaction[AtelierClient]) -> tuple[list[str], list[str]]:
    """`usable_names` but for those that were made for another model than the one that is loaded."""
    model = actions.loaded(interaction)
    usable = await _all_usable(interaction)
    return _by_owner(interaction, [one for one in usable if one.version.fits(None if model is None else model.hash)])


async def _all_usable(interaction: discord.Interaction[AtelierClient]) -> Sequence[Concept]:
    return await interaction.client.studio.concepts.usable(interaction.user.id, interaction.guild_id)


def _by_owner(
    interaction: discord.Interaction[AtelierClient], concepts: Sequence[Concept]
) -> tuple[list[str], list[str]]:
    own = [one.name for one in concepts if one.owner_id == interaction.user.id]
    return own, [one.name for one in concepts if one.owner_id != interaction.user.id]


async def own_concepts(interaction: discord.Interaction[AtelierClient]) -> Sequence[Concept]:
    return await interaction.client.studio.concepts.own(interaction.user.id)


@show.autocomplete("name")
async def _usable(  # pyright: ignore[reportUnusedFunction]  (the decorator uses it)
    interaction: discord.Interaction[AtelierClient], current: str
) -> list[app_commands.Choice[str]]:
    return choices(fitting(current, *await usable_names(interaction)))


@rename.autocomplete("name")
@delete.autocomplete("name")
@export.autocomplete("name")
async def _own(  # pyright: ignore[reportUnusedFunction]  (the decorators use it)
    interaction: discord.Interaction[AtelierClient], current: str
) -> list[app_commands.Choice[str]]:
    return choices(fitting(current, (one.name for one in await own_concepts(interaction))))


@share.autocomplete("name")
async def _not_shared(  # pyright: ignore[reportUnusedFunction]  (the decorator uses it)
    interaction: discord.Interaction[AtelierClient], current: str
) -> list[app_commands.Choice[str]]:
    own = await own_concepts(interaction)
    return choices(fitting(current, (one.name for one in own if interaction.guild_id not in one.shared_in)))


@unshare.autocomplete("name")
async def _shared(  # pyright: ignore[reportUnusedFunction]  (the decorator uses it)
    interaction: discord.Interaction[AtelierClient], current: str
) -> list[app_commands.Choice[str]]:
    own = await own_concepts(interaction)
    return choices(fitting(current, (one.name for one in own if interaction.guild_id in one.shared_in)))
