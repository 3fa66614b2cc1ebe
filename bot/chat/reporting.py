"""Reports: from a message to the operator, by a form or a link. They are kept first; then the operator is told."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
import discord

from bot.chat.answers import answer, answering, in_time, open_form
from bot.chat.discord_errors import short
from bot.chat.wording import members as words
from bot.errors import UserError
from bot.members import REASON_LENGTH

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient
    from bot.registry.reports import Report

log = logging.getLogger(__name__)

_FORM: Final = re.compile(r"atelier:report:(\d{1,20}):(\d{1,20})")


class ReportForm(discord.ui.Modal):
    """Which message it is about is in its custom id, so that it can be sent after a restart."""

    def __init__(self, message: discord.Message) -> None:
        custom_id = f"atelier:report:{message.channel.id}:{message.id}"
        super().__init__(title=words.REPORT, custom_id=custom_id)
        reason: discord.ui.TextInput[ReportForm] = discord.ui.TextInput(
            custom_id="reason", style=discord.TextStyle.paragraph, required=False, max_length=REASON_LENGTH
        )
        self.add_item(discord.ui.Label(text=words.REPORT_REASON, description=words.REPORT_HINT, component=reason))


async def open_report(interaction: discord.Interaction[AtelierClient], message: discord.Message) -> None:
    """Raises UserError where the message is not the bot's."""
    client = interaction.client
    if client.user is None or message.author.id != client.user.id:
        raise UserError(words.NOT_MINE)
    await open_form(interaction, ReportForm(message))


async def submitted(interaction: discord.Interaction[AtelierClient]) -> None:
    """Called for every interaction; does something for a form of ours."""
    if interaction.type is not discord.InteractionType.modal_submit:
        return
    data = cast("dict[str, Any]", interaction.data)
    form = _FORM.fullmatch(data["custom_id"])
    if form is None:
        return
    async with answering(interaction):
        await _report(interaction, interaction.guild_id, int(form[1]), int(form[2]), _reason(data["components"]))


async def report_link(interaction: discord.Interaction[AtelierClient], link: str, reason: str) -> None:
    """Raises UserError where the link leads to no picture of ours."""
    place = words.parse_link(link)
    if place is None or await in_time(interaction, interaction.client.studio.of_message(place[2])) is None:
        raise UserError(words.NO_SUCH_LINK)
    await _report(interaction, *place, reason)


async def _report(
    interaction: discord.Interaction[AtelierClient],
    guild_id: int | None,
    channel_id: int,
    message_id: int,
    reason: str,
) -> None:
    studio = interaction.client.studio
    shown = await in_time(interaction, studio.of_message(message_id))
    if shown is not None:  # a link may name any channel: the operator must come to the picture
        guild_id, channel_id = shown[0].guild_id, shown[0].channel_id
    report = await in_time(
        interaction,
        studio.members.report(
            reporter_id=interaction.user.id,
            guild_id=guild_id,
            channel_id=channel_id,
            message_id=message_id,
            job=None if shown is None else shown[0],
            reason=reason,
        ),
    )
    await answer(interaction, words.REPORTED)
    await _tell_operator(interaction.client, report)


async def _tell_operator(client: AtelierClient, report: Report) -> None:
    """By direct message; where that can't be, the log and `atelier reports` have to do."""
    try:
        operator = await client.fetch_user(client.settings.operator_id or await _owner(client))
        await operator.send(words.report_for_operator(report), suppress_embeds=True)
    except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
        log.warning("there is a report (see `atelier reports`); the operator could not be told: %s", short(error))


async def _owner(client: AtelierClient) -> int:
    """Of the application, or of the team that it belongs to."""
    application = await client.application_info()
    if application.team is not None and application.team.owner_id is not None:
        return application.team.owner_id
    return application.owner.id


def _reason(components: list[dict[str, Any]]) -> str:
    for component in components:
        field = component.get("component", component)
        if field.get("custom_id") == "reason":
            return str(field.get("value") or "")
    return ""
