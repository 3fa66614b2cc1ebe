"""One bot per data folder."""

import os
import sys
from pathlib import Path
from typing import Self

from bot.errors import DataFolderInUse, DataFolderUnusable


def _lock_file(descriptor: int) -> None:
    """Raises OSError where another process holds it. The system lets go of it when the process ends, however."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415  (only there is)

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl  # noqa: PLC0415

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class DataFolderLock:
    """Makes the folder where needed and holds `atelier.lock` in it.

    Entering raises DataFolderInUse, or DataFolderUnusable where the folder can't be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts and pictures are in it
            descriptor = os.open(self.folder / "atelier.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataFolderUnusable(folder=self.folder, reason=error.strerror) from error
        try:
            _lock_file(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise DataFolderInUse(folder=self.folder) from error
        self._descriptor = descriptor
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
