"""How long pictures stay: for `ATELIER_KEEP_DAYS` at most, and together within `ATELIER_DISK_BUDGET_GB`.

Whole job folders go, start images included, and first those whose members were told first. Jobs that are live, or
whose members don't know yet how they ended, are never touched. Only files go: rows and recipes stay, so that a
picture can be drawn again. The budget counts every folder in `<data>/images`.
"""

import asyncio
import contextlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bot.errors import DiskFull, RegistryTrouble
from bot.registry.pictures import Pictures
from bot.settings import Settings

log = logging.getLogger(__name__)

PAUSE_SECONDS = 3600.0
JOB_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{17}")
"""As `new_job_id` makes them. Other folders that somebody has put there are not ours to remove."""
FREED_TO = 0.9
"""Over budget, so much of it is left in use: otherwise every single picture from then on would start a pass."""
LEAST_FREE = 256_000_000
"""With less than this free on the disk, the oldest pictures go even if the budget has room."""
REFUSED_FREE = 32_000_000
"""With less than this free afterwards, nothing new is taken on."""
AGAIN = timedelta(minutes=5)
"""A pass that had nothing left to remove is not repeated sooner, except by the hour."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A job's folder as found on disk. `newest`: when something in it was written last, in seconds since 1970."""

    name: str
    size: int
    newest: float


