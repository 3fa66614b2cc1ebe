"""The files of jobs: `<data>/images/<job>/`, with the start image, previews and finished pictures. Blocking calls:
use them in a thread."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

from bot.errors import StartImageGone
from bot.job import JobState
from generation.image_input import read_image

log = logging.getLogger(__name__)

START_IMAGE = "start.png"
_DELETED = ".deleted"  # in the folder of a job whose rows are about to go
_BEGUN = ".start."  # the start of a start image's name while it is being written
START_SIDE = 2048  # at most, on the longest side: no model draws larger pictures
_LEAST_SIDE = 16  # what `read_image` asks for when the worker reads it again


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

        Raises ImageRefused, OSError.
        """
        image = _bounded(read_image(data))
        path = self._make(job_id)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_BEGUN)
        try:
            with os.fdopen(descriptor, "wb") as file:
                image.save(file, "PNG", compress_level=1)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return self._kept(path)

    def start_image(self, job_id: str) -> str:
        """Where a job's start image is kept, whether it is there or not."""
        return self._kept(self.of(job_id) / START_IMAGE)

    def copy_start_image(self, job_id: str, kept: str) -> str:
        """A picture of an earlier job as the start image of a new one, so that either can be deleted.

        `kept`: absolute, or relative to the data folder. Raises StartImageGone.
        """
        source = self.absolute(kept).resolve()
        if source.suffix != ".png" or not source.is_relative_to(self._images.resolve()):
            raise StartImageGone
        path = self._make(job_id)
        try:
            shutil.copyfile(source, path)
        except FileNotFoundError as error:
            self.remove(job_id)
            raise StartImageGone from error
        return self._kept(path)

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

    def mark_deleted(self, job_ids: Iterable[str]) -> None:
        """Their rows are about to go: should `remove` not come to it then, `sweep` does it at the next start."""
        for job_id in job_ids:
            try:
                (self.of(job_id) / _DELETED).touch()
            except OSError as error:  # a full disk must not keep anybody from deleting
                if not isinstance(error, FileNotFoundError):
                    log.warning("the files of job %s can't be marked: %s", job_id, error.strerror)

    def sweep(self, states: Mapping[str, JobState]) -> None:
        """At start: what a killed bot has left of cancelled jobs, and of requests that never became a job.

        Folders of unknown jobs with pictures in them stay, unless the jobs were deleted: the database may be a new
        one, or a backup.
        """
        if not self._images.is_dir():
            return
        for folder in self._images.iterdir():
            state = states.get(folder.name)
            if state is JobState.CANCELLED or (state is None and _may_go(folder)):
                self.remove(folder.name)

    def _make(self, job_id: str) -> Path:
        folder = self.of(job_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / START_IMAGE

    def _kept(self, path: Path) -> str:
        return path.relative_to(self.data_folder).as_posix()


def _may_go(folder: Path) -> bool:
    """The folder of a deleted job, or one with nothing but a start image in it, whole or not."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    return _DELETED in names or all(name == START_IMAGE or name.startswith(_BEGUN) for name in names)


def _bounded(image: Image.Image) -> Image.Image:
    scale = START_SIDE / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(_LEAST_SIDE, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
