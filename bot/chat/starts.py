"""Where a start image comes from: the disk, else the message that shows it, else it is drawn again."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
import discord
import msgspec

from bot.chat import wording
from bot.chat.buttons import PART_SIZE
from bot.chat.discord_errors import is_passing, short
from bot.chat.requests import redrawn
from bot.chat.wording import remixing as words
from bot.errors import ConceptUnknown, NotDownloaded, UserError
from bot.job import JobKind, Origin
from generation import limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.chat.client import AtelierClient
    from bot.chat.concept_names import Asker
    from bot.job import Job, JobImage
    from generation.request import ImageRequest

log = logging.getLogger(__name__)

DOWNLOAD_SECONDS: Final = 60.0
PAUSES: Final = (0.5, 2.0)
"""Seconds before another try, where a connection broke or Discord's store had trouble."""
_POSTED: Final = re.compile(r"(?:SPOILER_)?atelier-(?P<job>[a-z0-9]+)-(?P<number>\d+)\.\w+")


@dataclass(frozen=True, slots=True)
class Start:
    """A start image: `image`, `data` or `redraw` says which; the others are None."""

    image: str | None = None
    """The path of a picture of ours."""
    data: bytes | None = None
    """Downloaded and not looked at yet."""
    redraw: ImageRequest | None = None
    """What draws it again, since it isn't kept any more."""
    foreign: bool = False
    """It, or one further back in its line, was not drawn here."""
    origin: Origin | None = None
    """None: nothing that could be pointed to."""

    @property
    def path(self) -> str:
        """For a request's `init_image`, which the studio replaces where the picture is not on disk yet."""
        return self.image or "start"


async def start_of(
    client: AtelierClient, job: Job, image: JobImage, message: discord.Message | None, asker: Asker
) -> Start:
    """A finished picture of `job` as a start image. `message`: one that shows it, if there is one in hand; `asker`:
    whose concepts may draw it again.

    Raises UserError: nothing of it is left. RegistryTrouble.
    """
    origin = Origin(job.id, image.index, job.guild_id, job.channel_id, _message_id(job, image))
    if await asyncio.to_thread(image.path.is_file):
        return Start(image=str(image.path), foreign=job.foreign_start, origin=origin)
    data = await _posted(client, job, image, message)
    if data is not None:
        return Start(data=data, foreign=job.foreign_start, origin=origin)
    request = await _redraw(client, job, image, asker)
    return Start(redraw=request, foreign=job.foreign_start, origin=origin)


async def start_again(client: AtelierClient, job: Job, asker: Asker) -> Start | None:
    """The start image that `job` itself had, for the same once more. None: it had none.

    Raises UserError: it is gone, and so is what it was made from. RegistryTrouble.
    """
    path = client.studio.start_image(job)
    if path is None:
        return None
    if await asyncio.to_thread(path.is_file):
        return Start(image=str(path), foreign=job.foreign_start, origin=job.origin)
    if job.origin is None or job.origin.job_id is None:
        raise UserError(words.START_IMAGE_GONE)
    earlier = await client.studio.job(job.origin.job_id)
    images = {image.index: image for image in await client.studio.images(earlier.id)}
    if job.origin.index not in images:
        raise UserError(words.START_IMAGE_GONE)
    return await start_of(client, earlier, images[job.origin.index], None, asker)


