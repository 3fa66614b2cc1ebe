"""A member's own pictures in pages, and one of them in full. Only they see it.

What a page shows is in its custom ids, `atelier:history:{way}:{job}:{index}`, and whose it is says the presser's id:
so it works after a restart, and hours later.
"""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

import discord
from PIL import Image

from bot.chat import attachments, wording
from bot.chat.answers import acknowledge_later, answering, change, change_later
from bot.chat.buttons import result_controls
from bot.chat.explicit import is_explicit, is_withheld_in
from bot.chat.wording import history as words
from bot.errors import NotFound, UserError

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence
    from pathlib import Path

    from bot.chat.client import AtelierClient
    from bot.registry.history import Cursor, HistoryPage, Picture

Way = Literal["newer", "older"]

PAGE: Final = 5
_THUMBNAIL: Final = (160, 160)
"""Pixels: Discord shows a thumbnail at 80."""


async def show_page(
    interaction: discord.Interaction[AtelierClient],
    *,
    older_than: Cursor | None = None,
    newer_than: Cursor | None = None,
) -> None:
    """The newest page, or the one next to a cursor. The interaction was acknowledged."""
    studio = interaction.client.studio
    page = await studio.history.page(interaction.user.id, limit=PAGE, older_than=older_than, newer_than=newer_than)
    if not page.pictures:
        await change(interaction, words.NO_PICTURES)
        return
    notes = [_withheld(interaction, picture) for picture in page.pictures]
    embeds, files = await asyncio.to_thread(_listed, page, notes)
    await change(interaction, words.page(page), embeds=embeds, files=files, view=_controls(page))


async def show_picture(interaction: discord.Interaction[AtelierClient], job_id: str, index: int) -> None:
    """One of the presser's own pictures, with the buttons that it has in its channel."""
    await acknowledge_later(interaction)
    picture = await interaction.client.studio.history.picture(job_id, index)
    if picture is None or picture.job.member_id != interaction.user.id:
        raise NotFound
    withheld = _withheld(interaction, picture)
    file = None if withheld else await asyncio.to_thread(_full, interaction, picture)
    note = withheld or ("" if file is not None else words.FILE_GONE)
    controls = result_controls(picture.job, [picture.image], withheld=[index] if withheld else ())
    files = [] if file is None else [file]
    await change(interaction, words.shown(picture, note), files=files, view=controls)


# ── what is shown ──


def _withheld(interaction: discord.Interaction[AtelierClient], picture: Picture) -> str:
    """Why a picture is not shown where it was asked for; empty: it is."""
    job = picture.job
    if not is_withheld_in(interaction.channel, interaction.client, job, picture.image):
        return ""
    if job.of_person:
        return words.EXPLICIT_OF_PERSON
    return words.EXPLICIT_NEVER if job.foreign_start else words.EXPLICIT


def _full(interaction: discord.Interaction[AtelierClient], picture: Picture) -> discord.File | None:
    """None where its file is gone. Blocking."""
    job, image = picture.job, picture.image
    try:
        data, suffix = attachments.picture(image.path, limit=attachments.file_limit(interaction.filesize_limit, 1))
    except OSError:
        return None
    return discord.File(
        io.BytesIO(data),
        filename=f"atelier-{job.id}-{image.index + 1}{suffix}",
        description=wording.alt_text(job, image, job.images),
        spoiler=is_explicit(image, interaction.client.settings.nsfw_threshold),
    )


def _listed(page: HistoryPage, notes: Sequence[str]) -> tuple[list[discord.Embed], list[discord.File]]:
    """Blocking."""
    embeds: list[discord.Embed] = []
    files: list[discord.File] = []
    for number, (picture, withheld) in enumerate(zip(page.pictures, notes, strict=True), start=page.newer + 1):
        thumbnail = None if withheld else _thumbnail(picture.image.path)
        note = withheld or ("" if thumbnail is not None else words.FILE_GONE)
        embed = discord.Embed(description=words.listed(picture, number, note))
        if thumbnail is not None:
            name = f"thumbnail-{picture.job.id}-{picture.image.index + 1}.webp"
            files.append(discord.File(io.BytesIO(thumbnail), filename=name))
            embed.set_thumbnail(url=f"attachment://{name}")
        embeds.append(embed)
    return embeds, files


def _thumbnail(path: Path) -> bytes | None:
    """A small WebP; None where the file is gone or can't be read."""
    out = io.BytesIO()
    try:
        with Image.open(path) as opened:
            opened.thumbnail(_THUMBNAIL)
            opened.convert("RGB").save(out, "WEBP", quality=80)
    except OSError:
        return None
    return out.getvalue()


# ── what can be pressed ──


def _controls(page: HistoryPage) -> discord.ui.View:
    first, last = page.pictures[0], page.pictures[-1]
    view = discord.ui.View(timeout=None)
    view.add_item(PictureMenu(page))
    view.add_item(PageButton("newer", (first.job.id, first.image.index), enabled=page.newer > 0))
    view.add_item(PageButton("older", (last.job.id, last.image.index), enabled=page.older > 0))
    return view


class PageButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"atelier:history:(?P<way>newer|older):(?P<job>[a-z0-9]{1,20}):(?P<index>\d{1,2})",
):
    """Turns the page, from the picture at its edge."""

    def __init__(self, way: Way, edge: Cursor, *, enabled: bool = True) -> None:
        self.way: Way = way
        self.edge = edge
        newer = way == "newer"
        super().__init__(
            discord.ui.Button(
                label=words.NEWER if newer else words.OLDER,
                emoji="◀️" if newer else "▶️",
                custom_id=f"atelier:history:{way}:{edge[0]}:{edge[1]}",
                disabled=not enabled,
                row=1,
            )
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(cast("Way", match["way"]), (match["job"], int(match["index"])))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        async with answering(interaction):
            await change_later(interaction)
            if self.way == "newer":
                await show_page(interaction, newer_than=self.edge)
            else:
                await show_page(interaction, older_than=self.edge)


class PictureMenu(discord.ui.DynamicItem[discord.ui.Select[discord.ui.View]], template=r"atelier:history:show"):
    """The pictures of a page, to choose one; each value is `{job}:{index}`."""

    def __init__(self, page: HistoryPage) -> None:
        options = [
            discord.SelectOption(label=words.choice(picture, number), value=f"{picture.job.id}:{picture.image.index}")
            for number, picture in enumerate(page.pictures, start=page.newer + 1)
        ]
        super().__init__(
            discord.ui.Select(custom_id="atelier:history:show", placeholder=words.CHOOSE, options=options, row=0)
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        menu = cls.__new__(cls)
        super(PictureMenu, menu).__init__(cast("discord.ui.Select[discord.ui.View]", item))
        return menu

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        async with answering(interaction):
            job_id, _, index = self.item.values[0].partition(":")
            if not index.isdecimal():
                raise UserError(words.PICTURES_GONE)
            await show_picture(interaction, job_id, int(index))
