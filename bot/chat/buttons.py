"""Buttons that outlive restarts: the custom id says what to do with which picture, so nothing is kept in memory.

`atelier:{action}:{job}:{index}`. Messages of earlier versions have ids without the index; they work for ever.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast, get_args

import discord
from discord import ButtonStyle

from bot.chat import wording
from bot.chat.answers import answer, answering
from bot.job import JobKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from bot.chat.client import AtelierClient
    from bot.job import Job, JobImage

Action = Literal["cancel", "again", "recipe", "vary", "upscale", "remix", "delete", "erase"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

EACH: Final[tuple[Action, ...]] = ("vary", "upscale")
"""There is one of these for each picture."""
PART_SIZE: Final = 4
"""Pictures in one message; a job of more has several, its parts."""

_LOOKS: Final[dict[Action, tuple[str, str | None, ButtonStyle]]] = {
    "cancel": ("Stop", "⏹️", ButtonStyle.secondary),
    "vary": ("Vary", "✨", ButtonStyle.secondary),
    "upscale": ("Upscale", "🔍", ButtonStyle.secondary),
    "again": ("Again", "🎲", ButtonStyle.primary),
    "remix": ("Remix", "🎨", ButtonStyle.secondary),
    "recipe": ("Recipe", "📋", ButtonStyle.secondary),
    "delete": ("Delete", "🗑️", ButtonStyle.secondary),
    "erase": ("Delete for good", None, ButtonStyle.danger),
}
_JOB: Final = r"(?P<job>[a-z0-9]{1,20})(?::(?P<index>\d{1,2}))?"
_TEMPLATE: Final = rf"atelier:(?P<action>{'|'.join(ACTIONS)}):{_JOB}"


def parse_custom_id(custom_id: str) -> tuple[Action, str, int | None] | None:
    """Action, job and picture (None: a button of an earlier version). None: it is no button of a job."""
    match = re.fullmatch(_TEMPLATE, custom_id)
    return None if match is None else _pressed(match)


def buttons_of(message: discord.Message) -> Iterator[tuple[Action, str, int | None]]:
    """What the buttons of jobs under a message do, as `parse_custom_id` says it."""
    for row in message.components:
        if isinstance(row, discord.ActionRow):
            for component in row.children:
                pressed = None if component.custom_id is None else parse_custom_id(component.custom_id)
                if pressed is not None:
                    yield pressed


def _pressed(match: re.Match[str]) -> tuple[Action, str, int | None]:
    index = match["index"]
    return cast("Action", match["action"]), match["job"], None if index is None else int(index)


class JobButton(discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=_TEMPLATE):
    """One button under a job's message."""

    def __init__(
        self,
        action: Action,
        job_id: str,
        index: int | None = None,
        *,
        number: int | None = None,
        row: int | None = None,
    ) -> None:
        """`number`: shown where the message has one such button for each of several pictures."""
        self.action: Action = action
        self.job_id = job_id
        self.index = index
        label, emoji, style = _LOOKS[action]
        super().__init__(
            discord.ui.Button(
                label=label if number is None else f"{label} {number}",
                emoji=emoji if number is None else None,
                style=style,
                custom_id=f"atelier:{action}:{job_id}" + ("" if index is None else f":{index}"),
                row=row,
            )
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(*_pressed(match))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        asked = cast("discord.Interaction[AtelierClient]", interaction)
        async with answering(asked, reference=self.job_id):
            await _do(asked, self.action, self.job_id, self.index or 0)


async def _do(interaction: discord.Interaction[AtelierClient], action: Action, job_id: str, index: int) -> None:
    from bot.chat import actions, deleting, remixing  # noqa: PLC0415  they make buttons themselves

    match action:
        case "cancel":
            await actions.cancel(interaction, job_id)
        case "again":
            await actions.again(interaction, job_id)
        case "recipe":
            await actions.recipe(interaction, job_id, index)
        case "vary":
            await actions.vary(interaction, job_id, index)
        case "upscale":
            await actions.upscale(interaction, job_id, index)
        case "remix":
            await remixing.remix(interaction, job_id, index)
        case "delete":
            await deleting.delete(interaction, job_id)
        case "erase":
            await deleting.erase(interaction, job_id)


class UnknownButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=rf"atelier:(?!(?:{'|'.join(ACTIONS)}):)[a-z]+:[a-z0-9]{{17}}(?::\d{{1,2}})?",
):
    """A job's button of another version of the bot: pressing it is answered all the same."""

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(cast("discord.ui.Button[discord.ui.View]", item))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        await answer(interaction, wording.UNKNOWN_BUTTON)


def controls(job_id: str, *names: Action, index: int | None = None) -> discord.ui.View:
    """Buttons of a whole job, in one row. They never time out."""
    view = discord.ui.View(timeout=None)
    for name in names:
        view.add_item(JobButton(name, job_id, index))
    return view


def result_controls(job: Job, images: Sequence[JobImage], *, withheld: Collection[int] = ()) -> discord.ui.View:
    """The buttons under the pictures of one message, which may be all of a job's or some.

    Args:
        images: at least one, at most `PART_SIZE`.
        withheld: indices of those that are not shown there: nothing can be made of these.
    """
    first = images[0].index
    shown = [image.index for image in images if image.index not in withheld]
    redrawn = job.kind is not JobKind.RESAMPLE
    each = EACH if redrawn else ("upscale",)
    view = discord.ui.View(timeout=None)
    single = len(images) == 1
    for row, action in enumerate(each):
        for index in shown:
            number = None if single else index + 1
            view.add_item(JobButton(action, job.id, index, number=number, row=0 if single else row))
    rest = 0 if single else 2
    if redrawn:
        view.add_item(JobButton("again", job.id, first, row=rest))
    if shown:
        view.add_item(JobButton("remix", job.id, shown[0], row=rest))
    view.add_item(JobButton("recipe", job.id, first, row=rest))
    view.add_item(JobButton("delete", job.id, first, row=1 if single else rest))
    return view


def end_controls(job: Job, index: int | None = None) -> discord.ui.View:
    """The buttons under a job that ended without pictures; `index` of the first where others have their message."""
    once = job.kind in (JobKind.RESAMPLE, JobKind.TRAIN)  # what it was made from is not there for another time
    names: tuple[Action, ...] = ("delete",) if once else ("again", "delete")
    return controls(job.id, *names, index=index)
