"""The pictures that a message shows, ours or anybody's, and what a remix of one of them goes on from."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from PIL import ExifTags, Image

from bot.chat.commands.options import offered_sizes, parse_size
from bot.chat.explicit import is_withheld_in
from bot.chat.requests import Basis, basis_of, basis_of_any
from bot.chat.starts import Start, download, files_in, pictures_in, shown_in, start_of
from bot.job import Origin
from generation import limits
from generation.limits import SCHEDULERS
from generation.recipe import RecipeUnreadable, from_parameters
from generation.request import ImageRequest, InvalidRequest, ModelDefaults, ModelInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    import discord

    from bot.chat.client import AtelierClient
    from bot.chat.concept_names import Asker
    from bot.job import Job, JobImage
    from generation.recipe import Recipe

_HASH_CHARACTERS: Final = 10
"""Of a model's hash, in a recipe that came with a file."""
_LYING: Final = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a message shows: `images` of `job`, where it is one of ours or a forwarded one, else `attachments`."""

    message: discord.Message
    job: Job | None = None
    images: Sequence[JobImage] = ()
    attachments: Sequence[discord.Attachment] = ()

    @property
    def pictures(self) -> int:
        return len(self.images) if self.job is not None else len(self.attachments)

    @property
    def owner_id(self) -> int:
        """Whose the pictures are, as far as that can be known."""
        return self.message.author.id if self.job is None else self.job.member_id

    @property
    def numbers(self) -> list[int]:
        """How its pictures are numbered: as the names of the files say, over all messages of a job, from 1."""
        if self.job is None:
            return list(range(1, len(self.attachments) + 1))
        return [image.index + 1 for image in self.images]

    def image(self, number: int | None) -> JobImage:
        """One of ours, the first where no number was said; `number` is one of `numbers`."""
        return next(image for image in self.images if number is None or image.index == number - 1)

    def basis(self, client: AtelierClient, number: int | None) -> Basis:
        """The recipe of one of ours."""
        assert self.job is not None
        model = _model(client)
        return basis_of(self.job, self.image(number), None if model is None else model.defaults)


def _model(client: AtelierClient) -> ModelInfo | None:
    return client.studio.status().worker.model


async def source_of(client: AtelierClient, message: discord.Message) -> Source:
    """Raises RegistryTrouble."""
    message_id = _our_message(client, message)
    found = None if message_id is None else await client.studio.of_message(message_id)
    if found is not None:
        job, images = found
        # Which message shows them is stored a moment after it does.
        visible = _visible(message, job, images or await client.studio.images(job.id))
        return Source(message, job, _shown_there(client, message, job, visible))
    return Source(message, attachments=pictures_in(message))


def _our_message(client: AtelierClient, message: discord.Message) -> int | None:
    """The id under which a job may be known: the message's own, or that of the one which it forwards."""
    if message.message_snapshots and message.reference is not None:
        return message.reference.message_id
    return message.id if client.user is not None and message.author.id == client.user.id else None


def _visible(message: discord.Message, job: Job, images: Sequence[JobImage]) -> Sequence[JobImage]:
    """Those whose files it has. All, where a forwarded message hides its files from the bot."""
    if not files_in(message):
        return images if message.message_snapshots else []
    shown = shown_in(message, job)
    return [image for image in images if image.index in shown] if shown else images


def _shown_there(
    client: AtelierClient, message: discord.Message, job: Job, images: Sequence[JobImage]
) -> Sequence[JobImage]:
    """A message may be forwarded from an age-restricted channel, or hide what it shows."""
    return [image for image in images if not is_withheld_in(message.channel, client, job, image)]


