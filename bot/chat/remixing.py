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
from bot.chat.discord_errors import short
from bot.chat.remix_form import RemixForm, Typed, request_of, values_in
from bot.chat.requests import basis_of, basis_of_any
from bot.chat.sources import basis_of_file, header_of
from bot.chat.starts import Start, download, pictures_in, shown_in, start_of
from bot.chat.wording import remixing as words
from bot.errors import NotDownloaded, UserError
from bot.job import JobKind, Origin

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

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


class SeenPictures:
    """The pictures of other people's messages, as a message command showed them: the latest few hundred.

    Without the message-content intent Discord shows them there only.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[int, Sequence[discord.Attachment]] = OrderedDict()

    def keep(self, message_id: int, pictures: Sequence[discord.Attachment]) -> None:
        self._seen[message_id] = pictures
        self._seen.move_to_end(message_id)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def of(self, message_id: int) -> Sequence[discord.Attachment]:
        return self._seen.get(message_id, ())


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
    studio = interaction.client.studio
    picture = await chosen(interaction, job_id, index)
    await allowed_to_remix(studio, picture.job.member_id, interaction.user.id, interaction.guild_id)
    shown = {image.index for image in picture.together}
    if message is not None:
        shown = shown_in(message, picture.job) & shown or shown
    choices = [(number, words.picture_number(number)) for number in sorted(shown | {index})]
    basis = basis_of(picture.job, picture.image, _defaults(interaction))
    return RemixForm(f"atelier:remix:{job_id}:{index}", basis, choices, selected=index)


async def _form_of_any(interaction: discord.Interaction[AtelierClient], message: discord.Message) -> RemixForm:
    studio = interaction.client.studio
    ours = await studio.of_message(message.id)
    if ours is not None and ours[1]:
        job, images = ours
        first = min(shown_in(message, job), default=images[0].index)
        return await _form_of_ours(interaction, job.id, first, message)
    pictures = pictures_in(message)[:MOST_PICTURES]
    if not pictures or ours is not None:  # of ours there is a preview at most
        raise UserError(words.NO_PICTURE_THERE)
    await allowed_to_remix(studio, message.author.id, interaction.user.id, interaction.guild_id)
    interaction.client.seen_pictures.keep(message.id, pictures)
    custom_id = f"atelier:remix-of:{message.channel.id}:{message.id}"
    choices = [(number, words.picture_number(number)) for number in range(len(pictures))]
    return RemixForm(custom_id, basis_of_any(_defaults(interaction)), choices, selected=0)


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
    basis = basis_of(opened.job, opened.image, _defaults(interaction))
    request = request_of(typed, basis, "start", seed=new_seed())
    picture = opened if typed.number in (None, index) else await chosen(interaction, job_id, typed.number)
    await allowed_to_remix(client.studio, picture.job.member_id, interaction.user.id, interaction.guild_id)
    return request, await start_of(client, picture.job, picture.image, interaction.message)


async def _from_any(
    interaction: discord.Interaction[AtelierClient], typed: Typed, channel_id: int, message_id: int
) -> tuple[ImageRequest, Start]:
    client, number = interaction.client, typed.number or 0
    if channel_id != interaction.channel_id:  # forged: Discord shows messages of this channel only
        raise UserError(words.REMIX_ELSEWHERE)
    basis, seed = basis_of_any(_defaults(interaction)), new_seed()
    request_of(typed, basis, "start", seed=seed)  # refuses what is wrong before anything is downloaded

    data = await _downloaded(client, channel_id, message_id, number)
    found = basis_of_file(await asyncio.to_thread(header_of, data), client.studio.status().worker.model)
    basis = dataclasses.replace(basis, prompt=found.prompt, size=found.size)
    origin = Origin(None, number, interaction.guild_id, channel_id, message_id)
    request = request_of(typed, basis, "start", seed=seed)
    return request, Start(data=data, foreign=True, origin=origin)


async def _downloaded(client: AtelierClient, channel_id: int, message_id: int, number: int) -> bytes:
    pictures = client.seen_pictures.of(message_id) or await _fetched(client, channel_id, message_id)
    if number >= len(pictures):
        raise UserError(words.REMIX_ELSEWHERE)
    picture = pictures[number]

    async def fresh() -> discord.Attachment | None:
        again = await _fetched(client, channel_id, message_id)
        return next((one for one in again if one.id == picture.id), None)

    try:
        return await download(picture, refresh=fresh)
    except NotDownloaded as error:
        raise UserError(words.REMIX_ELSEWHERE) from error


async def _fetched(client: AtelierClient, channel_id: int, message_id: int) -> Sequence[discord.Attachment]:
    """Empty where Discord doesn't show them to the bot."""
    try:
        message = await client.get_partial_messageable(channel_id).fetch_message(message_id)
    except discord.HTTPException as error:
        log.info("a message to be remixed can't be read: %s", short(error))
        return ()
    return pictures_in(message)


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
