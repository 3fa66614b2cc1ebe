"""The files of jobs: `<data>/images/<job>/`, with the start image, previews and finished pictures. Blocking calls:
use them in a thread."""

import logging
import os
import shutil
import tempfile
from collections.abc import Container, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bot.errors import StartImageGone
from bot.job import JobState
from training.photo_reading import read_start_image

log = logging.getLogger(__name__)

START_IMAGE = "start.png"
_DELETED = ".deleted"  # in the folder of a job whose rows are about to go
_BEGUN = ".start."  # the start of a start image's name while it is being written
START_SIDE = 2048  # at most, on the longest side: no model draws larger pictures


class JobFolders:
    def __init__(self, data_folder: Path) -> None:
        """`data_folder`: absolute. Paths that are kept elsewhere are relative to it, so that it can be moved."""
        self.data_folder = data_folder
        self._images = data_folder / "images"

    def of(self, job_id: str) -> Path:
        """Absolute; it may not exist yet."""
        return self._images / job_id

    def absolute(self, kept: str) -> Path:
        return self.data_folder / kept

    def keep_start_image(self, job_id: str, data: bytes) -> str:
        """Read and re-encode an untrusted picture, so that nothing but its pixels is left; returns its kept path.

        Another process reads it, with limits. Raises ImageRefused, OSError.
        """
        clean = read_start_image(data, START_SIDE)
        with self._start_image_of(job_id) as file:
            file.write(clean)
        return self.start_image(job_id)

    def start_image(self, job_id: str) -> str:
        """Where a job's start image is kept, whether it is there or not."""
        return (self.of(job_id) / START_IMAGE).relative_to(self.data_folder).as_posix()

    def copy_start_image(self, job_id: str, kept: str) -> str:
        """A picture of an earlier job as the start image of a new one, so that either can be deleted.

        `kept`: absolute, or relative to the data folder. Raises StartImageGone, OSError.
        """
        source = self.absolute(kept).resolve()
        if source.suffix != ".png" or not source.is_relative_to(self._images.resolve()):
            raise StartImageGone
        try:
            with source.open("rb") as reading, self._start_image_of(job_id) as file:
                shutil.copyfileobj(reading, file, 1 << 20)
        except FileNotFoundError as error:
            raise StartImageGone from error
        return self.start_image(job_id)

    def remove(self, job_id: str) -> None:
        """Everything of a job. No error where there is nothing."""
        shutil.rmtree(self.of(job_id), ignore_errors=True)

    def remove_drawn(self, job_id: str) -> None:
        """What an attempt has left; the start image stays, for trying again."""
        for path in self.of(job_id).glob("*"):
            if path.name != START_IMAGE:
                path.unlink(missing_ok=True)

    def remove_start_images(self, job_ids: Iterable[str]) -> None:
        """Raises OSError, but not where there is none."""
        for job_id in job_ids:
            (self.of(job_id) / START_IMAGE).unlink(missing_ok=True)

    def mark_deleted(self, job_ids: Iterable[str], running: Container[str] = ()) -> None:
        """Their rows are about to go: should `remove` not come to it then, `sweep` does it at the next start.

        Those that run get a folder where they have none yet, since the worker may be about to make it.
        """
        for job_id in job_ids:
            try:
                if job_id in running:
                    self.of(job_id).mkdir(parents=True, exist_ok=True)
                (self.of(job_id) / _DELETED).touch()
            except OSError as error:  # a full disk must not keep anybody from deleting
                if not isinstance(error, FileNotFoundError):
                    log.warning("the files of job %s can't be marked: %s", job_id, error.strerror)

    def tidy_up(self, recovered: Iterable[str], states: Mapping[str, JobState]) -> None:
        """At start: what a killed bot has left. `recovered`: jobs that are taken up again."""
        try:
            for job_id in recovered:
                self.remove_drawn(job_id)
            self.sweep(states)
        except OSError as error:
            log.warning("old files cannot be removed: %s", error)

    def sweep(self, states: Mapping[str, JobState]) -> None:
        """At start: what a killed bot has left of cancelled jobs, and of requests that never became a job.

        Folders of unknown jobs with pictures in them stay, unless the jobs were deleted: the database may be a new
        one, or a backup.
        """
        if not self._images.is_dir():
            return
        for folder in self._images.iterdir():
            if folder.is_symlink() or not folder.is_dir():
                continue
            state = states.get(folder.name)
            marked = (folder / _DELETED).exists()
            if (
                state is JobState.CANCELLED
                or (state is JobState.FAILED and marked)  # it started from a picture that had to go
                or (state is None and (marked or _only_begun(folder)))
            ):
                self.remove(folder.name)

    @contextmanager
    def _start_image_of(self, job_id: str) -> Generator[BinaryIO]:
        """To write it: whole, and there after a power cut, when the block has ended; not there where that fails."""
        path = self.absolute(self.start_image(job_id))
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_BEGUN)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _only_begun(folder: Path) -> bool:
    """Nothing but a start image is in it, whole or not."""
    return all(path.name == START_IMAGE or path.name.startswith(_BEGUN) for path in folder.iterdir())
