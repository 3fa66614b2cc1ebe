"""`/concepts import`: a form for the file and what is agreed to, as `/train` has one for photos.

What the command said is in the form's custom id, `atelier:import:{consent}:{name}:{class}`, so that a form that
was opened before a restart works after it. It has 99 characters at most, of the 100 that Discord allows.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Self, cast

import discord

from bot.chat.answers import acknowledge_later, answer, answering, open_form
from bot.chat.concepts import loaded
from bot.chat.remixing import OPEN_SECONDS
from bot.chat.starts import download
from bot.chat.training import refuse_children, uploaded
from bot.chat.training_form import depicts_field, fields_of
from bot.chat.wording import concepts as words
from bot.chat.wording import remixing as form_words
from bot.chat.wording import training as training_words
from bot.errors import NotDownloaded, UserError
from training.names import class_word, concept_name
from training.order import Depicts

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient

FILE_BYTES: Final = 256 * 1024 * 1024
"""A LoRA of rank 128 for the largest models; it is in memory while it is read."""
_FORM: Final = re.compile(r"atelier:import:(\d{4}-\d\d-\d\d):([^:]{1,32}):([^:]{1,40})")


class ImportForm(discord.ui.Modal):
    def __init__(self, name: str, kind: str) -> None:
        super().__init__(
            title=words.import_title(name),
            custom_id=f"atelier:import:{words.IMPORT_CONSENT_VERSION.removeprefix('import-')}:{name}:{kind}",
        )
        file: discord.ui.FileUpload[Self] = discord.ui.FileUpload(custom_id="file", min_values=1, max_values=1)
        self.add_item(discord.ui.Label(text=words.IMPORT_FILE, description=words.IMPORT_HINT, component=file))
        self.add_item(depicts_field())
        self.add_item(discord.ui.TextDisplay(words.IMPORT_CONSENT))
        option = discord.CheckboxGroupOption(label=words.IMPORT_AGREE, value="yes")
        agree = discord.ui.CheckboxGroup[Self](custom_id="agree", min_values=1, max_values=1, options=[option])
        self.add_item(discord.ui.Label(text=training_words.AGREE_LABEL, component=agree))


async def begin(interaction: discord.Interaction[AtelierClient], *, name: str, class_: str) -> None:
    """Opens the form. Raises InvalidRequest, UserError, RegistryTrouble."""
    kind = class_word(class_)
    refuse_children(kind)
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await interaction.client.studio.concepts.may_import(interaction.user.id, name)
    except TimeoutError as error:
        raise UserError(form_words.FORM_TOO_LATE) from error
    await open_form(interaction, ImportForm(concept_name(name), kind))


async def submitted(interaction: discord.Interaction[AtelierClient]) -> None:
    """Called for every interaction; does something for a form of ours."""
    if interaction.type is not discord.InteractionType.modal_submit:
        return
    data = cast("dict[str, Any]", interaction.data)
    form = _FORM.fullmatch(str(data["custom_id"]))
    if form is None:
        return
    async with answering(interaction):
        if f"import-{form[1]}" != words.IMPORT_CONSENT_VERSION:
            raise UserError(words.IMPORT_CHANGED)
        fields = fields_of(data["components"])
        await _import(interaction, concept_name(form[2]), class_word(form[3]), fields)


async def _import(
    interaction: discord.Interaction[AtelierClient], name: str, kind: str, fields: dict[str, list[str]]
) -> None:
    refuse_children(kind)
    depicts, files = fields.get("depicts", []), fields.get("file", [])
    if fields.get("agree") != ["yes"] or len(files) != 1 or len(depicts) != 1 or depicts[0] not in set(Depicts):
        raise UserError(words.IMPORT_NOT_AGREED)
    attachment = uploaded(interaction, files[0])
    if not attachment.filename.lower().endswith(".safetensors"):
        raise UserError(words.ONLY_SAFETENSORS)
    if attachment.size > FILE_BYTES:
        raise UserError(words.too_large_file(attachment.size, FILE_BYTES))
    await acknowledge_later(interaction)
    try:
        await _keep(interaction, attachment, name, kind, Depicts(depicts[0]))
    except NotDownloaded as error:
        raise UserError(words.IMPORT_NOT_DOWNLOADED) from error


async def _keep(
    interaction: discord.Interaction[AtelierClient],
    attachment: discord.Attachment,
    name: str,
    kind: str,
    depicts: Depicts,
) -> None:
    async with interaction.client.drafts.turn:  # one member's files at a time are in memory
        concept = await interaction.client.studio.concepts.import_file(
            member_id=interaction.user.id,
            guild_id=interaction.guild_id,
            name=name,
            class_word=kind,
            depicts=depicts,
            consent=words.IMPORT_CONSENT_VERSION,
            data=await download(attachment, limit=FILE_BYTES),
        )
    await answer(interaction, words.imported(concept, loaded(interaction)))
