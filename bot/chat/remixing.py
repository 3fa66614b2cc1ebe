"""*Remix*: the form is opened, and what comes back becomes a job.

What a form is about is in its custom id, `atelier:remix:{job}:{index}` or, for a message that isn't ours,
`atelier:remix-of:{channel}:{message}`. So one that was opened before a restart works after it, and discord.py keeps
nothing about it in memory.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import logging
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, cast

import discord

from bot.chat import wording
from bot.chat.answers import answer, in_time, open_form, sentence_for
from bot.chat.asking import allowed_to_remix, ask, chosen, new_seed
from bot.chat.concept_names import Asker, usable_words
from bot.chat.discord_errors import is_passing, short
from bot.chat.explicit import is_withheld_in
from bot.chat.remix_form import RemixForm, Typed, request_of, values_in
from bot.chat.requests import Basis, basis_of, basis_of_any
from bot.chat.sources import Source, source_of, start_from
from bot.chat.starts import Start, shown_in, start_of
from bot.chat.wording import remixing as words
from bot.errors import NotDownloaded, UserError
from bot.job import JobKind

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from discord.types.interactions import ModalSubmitInteractionData

    from bot.chat.client import AtelierClient
    from generation.request import ImageRequest, ModelDefaults

log = logging.getLogger(__name__)

OPEN_SECONDS: Final = 2.0
"""Opening a form is the first answer to an interaction, which Discord waits 3 s for."""
MOST_PICTURES: Final = 10
"""As many as a message of Discord's can have."""
_REMEMBERED: Final = 500
_OURS: Final = re.compile(r"atelier:remix:([a-z0-9]{1,20}):(\d{1,2})")
_OTHER: Final = re.compile(r"atelier:remix-of:(\d{1,20}):(\d{1,20})")


class SeenMessages:
    """Messages with pictures, as a message command showed them: the latest few hundred.

    Without the message-content intent Discord shows the pictures of other people there only.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[int, int], discord.Message] = OrderedDict()

    def keep(self, message: discord.Message) -> None:
        key = message.channel.id, message.id
        self._seen[key] = message
        self._seen.move_to_end(key)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def get(self, channel_id: int, message_id: int) -> discord.Message | None:
        return self._seen.get((channel_id, message_id))


# ── opening it ──


async def remix(interaction: discord.Interaction[AtelierClient], job_id: str, index: int) -> None:
    """Opens the form for a picture of ours."""
    await _open_within(interaction, _form_of_ours(interaction, job_id, index, interaction.message))


async def remix_message(interaction: discord.Interaction[AtelierClient], message: discord.Message) -> None:
    """Opens the form for a picture in any message."""
    await _open_within(interaction, _form_of_any(interaction, message))


async def _open_within(
    interaction: discord.Interaction[AtelierClient], making: Coroutine[Any, Any, RemixForm]
) -> None:
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            form = await making
    except TimeoutError as error:
        raise UserError(words.FORM_TOO_LATE) from error
    await open_form(interaction, form)


async def _form_of_ours(
    interaction: discord.Interaction[AtelierClient], job_id: str, index: int, message: discord.Message | None
) -> RemixForm:
    """`message`: one that shows the picture, perhaps with others of its job."""
    client, picture = interaction.client, await chosen(interaction, job_id, index)
    job = picture.job
    await allowed_to_remix(client.studio, job.member_id, interaction.user.id, interaction.guild_id)
    shown = {image.index for image in picture.together if not is_withheld_in(interaction.channel, client, job, image)}
    if message is not None:
        shown = shown_in(message, job) & shown or shown
    choices = [(number, words.picture_number(number)) for number in sorted(shown | {index})]
    basis = await _own_words(interaction, basis_of(job, picture.image, _defaults(interaction)))
    return RemixForm(f"atelier:remix:{job_id}:{index}", basis, choices, selected=index)


async def _form_of_any(interaction: discord.Interaction[AtelierClient], message: discord.Message) -> RemixForm:
    client = interaction.client
    source = await source_of(client, message)
    if not source.pictures:  # of ours there is a preview at most, or what is shown is withheld here
        raise UserError(words.NO_PICTURE_THERE)
    if source.job is not None and not message.message_snapshots:
        return await _form_of_ours(interaction, source.job.id, source.images[0].index, message)
    await allowed_to_remix(client.studio, source.owner_id, interaction.user.id, interaction.guild_id)
    client.seen_messages.keep(message)
    custom_id = f"atelier:remix-of:{message.channel.id}:{message.id}"
    choices = [(number - 1, words.picture_number(number - 1)) for number in source.numbers[:MOST_PICTURES]]
    basis = await _own_words(interaction, _basis_of_source(interaction, source))
    return RemixForm(custom_id, basis, choices, selected=choices[0][0])


def _basis_of_source(interaction: discord.Interaction[AtelierClient], source: Source) -> Basis:
    """What the form shows: the first picture's, and what is known before anything is downloaded."""
    if source.job is None:
        return basis_of_any(_defaults(interaction))
    return source.basis(interaction.client, None)