def disk_free(folder: Path) -> int:
    """Bytes that can still be written where `folder` is, or will be. Blocking. Raises OSError."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


class Keeping:
    """`run()` is a side task of the studio. `folder` is the data folder; `free` tells the bytes left on a disk."""

    def __init__(
        self,
        settings: Settings,
        pictures: Pictures,
        folder: Path,
        clock: Callable[[], datetime],
        free: Callable[[Path], int] = disk_free,
    ) -> None:
        self.kept_bytes: int | None = None
        """What the pictures take: measured by each pass, and what was finished since; None before the first."""
        self._days = settings.keep_days
        self._budget = int(settings.disk_budget_gb * 1e9)
        self._pictures = pictures
        self._images = folder / "images"
        self._clock = clock
        self._free = free
        self._fresh: list[str] = []
        self._wake = asyncio.Event()
        self._pass = asyncio.Lock()
        self._exhausted: datetime | None = None
        self._closing = False

    def told(self, job_id: str) -> None:
        """This job's member knows how it ended: its files count, and may go when it is their turn."""
        self._fresh.append(job_id)
        self._wake.set()

    def close(self) -> None:
        """`run()` returns soon; a pass that is under way stops at the next folder."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """A pass now, every hour, and whenever new pictures are too many; until `close()`."""
        while not self._closing:
            await self._pass_or_warn()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS):
                    await self._until_too_much()

    async def make_room(self) -> None:
        """Call before something is written for a new job. Raises DiskFull, where even a pass left too little."""
        if await self._measured_free() >= LEAST_FREE:
            return
        if not self._nothing_left():
            await self._pass_or_warn()
        if await self._measured_free() < REFUSED_FREE:
            raise DiskFull

    async def tidy(self) -> None:
        """One pass. Raises OSError, RegistryTrouble."""
        async with self._pass:
            self._fresh.clear()  # they are among what is found
            found = await asyncio.to_thread(lambda: list(self._found()))
            told = await self._pictures.told([folder.name for folder in found])
            free = await self._measured_free()
            old, surplus = await asyncio.to_thread(self._choose, found, told, free)
            gone = await asyncio.to_thread(self._remove, [*old, *surplus])
            self.kept_bytes = _bytes(found) - _bytes(gone)
            self._exhausted = self._clock() if await self._too_much() else None
            self._say(len(found), old, surplus, gone)

    async def _pass_or_warn(self) -> None:
        try:
            await self.tidy()
        except (OSError, RegistryTrouble) as error:
            if not self._closing:
                log.warning("old pictures cannot be looked through now: %s", error)

    async def _until_too_much(self) -> None:
        """Counts what was finished meanwhile."""
        while not self._closing:
            await self._wake.wait()
            self._wake.clear()
            fresh, self._fresh = self._fresh, []
            new = await asyncio.to_thread(lambda names=fresh: [measured(self._images / name) for name in names])
            self.kept_bytes = (self.kept_bytes or 0) + _bytes(new)
            if not self._nothing_left() and await self._too_much():
                return

    async def _too_much(self) -> bool:
        try:
            return (self.kept_bytes or 0) > self._budget or await self._measured_free() < LEAST_FREE
        except OSError as error:
            log.warning("the free space of the disk cannot be measured: %s", error)
            return False

    def _nothing_left(self) -> bool:
        return self._exhausted is not None and self._clock() - self._exhausted < AGAIN

    async def _measured_free(self) -> int:
        return await asyncio.to_thread(self._free, self._images)

    # ── one pass ──

    def _found(self) -> Iterator[Folder]:
        """Real folders only: a link in there may lead anywhere. Blocking."""
        try:
            entries = os.scandir(self._images)
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                if self._closing:
                    return
                if entry.is_dir(follow_symlinks=False):
                    yield measured(Path(entry.path))

    def _choose(
        self, found: Sequence[Folder], told: Mapping[str, datetime | None], free: int
    ) -> tuple[list[Folder], list[Folder]]:
        """What is too old, and what has to go for its size. The folder of a job that is not known goes by age
        alone: the job may be about to be kept."""
        oldest = self._clock() - timedelta(days=self._days)
        unknown = [folder for folder in found if folder.name not in told and JOB_ID.fullmatch(folder.name)]
        ended = [(when, folder) for folder in found if (when := told.get(folder.name)) is not None]
        old = [folder for folder in unknown if folder.newest < oldest.timestamp()]
        old += [folder for when, folder in ended if when < oldest]
        gone = _bytes(old)
        used = _bytes(found) - gone
        too_much = used - int(FREED_TO * self._budget) if used > self._budget else 0
        too_much = max(too_much, LEAST_FREE - free - gone)
        surplus: list[Folder] = []
        for when, folder in sorted(ended, key=lambda one: one[0]):
            if when >= oldest and too_much > 0:
                surplus.append(folder)
                too_much -= folder.size
        return old, surplus

    def _remove(self, folders: Sequence[Folder]) -> list[Folder]:
        """Those that are gone. Blocking."""
        gone: list[Folder] = []
        for folder in folders:
            if self._closing:
                break
            try:
                shutil.rmtree(self._images / folder.name)  # does not follow links, and refuses one in its place
            except FileNotFoundError:
                pass
            except OSError as error:
                log.warning("the files of job %s cannot be removed: %s", folder.name, error.strerror or error)
                continue
            gone.append(folder)
        return gone

    def _say(self, found: int, old: list[Folder], surplus: list[Folder], gone: list[Folder]) -> None:
        kept = self.kept_bytes or 0
        log.log(
            logging.INFO if gone else logging.DEBUG,
            "the files of %d jobs are kept (%.2f GB); removed %d (%.2f GB), %d for their age and %d for room",
            *(found - len(gone), kept / 1e9, len(gone), _bytes(gone) / 1e9),
            *(len(old), len(surplus)),
        )
        if kept > self._budget and not self._closing:
            log.warning(
                "pictures of open and of unknown jobs alone take %.2f GB, more than the disk budget", kept / 1e9
            )


def _bytes(folders: Sequence[Folder]) -> int:
    return sum(folder.size for folder in folders)


def measured(folder: Path) -> Folder:
    """All that is in a folder; what vanishes meanwhile does not count. Blocking."""
    size, newest = 0, 0.0
    for parent, _, files in os.walk(folder):
        for path in (parent, *(os.path.join(parent, name) for name in files)):  # noqa: PTH118 (there are many)
            with contextlib.suppress(OSError):
                found = os.lstat(path)
                newest = max(newest, found.st_mtime)
                size += found.st_size if path != parent else 0
    return Folder(folder.name, size, newest)
