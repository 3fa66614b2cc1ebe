"""`/train`, from the command to the queue: the form, its photos, what is said of them, and the training.

Photos come only with the form: by the ids that Discord names in its interaction. They are downloaded one after
another, cleaned by a process of its own, and lie in a draft until their training has a copy.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any, Final, cast

import discord

from bot.chat.answers import acknowledge_later, answer, answering, change, change_later, open_form
from bot.chat.asking import channel_of, publish
from bot.chat.remixing import OPEN_SECONDS
from bot.chat.starts import download
from bot.chat.training_buttons import draft_controls
from bot.chat.training_drafts import Draft
from bot.chat.training_form import Asked, Sent, TrainForm
from bot.chat.wording import remixing as form_words
from bot.chat.wording import training as words
from bot.errors import NotDownloaded, UserError
from bot.photo_check import check_photos
from training.names import class_word, concept_name
from training.photos import PhotoStatus, PhotoVerdict, too_few, too_large

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient
    from bot.outlook import Submitted
    from training.order import Depicts, Method

log = logging.getLogger(__name__)

FORM_BYTES: Final = 100 * 1024 * 1024
"""Of all photos of a form together: they are in memory at the same time."""
_CHILDREN: Final = frozenset(
    {"baby", "boy", "boys", "child", "children", "girl", "girls", "infant", "kid", "kids", "minor", "newborn"}
    | {"preteen", "schoolboy", "schoolgirl", "teen", "teenager", "toddler", "babies", "infants", "minors", "newborns"}
    | {"preteens", "schoolboys", "schoolgirls", "schoolchildren", "teenagers", "teens", "toddlers"}
)
_JOINED: Final = re.compile(r" (?:and|at|by|from|in|of|on|with) ")
"""Between two things of a class word: each is named by its last word."""
_QUESTIONABLE: Final = (PhotoStatus.WARNED, PhotoStatus.REJECTED)


# ── the command ──


async def begin(interaction: discord.Interaction[AtelierClient], *, name: str, class_: str, method: Method) -> None:
    """Opens the form where a training could be asked for. Raises UserError, InvalidRequest, RegistryTrouble."""
    asked = Asked(method, concept_name(name), class_word(class_))
    refuse_children(asked.class_word)
    if not _may_post(interaction):
        raise UserError(words.CANNOT_POST)
    picture_side(interaction)
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await interaction.client.studio.may_train(
                asked.name, member_id=interaction.user.id, guild_id=interaction.guild_id
            )
    except TimeoutError as error:
        raise UserError(form_words.FORM_TOO_LATE) from error
    await open_form(interaction, TrainForm(asked))


def refuse_children(word: str) -> None:
    """`word`: a class word. Raises UserError; what is meant otherwise is said in another word."""
    if any(thing.rsplit(maxsplit=1)[-1] in _CHILDREN for thing in _JOINED.split(word)):
        raise UserError(words.NO_CHILDREN)


def _may_post(interaction: discord.Interaction[AtelierClient]) -> bool:
    """A training outlives the interaction, so its message must be one of the channel's."""
    alone = interaction.is_user_integration() and not interaction.is_guild_integration()
    if interaction.guild_id is not None and alone:  # it came with the member: the server doesn't have the bot
        return False
    return interaction.client.delivery.may_send(interaction)


def picture_side(interaction: discord.Interaction[AtelierClient]) -> int:
    """Pixels of the squares that the loaded model learns from. Raises UserError before it is loaded."""
    model = interaction.client.studio.status().worker.model
    if model is None:
        raise UserError(words.LOADING)
    return model.defaults.width


# ── the form comes back ──


async def submitted(interaction: discord.Interaction[AtelierClient]) -> None:
    """Called for every interaction; does something for a form of ours."""
    if interaction.type is not discord.InteractionType.modal_submit:
        return
    data = cast("dict[str, Any]", interaction.data)
    custom_id = str(data["custom_id"])
    if not custom_id.startswith("atelier:train:"):
        return
    async with answering(interaction):
        asked = Asked.of(custom_id)
        if asked is None or asked.consent != words.CONSENT_VERSION:
            raise UserError(words.CONSENT_CHANGED)
        refuse_children(asked.class_word)
        sent = Sent.of(data["components"])
        drafts = interaction.client.drafts
        with drafts.looking_at(interaction.user.id) as alone:
            if not alone:
                raise UserError(words.STILL_LOOKING)
            await acknowledge_later(interaction)
            await _look(interaction, asked, sent)


