"""The files of jobs: `<data>/images/<job>/`, with the start image, previews and finished pictures. Blocking calls:
use them in a thread."""

import os
import shutil
import tempfile
from pathlib import Path

from bot.errors import StartImageGone
from generation.image_input import read_image

START_IMAGE = "start.png"


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
        image = read_image(data)
        path = self._make(job_id)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".start.")
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

    def copy_start_image(self, job_id: str, kept: str) -> str:
        """The start image of an earlier job for a new one, so that either can be deleted. Raises StartImageGone."""
        source = self.absolute(kept).resolve()
        if source.name != START_IMAGE or not source.is_relative_to(self._images.resolve()):
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

    def _make(self, job_id: str) -> Path:
        folder = self.of(job_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / START_IMAGE

    def _kept(self, path: Path) -> str:
        return path.relative_to(self.data_folder).as_posix()
