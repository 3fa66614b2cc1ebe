"""From what Studio says to the messages of each job, and nothing lost or doubled on the way.

Studio calls the `on_…` methods; they take a note and return. One task reads the notes (`run`), each channel's
`EditScheduler` does the edits. `posting` makes a job's message, `results` puts its end there, and `doomed` deletes
what has to go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import discord

from bot.chat import wording
from bot.chat.cards import Card, Cards, Phase
from bot.chat.chores import Chores
from bot.chat.discord_errors import is_passing, short
from bot.chat.doomed import Doomed
from bot.chat.edits import EditScheduler
from bot.chat.posting import Posting
from bot.chat.rendering import render_failure, render_live
from bot.chat.results import Results
from bot.chat.waiting import Sleep, Wait, plain_wait
from bot.errors import RegistryTrouble
from bot.job import JobKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from bot.chat.messages import Messages
    from bot.job import Job, JobImage
    from bot.outlook import Place
    from bot.studio import Studio
    from bot.worker.messages import Progress


log = logging.getLogger(__name__)

FOLLOW_UP_SECONDS: Final = 13.5 * 60
"""A follow-up can be edited for 15 minutes; what is not done by then is stopped while that can still be said."""
REMIND_SECONDS: Final = 10 * 60
START_PATIENCE_SECONDS: Final = 1.0
TRAINING_SECONDS: Final = 5.0
"""Between two edits that say only how far a training is: it takes minutes, and pictures share the channel's edits."""
_IDLE_SCHEDULERS: Final = 200


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
        self._chores = Chores(sleep)
        self._posting = Posting(
            studio,
            messages,
            self._cards,
            self._chores,
            posted=self._posted,
            followed_up=self._followed_up,
            refused=lambda card, error: self.edit_gone(card.job.id, error),
        )
        self._results = Results(studio, messages, self._posting, self._chores)
        self._doomed = Doomed(studio, messages, self._chores, self._scheduler)
        self._schedulers: dict[int, EditScheduler] = {}
        self._notes: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        self._recovered = False
        self._recovering: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Work until cancelled. What kills a side task ends this too, as an `ExceptionGroup`."""
        await self._chores.run(self._read_notes())

    async def _read_notes(self) -> None:
        self._chores.spawn(self._remind())
        while True:
            note = await self._wait(self._notes.get(), reason="news from the studio")
            note()

    def recover(self) -> None:
        """Discord can be talked to (again): take up what was left untold, as soon as the registry can say."""
        if self._recovering is None or self._recovering.done():
            self._recovering = self._chores.insist("what was left untold can't be looked up", self._take_up)
        self._doomed.look()

    def doomed_added(self) -> None:
        """Messages wait in `Studio.doomed()` to be deleted: begin now."""
        self._notes.put_nowait(self._doomed.look)

    async def publish(self, job: Job, place: Place | None, interaction: discord.Interaction[Any] | None) -> bool:
        """See `Posting.publish`."""
        return await self._posting.publish(job, place, interaction)

    def may_send(self, interaction: discord.Interaction[Any]) -> bool:
        """See `Messages.may_send`."""
        return self._messages.may_send(interaction)

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
            self._doomed.look()
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
            self._chores.spawn(self._say_started(card))

    async def _say_started(self, card: Card) -> None:
        """Only where the first step takes a while: else the first edit would be wasted on "starting"."""
        await self._sleep(START_PATIENCE_SECONDS)
        if card.progress is None:
            self._plan(card)

    def _progress(self, job: Job, progress: Progress) -> None:
        card = self._cards.of(job)
        if card is None:
            return
        before = card.progress
        card.progressed(job, progress)
        if job.kind is not JobKind.TRAIN:
            self._plan(card)
            return
        news = progress.preview is not None or before is None or before.phase is not progress.phase
        if news or self._clock() - card.planned_at >= TRAINING_SECONDS:
            card.planned_at = self._clock()
            self._plan(card, minor=not news)

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
        message = await self._posting.message_of(card)
        preview = card.previews
        rendered = await render_live(card)
        if card.is_over() or (rendered.files is None and card.shown == rendered.content):
            return
        card.shown = rendered.content
        await self._messages.edit(message, rendered)
        if rendered.files:
            card.preview_shown = preview

    async def _deliver(self, card: Card) -> None:
        """How the job ended, in its messages; then the registry says that its member knows."""
        await self._results.tell(card)
        job_id = card.job.id
        self._cards.close(job_id)  # it is shown, and stays so whatever the registry says
        self._chores.insist(f"job {job_id} is shown, which can't be stored", lambda: self._results.mark_told(card))

    # ── the first message (Posting) ──

    def _posted(self, card: Card) -> None:
        if card.phase is Phase.QUEUED:
            self._plan(card)  # its place may have changed while this was sent

    def _followed_up(self, card: Card) -> None:
        self._chores.spawn(self._end_in_time(card))

    async def _end_in_time(self, card: Card) -> None:
        """A follow-up's job that takes too long is stopped while that can still be said."""
        await self._sleep(FOLLOW_UP_SECONDS)
        if self._cards.get(card.job.id) is not card or card.is_over():
            return
        card.ended(card.job, (), wording.TOO_LATE_HERE)
        self._scheduler(card.job.channel_id).final(card.job.id, lambda: self._say_too_late(card))

    async def _say_too_late(self, card: Card) -> None:
        await self._deliver(card)
        self._end_untold(card.job.id, wording.TOO_LATE_HERE)

    # ── how an edit ended (edits.Owner) ──

    async def edit_gone(self, key: str, error: BaseException) -> None:
        """Message, channel or permission is gone: the job ends, once, with one log line (Studio writes it)."""
        self._cards.close(key)
        code = (error.status, error.code) if isinstance(error, discord.HTTPException) else (0, 0)
        self._end_untold(key, wording.undeliverable(*code))

    def _end_untold(self, job_id: str, reason: str) -> None:
        self._chores.insist(
            f"job {job_id} can't be delivered, which can't be stored",
            lambda: self._studio.mark_undeliverable(job_id, reason),
        )

    async def edit_given_up(self, key: str, error: BaseException) -> None:
        """After an outage the result stays kept and untold: the next `recover` tries again."""
        card = self._cards.get(key)
        self._cards.drop(key)
        log.error("job %s could not be delivered: %s", key, short(error), exc_info=error)
        if card is None or is_passing(error):
            return
        if card.message is None:  # nor can that be said, now or later
            self._cards.close(key)
            self._end_untold(key, wording.unexpected(key))
            return
        try:
            if 0 not in card.told:  # else some of its pictures are there, and stay
                await self._messages.edit(card.message, render_failure(card.job, wording.unexpected(key)))
            await self._studio.mark_delivered(key, card.job.attempt)
            self._cards.close(key)
        except Exception as second:  # noqa: BLE001  saying that it failed was the last thing that could be tried
            log.warning("job %s: nor could that be said: %s", key, short(second))

    def _scheduler(self, channel_id: int) -> EditScheduler:
        scheduler = self._schedulers.get(channel_id)
        if scheduler is None:
            if len(self._schedulers) > _IDLE_SCHEDULERS:
                self._schedulers = {key: one for key, one in self._schedulers.items() if not one.idle}
            scheduler = EditScheduler(self, spawn=self._chores.spawn, clock=self._clock, sleep=self._sleep)
            self._schedulers[channel_id] = scheduler
        return scheduler