async def download(
    attachment: discord.Attachment,
    *,
    limit: int | None = None,
    refresh: Callable[[], Awaitable[discord.Attachment | None]] | None = None,
) -> bytes:
    """Its bytes, at most `limit` (as pictures have). Judged by its size before, never by its name or type.

    `refresh`: gives it with a fresh link, since links expire after about a day.

    Raises NotDownloaded. UserError: it is too large.
    """
    most = limits.IMAGE_BYTES if limit is None else limit
    if attachment.size > most:
        raise UserError(wording.too_large_attachment(attachment.size, most))
    try:
        async with asyncio.timeout(DOWNLOAD_SECONDS):
            return await _read(attachment, refresh)
    except (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
        log.warning("an attachment could not be downloaded: %s", short(error))
        raise NotDownloaded from error


async def _read(
    attachment: discord.Attachment, refresh: Callable[[], Awaitable[discord.Attachment | None]] | None
) -> bytes:
    pauses = list(PAUSES)
    while True:
        try:
            return await attachment.read()
        except (discord.NotFound, discord.Forbidden):
            fresh = None if refresh is None else await refresh()
            if fresh is None or fresh.size > limits.IMAGE_BYTES:
                raise
            attachment, refresh = fresh, None
        except Exception as error:
            if not pauses or not is_passing(error):
                raise
            await asyncio.sleep(pauses.pop(0))


def shown_in(message: discord.Message, job: Job) -> set[int]:
    """Which pictures of a job are in a message, by their file names."""
    names = [_POSTED.fullmatch(attachment.filename) for attachment in files_in(message)]
    return {int(name["number"]) - 1 for name in names if name is not None and name["job"] == job.id}


def files_in(message: discord.Message) -> list[discord.Attachment]:
    """Those of a forwarded message among them."""
    return [*message.attachments, *(file for part in message.message_snapshots for file in part.attachments)]


def pictures_in(message: discord.Message) -> list[discord.Attachment]:
    """The files that look like pictures."""
    return [attachment for attachment in files_in(message) if _looks_like_picture(attachment)]


def _looks_like_picture(attachment: discord.Attachment) -> bool:
    """Only for choosing; what it is shows when it is read."""
    return (attachment.content_type or "").startswith("image/")


# ── the message that shows it ──


async def _posted(client: AtelierClient, job: Job, image: JobImage, message: discord.Message | None) -> bytes | None:
    """None: no message shows it (any more), or it can't be had."""

    async def stored() -> discord.Attachment | None:
        return await _stored_attachment(client, job, image)

    at_hand = None if message is None else _attachment(client, message, job, image)
    attachment = at_hand or await stored()
    if attachment is None:
        return None
    try:
        return await download(attachment, refresh=None if at_hand is None else stored)
    except UserError:  # is in the log; it may still be possible to draw it again
        return None


async def _stored_attachment(client: AtelierClient, job: Job, image: JobImage) -> discord.Attachment | None:
    message_id = _message_id(job, image)
    if message_id is None:
        return None
    channel = client.get_partial_messageable(job.channel_id, guild_id=job.guild_id)
    try:
        message = await channel.fetch_message(message_id)
    except discord.HTTPException as error:
        log.info("job %s: its message can't be read: %s", job.id, short(error))
        return None
    except Exception as error:
        if not is_passing(error):
            raise
        log.warning("job %s: its message can't be read: %s", job.id, short(error))
        return None
    return _attachment(client, message, job, image)


def _message_id(job: Job, image: JobImage) -> int | None:
    """Where the picture was posted; one of before parts were kept is in its job's message."""
    return image.message_id or (job.message_id if image.index < PART_SIZE else None)


def _attachment(
    client: AtelierClient, message: discord.Message, job: Job, image: JobImage
) -> discord.Attachment | None:
    """The picture among a message's files: by its name, else by its place where no picture was left out."""
    if client.user is None or message.author.id != client.user.id:
        return None
    names = [_POSTED.fullmatch(attachment.filename) for attachment in message.attachments]
    for name, attachment in zip(names, message.attachments, strict=True):
        if name is not None and name["job"] == job.id and int(name["number"]) == image.index + 1:
            return attachment
    in_part = min(PART_SIZE, job.images - image.index // PART_SIZE * PART_SIZE)
    if message.id == _message_id(job, image) and len(names) == in_part and not any(names):
        return message.attachments[image.index % PART_SIZE]
    return None


# ── drawing it again ──


async def _redraw(client: AtelierClient, job: Job, image: JobImage, asker: Asker) -> ImageRequest:
    """Raises UserError: with another model, without its own start image or with other concepts than the very files
    that drew it, it would be another picture."""
    model = client.studio.status().worker.model
    if model is None:
        raise UserError(words.GONE_WHILE_LOADING)
    if job.kind is JobKind.RESAMPLE or model.hash != image.recipe.model_hash:
        raise UserError(words.PICTURE_GONE)
    path = client.studio.start_image(job)
    if path is not None and not await asyncio.to_thread(path.is_file):
        raise UserError(words.PICTURE_GONE)
    request = redrawn(job.request, image.recipe)
    if not image.recipe.concepts:
        return request
    try:
        uses = await client.studio.concepts.exactly(
            image.recipe.concepts, member_id=asker.member_id, guild_id=asker.guild_id
        )
    except ConceptUnknown as error:  # deleted, trained anew, or somebody's own: which of them is not said
        raise UserError(words.PICTURE_GONE) from error
    return msgspec.structs.replace(request, concepts=list(uses))
