"""Lanes: copies of the networks with concepts merged in, for what can't share a batch."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from generation.concepts.merging import Merging

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor, Future

    from generation.concepts.files import LoraFile, MergedFile
    from generation.model import LoadedModel


@dataclass(slots=True, eq=False)
class Lane:
    key: str
    sha256s: frozenset[str]
    job: Future[tuple[Any, tuple[Any, ...]]]
    """The UNet and the text encoders."""
    users: int = 0
    forgotten: bool = False


class Lanes:
    """At most `limit` copies at a time. One that nobody uses stays until its place is needed."""

    def __init__(self, model: LoadedModel, executor: Executor, limit: int) -> None:
        if limit < 0:
            raise ValueError(f"lanes must not be negative, but {limit} is")
        self._model, self._executor, self.limit = model, executor, limit
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        """Least recently used first."""

    @cached_property
    def _merging(self) -> Merging:
        """Made by the first `take`, in the engine's thread: most engines never need one."""
        return Merging(self._model)

    def take(self, concepts: Sequence[tuple[LoraFile | MergedFile, float]]) -> Lane | None:
        """The lane of these concepts with their weights, in use until `release`; None where others use all.

        It may still be in the making.
        """
        parts = [f"{file.sha256}:{weight!r}" for file, weight in concepts]
        key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
        lane = self._lanes.get(key)
        if lane is None or (lane.job.done() and lane.job.exception() is not None):
            self._lanes.pop(key, None)
            if not self._make_room():
                return None
            job = self._executor.submit(self._merging.merged_copies, list(concepts))
            lane = self._lanes[key] = Lane(key, frozenset(file.sha256 for file, _ in concepts), job)
        lane.users += 1
        lane.forgotten = False
        self._lanes.move_to_end(key)
        return lane

    def release(self, lane: Lane) -> None:
        """Undo one `take`."""
        lane.users -= 1
        failed = lane.job.done() and lane.job.exception() is not None
        if not lane.users and (lane.forgotten or failed) and self._lanes.get(lane.key) is lane:
            del self._lanes[lane.key]

    def pending(self) -> list[Future[Any]]:
        return [lane.job for lane in self._lanes.values() if not lane.job.done()]

    def forget(self, sha256: str) -> None:
        """Let copies with it go, now or when nobody uses them any more."""
        for key, lane in list(self._lanes.items()):
            if sha256 in lane.sha256s:
                lane.forgotten = True
                if not lane.users:
                    del self._lanes[key]

    def _make_room(self) -> bool:
        idle = [key for key, lane in self._lanes.items() if not lane.users and lane.job.done()]
        if len(self._lanes) >= self.limit:
            if not idle:
                return False
            del self._lanes[idle[0]]
        return True
