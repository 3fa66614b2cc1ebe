"""Concept files as read, the latest used ones. Reading happens in the background."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from generation.concepts.files import LoraFile, MergedFile, TextualInversionFile, read_concept

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from generation.model import LoadedModel

ConceptFile = TextualInversionFile | LoraFile | MergedFile


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A file that is being read, or has been."""

    job: Future[ConceptFile]
    size: int
    """Of the file, bytes: what is in it takes about as much."""
    begun: int
    """How many concepts had been forgotten by then."""


class FileCache:
    """A file is read once for as long as it is the same one and among the latest used.

    The same: by path, inode (two files that are written after another can have the same time), size and time.
    """

    def __init__(self, model: LoadedModel, executor: Executor, max_bytes: int) -> None:
        self._model, self._executor, self._max_bytes = model, executor, max_bytes
        self._readings: OrderedDict[tuple[str, int, int, int], Reading] = OrderedDict()
        """Least recently used first."""
        self._forgotten: dict[str, int] = {}
        """By SHA-256, how many concepts had been forgotten when it was."""
        self._forgets = 0

    def read(self, path: str) -> Reading:
        try:
            status = Path(path).stat()
            key = (path, status.st_ino, status.st_size, status.st_mtime_ns)
        except OSError:
            key = (path, 0, 0, 0)  # reading it says what is wrong
        reading = self._readings.get(key)
        if reading is None or (reading.job.done() and reading.job.exception() is not None):
            job = self._executor.submit(read_concept, Path(path), self._model)
            reading = self._readings[key] = Reading(job, key[2], self._forgets)
        self._readings.move_to_end(key)
        self._trim()
        return reading

    def pending(self) -> list[Future[ConceptFile]]:
        return [reading.job for reading in self._readings.values() if not reading.job.done()]

    def forget(self, sha256: str) -> None:
        self._forgets += 1
        self._forgotten[sha256] = self._forgets
        # Who asks for a file from now on has it read again, also one that is being read and might be this one.
        self._readings = OrderedDict(
            (key, reading)
            for key, reading in self._readings.items()
            if reading.job.done() and reading.job.exception() is None and reading.job.result().sha256 != sha256
        )

    def forget_in(self, folder: Path) -> list[str]:
        """Files in `folder`; returns the SHA-256 of those that had been read, for the others to be forgotten too."""
        inside = [key for key in self._readings if Path(key[0]).is_relative_to(folder)]
        gone = [self._readings.pop(key).job for key in inside]
        return [job.result().sha256 for job in gone if job.done() and job.exception() is None]

    def is_forgotten(self, reading: Reading) -> bool:
        """Was what has been read deleted after `reading` began?"""
        return self._forgotten.get(reading.job.result().sha256, 0) > reading.begun

    def _trim(self) -> None:
        held = sum(reading.size for reading in self._readings.values())
        for key, reading in list(self._readings.items())[:-1]:
            if held <= self._max_bytes:
                break
            if reading.job.done():
                del self._readings[key]
                held -= reading.size