async def start_from(client: AtelierClient, source: Source, number: int | None, asker: Asker) -> tuple[Start, Basis]:
    """One of a source's pictures as a start image (the first without a number), and its recipe as it stands.

    Raises UserError, RegistryTrouble.
    """
    if source.job is not None:
        start = await start_of(client, source.job, source.image(number), source.message, asker)
        return start, source.basis(client, number)
    index = 0 if number is None else number - 1
    message, attachment = source.message, source.attachments[index]

    async def refreshed() -> discord.Attachment | None:
        again = pictures_in(await message.channel.fetch_message(message.id))
        return next((one for one in again if one.id == attachment.id), None)

    data = await download(attachment, refresh=refreshed)
    guild_id = None if message.guild is None else message.guild.id
    origin = Origin(None, index, guild_id, message.channel.id, message.id)
    header = await asyncio.to_thread(header_of, data)
    return Start(data=data, foreign=True, origin=origin), basis_of_file(header, _model(client))


# ── pictures that are not known here ──


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself. It may not even be a picture: whoever reads it whole says what is wrong."""

    size: tuple[int, int] | None = None
    """As it is looked at, after turning it as the camera said."""
    recipe: Recipe | None = None
    """Anybody may have written it."""


def header_of(data: bytes) -> Header:
    """Decodes nothing, so that the number of pixels doesn't matter. Blocking."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF")) as image:
            width, height = image.size
            if image.format == "PNG":  # whose EXIF may stand behind the pixels: Pillow would decode them
                return Header((width, height), _recipe_of(image.info.get("parameters")))
            turned = image.getexif().get(ExifTags.Base.Orientation) in _LYING
            return Header((height, width) if turned else (width, height))
    except Exception:  # noqa: BLE001  Pillow raises about anything on hostile bytes
        return Header()


def _recipe_of(text: object) -> Recipe | None:
    if not isinstance(text, str):
        return None
    try:
        return from_parameters(text)
    except RecipeUnreadable:
        return None


def basis_of_file(header: Header, model: ModelInfo | None) -> Basis:
    """Its words, if it has a recipe, and its numbers where the same model drew it; a size of about its shape."""
    defaults, recipe = None if model is None else model.defaults, header.recipe
    basis = dataclasses.replace(basis_of_any(defaults), size=_nearest_size(header.size, defaults))
    if recipe is None:
        return basis
    words = (recipe.prompt, recipe.negative_prompt)
    prompt, negative = (text if len(text) <= limits.PROMPT_CHARACTERS else "" for text in words)
    basis = dataclasses.replace(basis, prompt=prompt, negative_prompt=negative)
    drawn_with = recipe.model_hash[:_HASH_CHARACTERS]
    if model is None or len(drawn_with) < _HASH_CHARACTERS or not model.hash.startswith(drawn_with):
        return basis
    numbered = dataclasses.replace(
        basis,
        guidance_scale=recipe.guidance_scale,
        num_inference_steps=recipe.num_inference_steps,
        scheduler=recipe.scheduler if recipe.scheduler in SCHEDULERS else None,
        clip_skip=recipe.clip_skip,
    )
    return numbered if _can_be_asked(numbered, model.defaults) else basis


def _can_be_asked(basis: Basis, defaults: ModelDefaults) -> bool:
    try:
        ImageRequest(
            prompt="numbers",
            seed=0,
            guidance_scale=basis.guidance_scale,
            num_inference_steps=basis.num_inference_steps,
            scheduler=basis.scheduler,
            clip_skip=basis.clip_skip,
        ).with_defaults(defaults)
    except InvalidRequest:
        return False
    return True


def _nearest_size(size: tuple[int, int] | None, defaults: ModelDefaults | None) -> tuple[int, int] | None:
    """Of the sizes that are offered for the model, the one whose shape is nearest. None: its own."""
    if defaults is None or size is None or 0 in size:
        return None
    offered = [parse_size(value) for _, value in offered_sizes(defaults)]
    sizes = [(width or defaults.width, height or defaults.height) for width, height in offered]
    shape = math.log(size[0] / size[1])
    return min(sizes, key=lambda size: abs(math.log(size[0] / size[1]) - shape))
