"""What a training needs around the worker: its files before, its concept after, and nothing of it left over."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from bot.concept_folders import ConceptFolders
from bot.concepts import NewVersion, Removed
from bot.errors import PhotosGone
from bot.folders import JobFolders
from bot.job import Job, JobImage
from bot.registry.trainings import Trainings
from bot.worker import messages
from bot.worker.protocol import Worker
from generation.request import ModelInfo

log = logging.getLogger(__name__)


class TrainingFailed(Exception):
    """The worker handed over what can't be used: a fault of the program."""


class TrainingEnds:
    """Their beginning, too."""

    def __init__(
        self,
        trainings: Trainings,
        folders: ConceptFolders,
        pictures: JobFolders,
        worker: Worker,
        clock: Callable[[], datetime],
    ) -> None:
        self._trainings, self._folders, self._pictures = trainings, folders, pictures
        self._worker, self._clock = worker, clock

    async def prepared(self, job: Job, model: ModelInfo) -> messages.Train:
        """For this attempt. Raises PhotosGone, OSError."""
        return await asyncio.to_thread(self._prepare, job, model)

    def _prepare(self, job: Job, model: ModelInfo) -> messages.Train:
        assert job.training is not None
        photos = self._folders.photos(job.id)
        if not photos:
            raise PhotosGone
        self._folders.begin(job.id, model.hash)
        return messages.Train(
            job=job.id,
            attempt=job.attempt,
            order=job.training,
            photos=[str(path) for path in photos],
            work_dir=str(self._folders.training(job.id)),
            prior_dir=str(self._folders.prior),
            concept_dir=str(self._folders.of(job.id)),
            request=job.request,
            output_dir=str(self._pictures.of(job.id)),
        )

    async def finish(self, job: Job, done: messages.Done, model: ModelInfo) -> tuple[Job, list[JobImage]] | None:
        """The concept is kept, in one transaction with the job's end; then its photos go, and what it replaces.

        None for a job that has ended meanwhile. Raises TrainingFailed, DepictsSomethingElse, RegistryTrouble.
        """
        new = await asyncio.to_thread(self._new_version, job, done, model)
        images = [JobImage.of(job.id, index, image) for index, image in enumerate(done.images)]
        kept = await self._trainings.finish(job.id, job.attempt, images, new, self._clock())
        if kept is None:
            return None
        finished, removed = kept
        await asyncio.to_thread(self._folders.remove_training, job.id)
        await self.forget(removed)
        return finished, images

    def _new_version(self, job: Job, done: messages.Done, model: ModelInfo) -> NewVersion:
        order, trained = job.training, done.trained
        assert order is not None
        if trained is None:
            raise TrainingFailed("nothing was trained")
        path = Path(trained.file)
        if path.parent != self._folders.of(job.id) or not path.is_file():
            raise TrainingFailed("the concept's file is not where it belongs")
        return NewVersion(
            id=job.id,
            owner_id=job.member_id,
            guild_id=job.guild_id,
            name=order.name,
            depicts=order.depicts,
            consent=job.consent or "",
            method=order.method,
            class_word=order.class_word,
            trigger=trained.trigger,
            path=self._folders.kept(path),
            sha256=trained.sha256,
            bytes=path.stat().st_size,
            model_hash=model.hash,
            model_name=model.name,
            trained=trained,
            created_at=self._clock(),
        )

    async def progressed(self, job_id: str) -> bool:
        """Did its latest attempt get further than the one before?"""
        return await asyncio.to_thread(self._folders.progressed, job_id)

    async def clear(self, job_id: str) -> None:
        """It ended without a concept: photos, checkpoints and weights go."""
        await asyncio.to_thread(self._folders.remove_training, job_id)
        await asyncio.to_thread(self._folders.remove, job_id)

    async def forget(self, removed: Removed) -> None:
        """What is gone from the registry goes from the worker and from the disk."""
        for sha256 in removed.files:
            await self._worker.send(messages.Forget(sha256=sha256))
        for version in removed.versions:
            await asyncio.to_thread(self._folders.remove, version)
