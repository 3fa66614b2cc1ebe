"""Deleting for good: a job with its pictures, or everything of a member. What has to go together goes together.

Order: files are marked, then the rows go in one transaction, then the files. A crash before the transaction changes
nothing (the member can ask again); after it, the next start removes what is marked.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from bot.concept_folders import ConceptFolders
from bot.dispatcher import Dispatcher
from bot.errors import RegistryTrouble
from bot.folders import JobFolders
from bot.job import Job
from bot.registry.removals import Forgotten, Removals
from bot.trainings import TrainingEnds

log = logging.getLogger(__name__)


class Removal:
    def __init__(
        self,
        removals: Removals,
        dispatcher: Dispatcher,
        folders: JobFolders,
        concept_folders: ConceptFolders,
        trainings: TrainingEnds,
        clock: Callable[[], datetime],
    ) -> None:
        self._removals, self._dispatcher, self._folders, self._clock = removals, dispatcher, folders, clock
        self._concept_folders, self._trainings = concept_folders, trainings

    async def delete(self, job_id: str) -> Job | None:
        """What it was, live ones are cancelled; None where it is not known. Raises RegistryTrouble."""
        async with self._dispatcher.standstill:
            await asyncio.to_thread(self._folders.mark_deleted, [job_id], self._dispatcher.lanes)
            job = await self._removals.delete(job_id, self._clock())
            if job is None:
                return None
            if not job.state.ended:
                await self._dispatcher.let_go(job)
        await self._clear_away([job_id])
        return job

    async def forget(self, member_id: int, *, doom: bool) -> Forgotten:
        """Raises RegistryTrouble, and OSError where a copy of one of their pictures can't be removed."""
        async with self._dispatcher.standstill:
            held = await self._removals.held(member_id)
            # Copies first: once the rows are gone, nothing knows any more whose pictures they were.
            await asyncio.to_thread(self._folders.remove_start_images, held.copies)
            going = [*held.jobs, *held.live_copies]
            await asyncio.to_thread(self._folders.mark_deleted, going, self._dispatcher.lanes)
            await asyncio.to_thread(self._concept_folders.mark_deleted, {*held.jobs, *held.versions})
            forgotten = await self._removals.forget(member_id, doom=doom, now=self._clock())
            for job in forgotten.cancelled:
                await self._dispatcher.let_go(job)
            for job in forgotten.failed:
                await self._dispatcher.let_go(job, job.error)
        log.info(
            "a member was forgotten, with %d jobs, %d pictures and %d concepts",
            *(forgotten.jobs, forgotten.pictures, forgotten.concepts),
        )
        # Also of a training that is still running: the worker is told to stop, and may take a moment.
        await asyncio.to_thread(self._remove_photos, member_id, held.jobs)
        await self._trainings.forget(forgotten.removed)
        await self._clear_away(held.jobs)
        return forgotten

    def _remove_photos(self, member_id: int, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self._concept_folders.remove_training(job_id)
        self._concept_folders.remove_drafts(member_id)

    async def _clear_away(self, job_ids: Sequence[str]) -> None:
        """Files, and what the database's log still has. What can't be done now is done later.

        (Files of a running job go when the worker has let go of it.)
        """
        await asyncio.to_thread(self._remove, [job_id for job_id in job_ids if job_id not in self._dispatcher.lanes])
        try:
            if not await self._removals.leave_no_trace():
                log.warning("the database's log could not be emptied: what was deleted is in it until it fills up")
        except RegistryTrouble as error:
            log.warning("the database's log could not be emptied: %s", error)

    def _remove(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self._folders.remove(job_id)
            if self._folders.of(job_id).exists():
                log.warning("job %s is deleted, but its files can't be removed: the next start tries again", job_id)