async def _look(interaction: discord.Interaction[AtelierClient], asked: Asked, sent: Sent) -> None:
    """Photos first; the training only where nothing is left to be asked."""
    drafts, member_id = interaction.client.drafts, interaction.user.id
    waits = False
    try:
        async with drafts.turn:
            verdicts = await _verdicts(interaction, sent)
        draft = _draft(interaction, asked, sent.depicts, verdicts)
        refusal = too_few(verdicts)
        if refusal is not None:
            await answer(interaction, words.verdicts(verdicts, refusal))
        elif any(verdict.status in _QUESTIONABLE for verdict in verdicts):
            await drafts.keep(draft)
            waits = True
            question = words.really_train(draft.name, len(draft.photos))
            await answer(interaction, words.verdicts(verdicts, question), view=draft_controls(draft.form))
        else:
            await drafts.keep(draft)
            made = await _train(interaction, draft.form)
            said = words.verdicts(verdicts, words.acknowledged(made.place))
            await publish(interaction, made, answer(interaction, said))
    finally:
        if not waits:
            await drafts.drop(member_id, interaction.id)


async def _verdicts(interaction: discord.Interaction[AtelierClient], sent: Sent) -> list[PhotoVerdict]:
    """In the order of the form. Those that are too large are not downloaded. Raises UserError, NotDownloaded."""
    attachments = [uploaded(interaction, photo) for photo in sent.photos]
    verdicts = [too_large(attachment.filename, attachment.size) for attachment in attachments]
    wanted = [one for one, verdict in zip(attachments, verdicts, strict=True) if verdict is None]
    together = sum(attachment.size for attachment in wanted)
    if together > FORM_BYTES:
        raise UserError(words.too_many_bytes(together, FORM_BYTES))
    try:
        files = [(attachment.filename, await download(attachment)) for attachment in wanted]
    except NotDownloaded as error:
        raise UserError(words.NOT_DOWNLOADED) from error
    folder = await interaction.client.drafts.open(interaction.user.id, interaction.id)
    checked = iter(await check_photos(files, folder, side=picture_side(interaction)))
    return [next(checked) if verdict is None else verdict for verdict in verdicts]


def uploaded(interaction: discord.Interaction[AtelierClient], file: str) -> discord.Attachment:
    """One that came with this form, by its id there. Raises NotDownloaded where Discord names none."""
    data = cast("dict[str, Any]", interaction.data)
    payload = data.get("resolved", {}).get("attachments", {}).get(file)
    if payload is None:
        raise NotDownloaded
    # discord.py makes these itself only for forms that it keeps in memory.
    return discord.Attachment(data=payload, state=interaction._state)  # pyright: ignore[reportPrivateUsage]


def _draft(
    interaction: discord.Interaction[AtelierClient], asked: Asked, depicts: Depicts, verdicts: list[PhotoVerdict]
) -> Draft:
    return Draft(
        form=interaction.id,
        member_id=interaction.user.id,
        method=asked.method,
        name=asked.name,
        class_word=asked.class_word,
        depicts=depicts,
        consent=asked.consent,
        photos=[verdict.path.name for verdict in verdicts if verdict.path is not None],
    )


async def _train(interaction: discord.Interaction[AtelierClient], form: int) -> Submitted:
    """Raises UserError: the draft is gone, or what `Studio.train` raises."""
    client, member_id = interaction.client, interaction.user.id
    kept = await client.drafts.read(member_id, form)
    if kept is None:
        raise UserError(words.DRAFT_GONE)
    draft, photos = kept
    return await client.studio.train(
        method=draft.method,
        name=draft.name,
        class_word=draft.class_word,
        depicts=draft.depicts,
        photos=photos,
        consent=draft.consent,
        member_id=member_id,
        guild_id=interaction.guild_id,
        channel_id=channel_of(interaction),
        interaction_id=draft.form,
        file_limit=interaction.filesize_limit,
    )


# ── the buttons under what is said of the photos ──


async def start(interaction: discord.Interaction[AtelierClient], form: int) -> None:
    """The member's yes. Where it can't be trained now, the photos wait on."""
    await change_later(interaction)
    made = await _train(interaction, form)
    await interaction.client.drafts.drop(interaction.user.id, form)
    await publish(interaction, made, change(interaction, words.acknowledged(made.place)))


async def discard(interaction: discord.Interaction[AtelierClient], form: int) -> None:
    await change_later(interaction)
    await interaction.client.drafts.drop(interaction.user.id, form)
    await change(interaction, words.DISCARDED)
