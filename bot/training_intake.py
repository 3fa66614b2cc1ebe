"""Taking trainings on: first the photos on the disk, then the row, then the place in their queue.

A crash in between leaves photos without a job, which the next start removes.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from bot.concept_folders import ConceptFolders
from bot.dispatcher import Dispatcher
from bot.job import Job
from bot.keeping import Keeping
from bot.registry.trainings import Limits, Trainings
from generation.request import InvalidRequest
from training.names import concept_name
from training.order import PHOTOS

_SAMPLES: Final = ("a photo of {}", "{} on a red background", "{} on a blue background", "a drawing of {}")


def sample_prompts(name: str) -> list[str]:
    """What is drawn with the finished concept."""
    return [prompt.format(f"<{name}>") for prompt in _SAMPLES]


class TrainingIntake:
    def __init__(
        self,
        trainings: Trainings,
        folders: ConceptFolders,
        keeping: Keeping,
        dispatcher: Dispatcher,
        limits: Limits,
        clock: Callable[[], datetime],
    ) -> None:
        self._trainings, self._folders, self._keeping = trainings, folders, keeping
        self._dispatcher, self._limits, self._clock = dispatcher, limits, clock

    async def may_train(self, name: str, *, member_id: int, guild_id: int | None) -> None:
        """Raises what `take` would, as far as it can be known before."""
        await self._trainings.refuse_early(member_id, guild_id, concept_name(name), self._limits, self._clock())

    async def take(self, job: Job, photos: Sequence[bytes]) -> tuple[Job, bool]:
        """Keep a new training and queue it. Where its interaction made one before: that one, and False.

        Raises what `Studio.train` raises.
        """
        order = job.training
        assert order is not None
        await self._trainings.refuse_early(
            job.member_id,
            job.guild_id,
            order.name,
            self._limits,
            job.created_at,
            depicts=order.depicts,
            interaction_id=job.interaction_id,
        )
        if not PHOTOS[0] <= len(photos) <= PHOTOS[1]:
            raise InvalidRequest("photos", len(photos), f"{PHOTOS[0]} to {PHOTOS[1]}")
        await self._keeping.make_room()
        try:
            await asyncio.to_thread(self._folders.keep_photos, job.id, photos)
            kept, created = await self._trainings.add(job, self._limits)
        except BaseException:
            await asyncio.to_thread(self._folders.remove_training, job.id)
            raise
        if created:
            self._dispatcher.add(kept)
        else:
            await asyncio.to_thread(self._folders.remove_training, job.id)
        return kept, created