async def _own_words(interaction: discord.Interaction[AtelierClient], basis: Basis) -> Basis:
    """As the form shows it to whoever opened it: without others' private concepts."""
    return await usable_words(interaction.client.studio, basis, Asker.of(interaction))


def _defaults(interaction: discord.Interaction[AtelierClient]) -> ModelDefaults | None:
    model = interaction.client.studio.status().worker.model
    return None if model is None else model.defaults


# ── when it comes back ──


async def submitted(interaction: discord.Interaction[AtelierClient]) -> None:
    """Called for every interaction; does something for a form of ours. Whatever goes wrong, the text comes back."""
    if interaction.type is not discord.InteractionType.modal_submit:
        return
    data = cast("ModalSubmitInteractionData", interaction.data)
    custom_id = data["custom_id"]
    ours, other = _OURS.fullmatch(custom_id), _OTHER.fullmatch(custom_id)
    if ours is None and other is None:
        return
    typed = Typed.of(values_in(data["components"]))
    try:
        if ours is not None:
            request, start = await in_time(interaction, _from_ours(interaction, typed, ours[1], int(ours[2])))
        else:
            assert other is not None
            request, start = await in_time(interaction, _from_any(interaction, typed, int(other[1]), int(other[2])))
        await ask(interaction, request, start=start, kind=JobKind.REMIX)
    except Exception as error:  # noqa: BLE001  a member must never meet a traceback, nor type it all again
        await _give_back(interaction, sentence_for(error, f"{interaction.id:x}"), typed.plain())


async def _from_ours(
    interaction: discord.Interaction[AtelierClient], typed: Typed, job_id: str, index: int
) -> tuple[ImageRequest, Start]:
    client = interaction.client
    opened = await chosen(interaction, job_id, index)
    basis = await _own_words(interaction, basis_of(opened.job, opened.image, _defaults(interaction)))
    request = request_of(typed, basis, "start", seed=new_seed())
    picture = opened if typed.number in (None, index) else await chosen(interaction, job_id, typed.number)
    await allowed_to_remix(client.studio, picture.job.member_id, interaction.user.id, interaction.guild_id)
    return request, await start_of(client, picture.job, picture.image, interaction.message, Asker.of(interaction))


async def _from_any(
    interaction: discord.Interaction[AtelierClient], typed: Typed, channel_id: int, message_id: int
) -> tuple[ImageRequest, Start]:
    client = interaction.client
    if channel_id != interaction.channel_id:  # forged: Discord shows messages of this channel only
        raise UserError(words.REMIX_ELSEWHERE)
    seen = client.seen_messages.get(channel_id, message_id) or await _fetched(interaction, message_id)
    source = await source_of(client, seen)
    number = 1 + typed.number if typed.number is not None else next(iter(source.numbers), 0)
    if number not in source.numbers:
        raise UserError(words.REMIX_ELSEWHERE)
    await allowed_to_remix(client.studio, source.owner_id, interaction.user.id, interaction.guild_id)
    basis, seed = await _own_words(interaction, _basis_of_source(interaction, source)), new_seed()
    request_of(typed, basis, "start", seed=seed)  # refuses what is wrong before anything is downloaded
    try:
        start, found = await start_from(client, source, number, Asker.of(interaction))
    except NotDownloaded as error:
        raise UserError(words.REMIX_ELSEWHERE) from error
    if source.job is None:  # the form could not show them
        found = await _own_words(interaction, found)
        basis = dataclasses.replace(basis, prompt=found.prompt, size=found.size)
    return request_of(typed, basis, "start", seed=seed), start


async def _fetched(interaction: discord.Interaction[AtelierClient], message_id: int) -> discord.Message:
    """A message of this channel. Raises UserError where Discord doesn't show it to the bot."""
    assert isinstance(interaction.channel, discord.abc.Messageable), "forms are sent where messages are"
    try:
        return await interaction.channel.fetch_message(message_id)
    except Exception as error:
        if not isinstance(error, discord.HTTPException) and not is_passing(error):
            raise
        log.info("a message to be remixed can't be read: %s", short(error))
        raise UserError(words.REMIX_ELSEWHERE) from error


async def _give_back(interaction: discord.Interaction[AtelierClient], sentence: str, typed: str) -> None:
    """Why it is refused, with what was typed, to copy."""
    if not typed:
        await answer(interaction, sentence)
        return
    text = f"{sentence}\n{words.YOUR_WORDS}\n{words.code_block(typed)}"
    if len(text) <= wording.MESSAGE_LIMIT:
        await answer(interaction, text)
    else:
        file = discord.File(io.BytesIO(typed.encode()), filename="remix.txt")
        await answer(interaction, f"{sentence}\n{words.YOUR_WORDS}", file=file)
