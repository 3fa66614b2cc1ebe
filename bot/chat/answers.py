"""Answering the person who pressed or typed: fast, once, and in one sentence whatever happened."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import discord
from discord import app_commands

from bot.chat import wording
from bot.chat.discord_errors import is_passing, short
from bot.errors import INTERNAL_ERROR, sentence
from generation.request import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Sequence

log = logging.getLogger(__name__)

ACKNOWLEDGE_SECONDS: Final = 0.7
"""After this Discord is told to wait ("thinking…"); it gives up on a bot after 3 s."""
_TOO_LATE_TO_ANSWER: Final = frozenset({10062, 40060, 10015})
"""Unknown interaction, already acknowledged (the same one delivered twice), token expired."""

T = TypeVar("T")


async def answer(interaction: discord.Interaction[Any], text: str, **options: Any) -> None:
    """Say `text` to the person who asked, only to them. What can't be said is logged, not raised."""
    try:
        if not interaction.response.is_done():
            await interaction.response.send_message(text, ephemeral=True, suppress_embeds=True, **options)
        elif interaction.response.type is discord.InteractionResponseType.deferred_channel_message:
            await interaction.edit_original_response(content=text, **_as_edit(options))
        else:
            await interaction.followup.send(text, ephemeral=True, **options)
    except discord.InteractionResponded:
        pass
    except Exception as error:
        late = isinstance(error, discord.HTTPException) and error.code in _TOO_LATE_TO_ANSWER
        if not late and not is_passing(error):
            raise
        log.warning("interaction %s could not be answered: %s", interaction.id, short(error))


def _as_edit(options: dict[str, Any]) -> dict[str, Any]:
    edit = {"view": options["view"]} if "view" in options else {}
    return edit if options.get("file") is None else {**edit, "attachments": [options["file"]]}


async def acknowledge_later(interaction: discord.Interaction[Any]) -> None:
    """Tell Discord that the answer takes a moment; only the person who asked sees it."""
    try:
        if not interaction.response.is_done():
            await interaction.response.defer(ephemeral=True, thinking=True)
    except discord.InteractionResponded:
        pass
    except discord.HTTPException as error:
        if error.code not in _TOO_LATE_TO_ANSWER and not is_passing(error):
            raise
        log.warning("interaction %s could not be acknowledged: %s", interaction.id, short(error))


async def change_later(interaction: discord.Interaction[Any]) -> None:
    """For a press in a message that only its presser sees: that very message becomes the answer, by `change`."""
    try:
        if not interaction.response.is_done():
            await interaction.response.defer()
    except discord.InteractionResponded:
        pass
    except discord.HTTPException as error:
        if error.code not in _TOO_LATE_TO_ANSWER and not is_passing(error):
            raise
        log.warning("interaction %s could not be acknowledged: %s", interaction.id, short(error))


async def change(
    interaction: discord.Interaction[Any],
    text: str,
    *,
    embeds: Sequence[discord.Embed] = (),
    files: Sequence[discord.File] = (),
    view: discord.ui.View | None = None,
) -> None:
    """After `change_later` or `acknowledge_later`: all that the message shows from now on."""
    try:
        await interaction.edit_original_response(content=text, embeds=embeds, attachments=files, view=view)
    except Exception as error:
        late = isinstance(error, discord.HTTPException) and error.code in _TOO_LATE_TO_ANSWER
        if not late and not is_passing(error):
            raise
        log.warning("interaction %s could not be answered: %s", interaction.id, short(error))


async def open_form(interaction: discord.Interaction[Any], form: discord.ui.Modal) -> None:
    """Show a form, which must be the first answer. discord.py forgets it: its custom id says what it is about."""
    form.stop()
    try:
        await interaction.response.send_modal(form)
    except discord.InteractionResponded:
        pass
    except Exception as error:
        late = isinstance(error, discord.HTTPException) and error.code in _TOO_LATE_TO_ANSWER
        if not late and not is_passing(error):
            raise
        log.warning("interaction %s: the form could not be opened: %s", interaction.id, short(error))


async def in_time(interaction: discord.Interaction[Any], work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; where it takes long, the interaction is acknowledged meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=ACKNOWLEDGE_SECONDS)
        if not done:
            await acknowledge_later(interaction)
        return await task
    finally:
        task.cancel()


@asynccontextmanager
async def answering(interaction: discord.Interaction[Any], *, reference: str | None = None) -> AsyncGenerator[None]:
    """What the body raises becomes one sentence for the person who asked."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  a member must never meet a traceback, whatever it was
        await answer(interaction, sentence_for(error, reference or f"{interaction.id:x}"))


def sentence_for(error: BaseException, reference: str) -> str:
    """`error` in one sentence. One that nobody foresaw is logged with `reference`, which its sentence names."""
    while isinstance(error, app_commands.CommandInvokeError):
        error = error.original
    if isinstance(error, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch):
        return wording.COMMAND_CHANGED
    if isinstance(error, InvalidRequest):
        return wording.invalid(error)
    if isinstance(error, app_commands.AppCommandError) and not isinstance(error, app_commands.TransformerError):
        return wording.NOT_ALLOWED_HERE
    said = sentence(error)
    if said != INTERNAL_ERROR:
        return wording.escaped(said)
    log.error("reference %s: %s", reference, short(error), exc_info=error)
    return wording.unexpected(reference)
