"""Taking requests on: first the start image on the disk, then the row, then the place in the queue.

A crash in between leaves at most a folder with nothing but a start image in it, which the next start removes.
"""

import asyncio
import dataclasses
from pathlib import PurePath

import msgspec

from bot.dispatcher import Dispatcher
from bot.folders import START_IMAGE, JobFolders
from bot.job import Job
from bot.keeping import Keeping
from bot.registry.jobs import Jobs, StartedFrom


class Intake:
    """`images_at_most`: how many pictures one member may have waiting."""

    def __init__(
        self, jobs: Jobs, folders: JobFolders, keeping: Keeping, dispatcher: Dispatcher, images_at_most: int
    ) -> None:
        self._jobs, self._folders, self._keeping, self._dispatcher = jobs, folders, keeping, dispatcher
        self._images_at_most = images_at_most
        self._start_images = asyncio.Lock()  # one is read at a time: a large one takes hundreds of megabytes

    async def take(self, job: Job, init_image: bytes | None) -> tuple[Job, bool]:
        """Keep a new job and queue it. Where its interaction made one before: that one, and False.

        Raises what `Studio.submit` raises.
        """
        await self._keeping.make_room()
        try:
            if init_image is None:
                kept, created = await self._add_copying(job)
            else:
                async with self._start_images:
                    kept, created = await self._add_reading(job, init_image)
        except BaseException:
            await asyncio.to_thread(self._folders.remove, job.id)
            raise
        if created:
            self._dispatcher.add(kept)
        else:
            await asyncio.to_thread(self._folders.remove, job.id)
        return kept, created

    async def _add_reading(self, job: Job, init_image: bytes) -> tuple[Job, bool]:
        await self._jobs.refuse_early(job, images_at_most=self._images_at_most)
        path = await asyncio.to_thread(self._folders.keep_start_image, job.id, init_image)
        return await self._add(job, path, self._origin(job))

    async def _add_copying(self, job: Job) -> tuple[Job, bool]:
        source = job.request.init_image
        if source is None:
            return await self._jobs.add(job, images_at_most=self._images_at_most)
        if job.redraw is not None:
            return await self._add(job, self._folders.start_image(job.id), self._origin(job))
        path = await asyncio.to_thread(self._folders.copy_start_image, job.id, source)
        picture = PurePath(source)
        return await self._add(job, path, StartedFrom(picture.parent.name, picture.name == START_IMAGE))

    async def _add(self, job: Job, path: str, started_from: StartedFrom | None) -> tuple[Job, bool]:
        job = dataclasses.replace(job, request=msgspec.structs.replace(job.request, init_image=path))
        return await self._jobs.add(job, images_at_most=self._images_at_most, started_from=started_from)

    def _origin(self, job: Job) -> StartedFrom | None:
        if job.origin is None or job.origin.job_id is None:
            return None
        return StartedFrom(job.origin.job_id, start_image=False)
