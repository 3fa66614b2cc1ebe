"""From what Studio says to one channel message per job, and nothing lost or doubled on the way.

Studio calls the `on_…` methods; they take a note and return. One task reads the notes (`run`), each channel's
`EditScheduler` does the edits. A job's message exists once: it is sent with the nonce `{job}:0`, its id is
stored before GPU work, and after a restart it is looked for by the job id in its buttons before a new one is sent.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Final

import discord

from bot.chat import wording
from bot.chat.cards import Card, Cards, Phase
from bot.chat.discord_errors import cannot_send, is_passing, is_too_large, short
from bot.chat.edits import EditScheduler
from bot.chat.rendering import render_end, render_failure, render_live
from bot.chat.waiting import Sleep, Wait, plain_wait
from bot.errors import RegistryTrouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from typing import Any

    from bot.chat.messages import Messages
    from bot.job import Job, JobImage
    from bot.outlook import Place
    from bot.studio import Studio
    from bot.worker.messages import Progress


log = logging.getLogger(__name__)

SEND_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds between tries to send the first message."""
FOLLOW_UP_SECONDS: Final = 13.5 * 60
"""A follow-up can be edited for 15 minutes; what is not done by then is stopped while that can still be said."""
REMIND_SECONDS: Final = 10 * 60
REGISTRY_SECONDS: Final = 3.0
"""Between two tries of what the registry could not do."""
START_PATIENCE_SECONDS: Final = 1.0
_IDLE_SCHEDULERS: Final = 200
_MUCH_SMALLER: Final = 4
"""How much less a file may weigh after Discord called it too large."""


