"""The Discord client: intents, command tree, and the lifetime of delivery. All else is in the modules it wires."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import discord
from discord import app_commands

from bot.chat import concept_import, reporting, training
from bot.chat.answers import answer, sentence_for
from bot.chat.buttons import JobButton, UnknownButton
from bot.chat.commands import (
    cancel,
    concepts,
    forget_me,
    history,
    imagine,
    info,
    moderate,
    preferences,
    queue,
    remix,
    report,
    server,
    train,
)
from bot.chat.concepts import DeleteConceptButton
from bot.chat.delivery import Delivery
from bot.chat.discord_errors import is_passing, short
from bot.chat.forgetting import ForgetButton
from bot.chat.history import PageButton, PictureMenu
from bot.chat.messages import Messages
from bot.chat.remixing import SeenMessages, submitted
from bot.chat.replies import Replies
from bot.chat.training_buttons import DraftButton
from bot.chat.training_drafts import Drafts
from bot.chat.waiting import plain_wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.chat.waiting import Sleep, Wait
    from bot.settings import Settings
    from bot.studio import Studio

log = logging.getLogger(__name__)

LOGIN_PAUSES: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds between tries to log in: discord.py repeats some of what can fail then, but not 503 or a reset."""

COMMANDS = (
    imagine.imagine,
    train.train,
    concepts.concepts,
    queue.queue,
    cancel.cancel,
    info.info,
    history.history,
    history.delete_picture,
    forget_me.forget_me,
    report.report,
    report.report_message,
    moderate.moderate,
    preferences.preferences,
    remix.remix,
    server.server,
)


class Tree(app_commands.CommandTree["AtelierClient"]):
    """Commands whose errors end as one sentence."""

    async def on_error(
        self, interaction: discord.Interaction[AtelierClient], error: app_commands.AppCommandError, /
    ) -> None:
        await answer(interaction, sentence_for(error, f"{interaction.id:x}"))


class AtelierClient(discord.AutoShardedClient):
    """discord.py's client with the studio behind it. Made by `build_client`."""

    def __init__(
        self,
        studio: Studio,
        settings: Settings,
        *,
        wait: Wait,
        sleep: Sleep,
        clock: Callable[[], float],
        **options: Any,
    ) -> None:
        super().__init__(
            intents=discord.Intents(
                guilds=True,
                guild_messages=True,
                dm_messages=True,
                message_content=settings.message_content == "on",
            ),
            allowed_mentions=discord.AllowedMentions.none(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_messages=None,
            **options,
        )
        self.studio = studio
        self.settings = settings
        self.seen_messages = SeenMessages()
        messages = Messages(self, nsfw_threshold=settings.nsfw_threshold)
        self.delivery = Delivery(studio, messages, wait=wait, sleep=sleep, clock=clock)
        self.drafts = Drafts(settings.data_dir.absolute() / "drafts")
        self.replies = Replies(self, clock=clock)
        self.tree = Tree(self, allowed_contexts=_EVERYWHERE, allowed_installs=_EVERYONE)
        for command in COMMANDS:
            self.tree.add_command(command)
        self._wait, self._sleep = wait, sleep
        self._working: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self._closing: asyncio.Task[None] | None = None

    async def login(self, token: str) -> None:
        """Through a short outage of Discord; what no waiting can help, such as a wrong token, is raised at once."""
        for pause in (*LOGIN_PAUSES, None):
            try:
                return await super().login(token)
            except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
                if pause is None or not is_passing(error):
                    raise
                log.warning("Discord can't be logged in to, next try in %g s: %s", pause, short(error))
            await self.http.close()
            self.http.connector = discord.utils.MISSING  # closed with its session; the next login makes another
            await asyncio.sleep(pause)

    async def setup_hook(self) -> None:
        """Logged in, not yet connected: buttons of earlier lives, delivery, and the commands' definitions."""
        self.add_dynamic_items(JobButton, UnknownButton, PageButton, PictureMenu, ForgetButton, DraftButton)
        self.add_dynamic_items(DeleteConceptButton)
        self.studio.subscribe(self.delivery)
        for name, work in (("delivery", self.delivery.run()), ("drafts", self.drafts.tidy(self._wait, self._sleep))):
            task = asyncio.create_task(work, name=name)
            task.add_done_callback(self._work_ended)
            self._working.append(task)
        await self._sync_commands()

    async def _sync_commands(self) -> None:
        guild_id = self.settings.dev_guild_id
        try:
            if guild_id is None:
                await self.tree.sync()
            else:
                guild = discord.Object(guild_id)
                self.tree.copy_global_to(guild=guild)
                await self.tree.sync(guild=guild)
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            # What was synced in an earlier life still works: no reason not to start.
            said = error.text if isinstance(error, discord.HTTPException) else str(error)
            log.error("the commands could not be sent to Discord: %s: %s", short(error), said)

    async def on_interaction(self, interaction: discord.Interaction[AtelierClient]) -> None:
        """discord.py itself hands on commands and buttons; forms come here, so that none depends on its memory."""
        await submitted(interaction)
        await reporting.submitted(interaction)
        await training.submitted(interaction)
        await concept_import.submitted(interaction)

    async def on_ready(self) -> None:
        log.info("connected to Discord as %s, in %d servers", self.user, len(self.guilds))
        self.delivery.recover()

    async def on_message(self, message: discord.Message) -> None:
        await self.replies.on_message(message)

    async def on_resumed(self) -> None:
        self.delivery.recover()

    def _work_ended(self, task: asyncio.Task[None]) -> None:
        """Without delivery nobody gets a picture: stop the client, whose `start` then raises the reason."""
        if task.cancelled() or (failure := task.exception()) is None:
            return
        self._failure = failure
        log.critical("%s died: %s", task.get_name(), short(failure), exc_info=failure)
        self._closing = asyncio.create_task(self.close(), name="closing")

    async def start(self, token: str, *, reconnect: bool = True) -> None:
        """Log in and work until closed. Raises what killed delivery or the other side task."""
        await super().start(token, reconnect=reconnect)
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        for task in self._working:
            task.cancel()
        if self._working:
            await asyncio.wait(self._working)
        await super().close()


_EVERYWHERE = app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True)
_EVERYONE = app_commands.AppInstallationType(guild=True, user=True)


def build_client(
    studio: Studio,
    settings: Settings,
    *,
    wait: Wait = plain_wait,
    sleep: Sleep = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> AtelierClient:
    """The chat of one studio. `studio` must be entered before the client starts and left after it is closed.

    Args:
        wait: how delivery waits for news from the studio; tests hand in simcord's `external_wait`.
        sleep: how edits are spaced out; likewise.
        clock: seconds, for the spacing of edits.
        options: more for `discord.AutoShardedClient`, such as `shard_count`.
    """
    return AtelierClient(studio, settings, wait=wait, sleep=sleep, clock=clock, **options)
