"""What `/concepts` does: each a short answer that only its member sees."""

from __future__ import annotations

import asyncio
import io
import logging
from typing import TYPE_CHECKING, Any, Final, Self, cast

import aiohttp
import discord

from bot.chat.answers import acknowledge_later, answer, answering, change, change_later, in_time
from bot.chat.attachments import DEFAULT_FILE_LIMIT
from bot.chat.commands.server import server_of
from bot.chat.discord_errors import short
from bot.chat.wording import concepts as words
from bot.errors import ConceptFileGone, ConceptUnknown, NotShareable, UserError
from training.names import concept_name

if TYPE_CHECKING:
    import re

    from bot.chat.client import AtelierClient
    from bot.concepts import Concept
    from generation.request import ModelInfo

log = logging.getLogger(__name__)

_ROOM: Final = 64 * 1024
"""Bytes of a request beside its file."""


def loaded(interaction: discord.Interaction[AtelierClient]) -> ModelInfo | None:
    return interaction.client.studio.status().worker.model


# ── looking ──


async def list_all(interaction: discord.Interaction[AtelierClient]) -> None:
    client, member_id = interaction.client, interaction.user.id
    usable = await in_time(interaction, client.studio.concepts.usable(member_id, interaction.guild_id))
    own = [concept for concept in usable if concept.owner_id == member_id]
    here = [concept for concept in usable if concept.owner_id != member_id]
    limit = client.settings.concepts_per_member
    text = words.listed(own, here, limit=limit, guild_id=interaction.guild_id, model=loaded(interaction))
    await answer(interaction, text)


async def show(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    """Raises ConceptUnknown, also for what others keep to themselves."""
    member_id, guild_id = interaction.user.id, interaction.guild_id
    await acknowledge_later(interaction)
    concept = await _get(interaction, name)
    text = words.shown(concept, member_id=member_id, guild_id=guild_id, model=loaded(interaction))
    strip = await _strip(interaction, concept)
    if strip is None and concept.version.trained is not None:
        text = f"{text}\n-# {words.STRIP_GONE}"
    await change(interaction, text, files=[] if strip is None else [strip])


async def _strip(interaction: discord.Interaction[AtelierClient], concept: Concept) -> discord.File | None:
    """None: there is none, as for what was imported. It was checked before it was kept."""
    path = interaction.client.studio.concepts.strip(concept.version)
    try:
        data = await asyncio.to_thread(path.read_bytes)
    except OSError:
        return None
    if len(data) > (interaction.filesize_limit or DEFAULT_FILE_LIMIT):
        return None
    return _file(data, f"{concept.name}-samples.png", words.strip_alt_text(concept))


def _file(data: bytes, filename: str, description: str | None = None) -> discord.File:
    return discord.File(io.BytesIO(data), filename=filename, description=description)


async def _get(interaction: discord.Interaction[AtelierClient], name: str) -> Concept:
    """What `<name>` stands for here, for this member. Raises ConceptUnknown, InvalidRequest."""
    concepts = interaction.client.studio.concepts
    return await concepts.get(interaction.user.id, interaction.guild_id, concept_name(name))


async def _own(interaction: discord.Interaction[AtelierClient], name: str) -> Concept:
    """Raises ConceptUnknown, InvalidRequest."""
    wanted = concept_name(name)
    for concept in await interaction.client.studio.concepts.own(interaction.user.id):
        if concept.name == wanted:
            return concept
    raise ConceptUnknown(name=wanted)


# ── sharing and naming ──


async def share(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    """Raises ConceptUnknown, ConceptNameTaken, UserError."""
    guild_id = _server(interaction)
    concept = await in_time(interaction, _own(interaction, name))
    sharing = interaction.client.studio.concepts.share(interaction.user.id, guild_id, concept.name)
    await in_time(interaction, sharing)
    await answer(interaction, words.shared(concept.name, person=concept.depicts.is_person))


async def unshare(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    wanted, guild_id = concept_name(name), _server(interaction)
    await in_time(interaction, interaction.client.studio.concepts.unshare(interaction.user.id, guild_id, wanted))
    await answer(interaction, words.unshared(wanted))


def _server(interaction: discord.Interaction[AtelierClient]) -> int:
    if interaction.guild_id is None:
        raise NotShareable
    return interaction.guild_id


async def rename(interaction: discord.Interaction[AtelierClient], name: str, new_name: str) -> None:
    old, new = concept_name(name), concept_name(new_name)
    await in_time(interaction, interaction.client.studio.concepts.rename(interaction.user.id, old, new))
    await answer(interaction, words.renamed(old, new))


# ── deleting ──


async def delete(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    """Asks whether they mean it."""
    concept = await in_time(interaction, _own(interaction, name))
    view = discord.ui.View(timeout=None)
    view.add_item(DeleteConceptButton(concept.id))
    await answer(interaction, words.really_delete(concept), view=view)


class DeleteConceptButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"atelier:concept:delete:(?P<concept>[a-z0-9]{1,20})",
):
    """Names the concept by its id: another may have its name by the time this is pressed."""

    def __init__(self, concept_id: str) -> None:
        self.concept_id = concept_id
        super().__init__(
            discord.ui.Button(
                label=words.DELETE,
                style=discord.ButtonStyle.danger,
                custom_id=f"atelier:concept:delete:{concept_id}",
            )
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(match["concept"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        asked = cast("discord.Interaction[AtelierClient]", interaction)
        async with answering(asked):
            await change_later(asked)
            concepts = asked.client.studio.concepts
            for concept in await concepts.own(asked.user.id):
                if concept.id == self.concept_id:
                    await concepts.delete(asked.user.id, concept.name)
                    return await change(asked, words.deleted(concept.name))
            await change(asked, words.DELETED_ALREADY)


# ── files ──


async def export(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    """The file itself, to its owner only."""
    await acknowledge_later(interaction)
    concept = await _own(interaction, name)
    limit = interaction.filesize_limit or DEFAULT_FILE_LIMIT
    if concept.version.bytes > limit - _ROOM:
        raise UserError(words.too_large_to_export(concept, limit))
    path = await interaction.client.studio.concepts.export(interaction.user.id, concept.name)
    try:
        data = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        log.error("the file of concept %s can't be read: %s", concept.id, error.strerror)
        raise ConceptFileGone(name=concept.name) from error
    await change(interaction, words.exported(concept), files=[_file(data, words.export_name(concept))])


# ── moderators ──


async def take_down(interaction: discord.Interaction[AtelierClient], name: str) -> None:
    """Ends a sharing in this server; its owner is told where that can be done. Raises ConceptUnknown."""
    guild_id, wanted = server_of(interaction), concept_name(name)
    concepts = interaction.client.studio.concepts
    concept = await in_time(interaction, concepts.take_down(guild_id, wanted, by=interaction.user.id))
    log.info("concept %s: a moderator ended its sharing in server %d", concept.id, guild_id)
    told = await in_time(interaction, _tell_owner(interaction, concept))
    await answer(interaction, words.taken_down(concept, told=told))


async def _tell_owner(interaction: discord.Interaction[AtelierClient], concept: Concept) -> bool:
    server = "" if interaction.guild is None else interaction.guild.name
    try:
        owner = await interaction.client.fetch_user(concept.owner_id)
        await owner.send(words.told_owner(concept.name, server))
    except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
        log.info("the owner of concept %s could not be told: %s", concept.id, short(error))
        return False
    return True