class Delivery:
    """Implements `bot.outlook.JobListener` and `bot.chat.edits.Owner`."""

    def __init__(
        self,
        studio: Studio,
        messages: Messages,
        *,
        wait: Wait = plain_wait,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._studio = studio
        self._messages = messages
        self._wait = wait
        self._sleep = sleep
        self._clock = clock
        self._cards = Cards()
        self._schedulers: dict[int, EditScheduler] = {}
        self._notes: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        self._tasks: asyncio.TaskGroup | None = None
        self._recovered = False
        self._recovering: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Work until cancelled. What kills a side task ends this too, as an `ExceptionGroup`."""
        async with asyncio.TaskGroup() as self._tasks:
            self._spawn(self._remind())
            while True:
                note = await self._wait(self._notes.get(), reason="news from the studio")
                note()

    def recover(self) -> None:
        """Discord can be talked to (again): take up what was left untold, as soon as the registry can say."""
        if self._recovering is None or self._recovering.done():
            self._recovering = self._insist("what was left untold can't be looked up", self._take_up)

    async def _take_up(self) -> None:
        if not self._recovered:
            for job in await self._studio.undelivered():
                if job.message_id is not None or self._cards.get(job.id) is not None:
                    continue
                card = self._cards.of(job)
                if card is not None:
                    card.fresh = False  # no command waits to send its message
            self._recovered = True
        await self._studio.replay()

    async def _remind(self) -> None:
        """After an outage of Discord that the gateway did not notice, what was given up is tried again."""
        while True:
            await self._sleep(REMIND_SECONDS)
            try:
                await self._take_up()
            except RegistryTrouble as error:  # next time
                log.warning("what was left untold can't be looked up: %s", short(error))
            except Exception:
                log.exception("what was left untold can't be looked up")

    # ── what Studio says (JobListener) ──

    def on_queued(self, job: Job, place: Place) -> None:
        self._notes.put_nowait(lambda: self._queued(job, place))

    def on_started(self, job: Job) -> None:
        self._notes.put_nowait(lambda: self._started(job))

    def on_progress(self, job: Job, progress: Progress) -> None:
        self._notes.put_nowait(lambda: self._progress(job, progress))

    def on_done(self, job: Job, images: Sequence[JobImage]) -> None:
        self._notes.put_nowait(lambda: self._ended(job, images=images))

    def on_failed(self, job: Job, reason: str) -> None:
        self._notes.put_nowait(lambda: self._ended(job, reason=reason))

    def on_cancelled(self, job: Job) -> None:
        self._notes.put_nowait(lambda: self._ended(job))

    def _queued(self, job: Job, place: Place) -> None:
        card = self._cards.of(job)
        if card is None:
            return
        lost = card.phase is Phase.DRAWING
        card.queued(job, place)
        self._plan(card, minor=not lost and place.waiting_for is None)

    def _started(self, job: Job) -> None:
        card = self._cards.of(job)
        if card is not None:
            card.started(job)
            self._spawn(self._say_started(card))

    async def _say_started(self, card: Card) -> None:
        """Only where the first step takes a while: else the first edit would be wasted on "starting"."""
        await self._sleep(START_PATIENCE_SECONDS)
        if card.progress is None:
            self._plan(card)

    def _progress(self, job: Job, progress: Progress) -> None:
        card = self._cards.of(job)
        if card is not None:
            card.progressed(job, progress)
            self._plan(card)

    def _ended(self, job: Job, *, images: Sequence[JobImage] = (), reason: str | None = None) -> None:
        card = self._cards.of(job)
        if card is None or card.is_over():
            return  # replayed while its delivery is still being tried
        card.ended(job, images, reason)
        self._scheduler(job.channel_id).final(job.id, lambda: self._deliver(card))

    def _plan(self, card: Card, *, minor: bool = False) -> None:
        planned = self._cards.get(card.job.id) is card and not card.is_over()
        if planned and card.wants_edit:
            self._scheduler(card.job.channel_id).preview(card.job.id, lambda: self._show(card), minor=minor)

    # ── edits, called by a scheduler ──

    async def _show(self, card: Card) -> None:
        """The job's present state in its message."""
        if card.is_over() or (card.fresh and card.message is None):
            return
        message = await self._message_of(card)
        rendered = await render_live(card)
        if card.is_over() or (rendered.files is None and card.shown == rendered.content):
            return
        card.shown = rendered.content
        await self._messages.edit(message, rendered)

    async def _deliver(self, card: Card) -> None:
        """How the job ended, in its message; then the registry says that its member knows."""
        job = card.job
        message = await self._message_of(card)
        venue = self._messages.venue(job)
        try:
            await self._messages.edit(message, await render_end(card, venue))
        except discord.HTTPException as error:
            if not is_too_large(error):
                raise
            smaller = dataclasses.replace(venue, file_limit=venue.file_limit // _MUCH_SMALLER)
            await self._messages.edit(message, await render_end(card, smaller))
        self._cards.close(job.id)  # it is shown, and stays so whatever the registry says
        self._insist(f"job {job.id} is shown, which can't be stored", lambda: self._mark_delivered(card))

    async def _mark_delivered(self, card: Card) -> None:
        if card.storing is not None:
            await card.storing  # its pictures get the id of the message too
        await self._studio.mark_delivered(card.job.id, card.job.attempt)

    async def _message_of(self, card: Card) -> discord.Message | discord.PartialMessage:
        """The job's message: known, stored, found in the channel, or sent now."""
        async with card.lock:
            if card.message is None and card.job.message_id is not None:
                card.message = self._messages.stored(card.job, card.job.message_id)
            if card.message is None:
                found = await self._messages.find(card.job)
                if found is None:
                    found = await self._messages.send(card.job, await render_live(card))
                self._remember(card, found)
            assert card.message is not None
            return card.message

    def _remember(self, card: Card, message: discord.Message | discord.PartialMessage) -> None:
        """What the registry makes of it is no matter of whoever made the message."""
        job_id = card.job.id
        card.message, card.fresh = message, False
        card.storing = self._insist(
            f"job {job_id}: the id of its message can't be stored",
            lambda: self._studio.attach_message(job_id, message.id),
        )

    # ── the first message, called by the command ──

    async def publish(self, job: Job, place: Place | None, interaction: discord.Interaction[Any]) -> bool:
        """Send the job's channel message, or a follow-up where the bot can't write. True: it was a follow-up.

        After bounded tries it is left to the next edit of the job (the job waits for it a little and then runs).
        """
        card = self._cards.of(job)
        if card is None:
            return False  # it ended at once, and that was told
        if place is not None and card.phase is Phase.QUEUED:
            card.queued(card.job, place)
        async with card.lock:
            if card.message is not None or await self._has_message(job.id):
                return False  # its end came first, and made the message
            try:
                return await self._first_message(card, interaction)
            finally:
                card.fresh = False

    async def _has_message(self, job_id: str) -> bool:
        """False where that isn't known: sent again with its nonce, it is the same message."""
        try:
            return (await self._studio.job(job_id)).message_id is not None
        except RegistryTrouble as error:
            log.warning("job %s can't be looked up: %s", job_id, short(error))
            return False

    async def _first_message(self, card: Card, interaction: discord.Interaction[Any]) -> bool:
        rendered = await render_live(card)
        for pause in (*SEND_PAUSES, None):
            try:
                if self._messages.may_send(interaction):
                    message = await self._messages.send(card.job, rendered)
                    card.shown = rendered.content
                    self._remember(card, message)
                    if card.phase is Phase.QUEUED:
                        self._plan(card)  # its place may have changed while this was sent
                    return False
                break
            except Exception as error:
                if cannot_send(error):
                    break
                if not is_passing(error):
                    raise
                log.warning("job %s: sending its message failed: %s", card.job.id, short(error))
                if pause is None:
                    return False
                await self._sleep(pause)
        message = await self._messages.follow_up(interaction, rendered)
        self._remember(card, message)
        self._spawn(self._end_in_time(card))
        return True

    async def _end_in_time(self, card: Card) -> None:
        """A follow-up's job that takes too long is stopped while that can still be said."""
        await self._sleep(FOLLOW_UP_SECONDS)
        if self._cards.get(card.job.id) is not card or card.is_over():
            return
        card.ended(card.job, (), wording.TOO_LATE_HERE)
        self._scheduler(card.job.channel_id).final(card.job.id, lambda: self._say_too_late(card))

    async def _say_too_late(self, card: Card) -> None:
        await self._deliver(card)
        self._end_untold(card.job.id, "a follow-up's 15 minutes are over")

    # ── how an edit ended (edits.Owner) ──

    async def edit_gone(self, key: str, error: BaseException) -> None:
        """Message, channel or permission is gone: the job ends, once, with one log line (Studio writes it)."""
        self._cards.close(key)
        self._end_untold(key, short(error))

    def _end_untold(self, job_id: str, reason: str) -> None:
        self._insist(
            f"job {job_id} can't be delivered, which can't be stored",
            lambda: self._studio.mark_undeliverable(job_id, reason),
        )

    async def edit_given_up(self, key: str, error: BaseException) -> None:
        """The result stays kept and untold; the next `recover` tries again."""
        card = self._cards.get(key)
        self._cards.drop(key)
        log.error("job %s could not be delivered: %s", key, short(error), exc_info=error)
        if card is None or card.message is None or is_passing(error):
            return
        try:
            await self._messages.edit(card.message, render_failure(card.job, wording.unexpected(key)))
            await self._studio.mark_delivered(key, card.job.attempt)
            self._cards.close(key)
        except Exception as second:  # noqa: BLE001  saying that it failed was the last thing that could be tried
            log.warning("job %s: nor could that be said: %s", key, short(second))

    # ── schedulers and tasks ──

    def _scheduler(self, channel_id: int) -> EditScheduler:
        scheduler = self._schedulers.get(channel_id)
        if scheduler is None:
            if len(self._schedulers) > _IDLE_SCHEDULERS:
                self._schedulers = {key: one for key, one in self._schedulers.items() if not one.idle}
            scheduler = EditScheduler(self, spawn=self._spawn, clock=self._clock, sleep=self._sleep)
            self._schedulers[channel_id] = scheduler
        return scheduler

    def _insist(self, trouble: str, ask: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
        """Ask the registry until it can; `trouble` is logged once where it can't. No error of it ends `run`."""

        async def insist() -> None:
            warned = False
            while True:
                try:
                    await ask()
                    return
                except RegistryTrouble as error:
                    if not warned:
                        log.warning("%s, trying again: %s", trouble, short(error))
                    warned = True
                except Exception:
                    log.exception("%s", trouble)
                    return
                await self._sleep(REGISTRY_SECONDS)

        return self._spawn(insist())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """In the group: it holds the task, and what kills it ends `run`."""
        assert self._tasks is not None, "Delivery.run() is not running"
        try:
            return self._tasks.create_task(work)
        except RuntimeError:  # the group is finished: the client is closing
            work.close()
            raise
