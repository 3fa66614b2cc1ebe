"""`atelier backup`: a copy of the data folder that can be put in its place, made while the bot runs.

The database is copied from one snapshot of it, which holds up no writer; then the files that the copy's rows name.
The copy grows in a folder that ends in `.part` and gets its name when all of it is on the disk: what a killed
backup leaves is never taken for a whole one.
"""

import errno
import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bot.concepts import STRIP_FILE
from bot.errors import (
    BackupDiskFull,
    BackupInside,
    BackupUnwritable,
    FilesUnreadable,
    NotCopied,
    NothingToBackUp,
    UserError,
)
from bot.registry.database import BUSY_SECONDS
from bot.registry.registry import DATABASE
from bot.settings import SettingsError, load_settings

PAGES = 256  # of the database between two looks at Ctrl-C
STAMP = "%Y%m%d-%H%M%S"
PART = ".part"
CONCEPTS = "concepts"
PART_IS_DEAD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Backup:
    """A whole one. `gone`: files of rows in it that were no longer kept."""

    folder: Path
    jobs: int
    files: int
    size: int
    gone: int


def main_backup(destination: Path, keep: int | None, *, playground: bool) -> int:
    """Print what was done, or one sentence about why not; returns the exit code."""
    try:
        settings = load_settings()
        data = settings.data_dir / "playground" if playground else settings.data_dir
        kind = "atelier-playground" if playground else "atelier"
        if destination.resolve().is_relative_to(settings.data_dir.resolve()):
            raise BackupInside(folder=settings.data_dir)
        now = datetime.now(UTC)
        made = back_up(data, destination, kind, now)
        _say(f"Backed up to {made.folder} (jobs: {made.jobs}, files: {made.files}, {made.size / 1e6:.1f} MB).")
        if made.gone:
            _say(f"No longer kept, so in it as recipes only: {made.gone} files.")
        _say(f"To restore: stop the bot, and put a copy of that folder in the place of {data.absolute()}.")
        if keep is not None:
            removed = remove_older(destination, kind, keep, now, spare=data)
            _say(f"Older backups removed: {removed}.")
    except (SettingsError, UserError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def back_up(data: Path, destination: Path, kind: str, now: datetime) -> Backup:
    """Copy the data folder into a new folder in `destination`, named after `kind` and the time in UTC.

    Raises UserError; then nothing of it is left behind.
    """
    if not (data / DATABASE).is_file():
        raise NothingToBackUp(folder=data)
    whole = destination.absolute() / f"{kind}-{now.strftime(STAMP)}"
    part = whole.with_name(whole.name + PART)
    try:
        destination.mkdir(parents=True, exist_ok=True)
        if whole.exists():
            raise FileExistsError(errno.EEXIST, "there is one of this second", str(whole))
        part.mkdir(mode=0o700)  # prompts and pictures are in it
    except OSError as error:
        raise _unwritable(error, destination) from error
    try:
        jobs = _copy_database(data, part)
        files, size, gone = _copy_files(data, part)
        for folder, _, _ in os.walk(part):
            _sync(Path(folder))
        part.rename(whole)
        _sync(whole.parent)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise _unwritable(error, destination) from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return Backup(whole, jobs, files, size + (whole / DATABASE).stat().st_size, gone)


def remove_older(destination: Path, kind: str, keep: int, now: datetime, *, spare: Path) -> int:
    """Leave the `keep` newest whole ones of this kind, and no `.part` older than a day; says how many went.

    `spare`: the data folder, which may be a backup that somebody has put to use where it lay.
    Raises BackupUnwritable.
    """
    name = re.compile(re.escape(kind) + r"-(\d{8}-\d{6})(\.part)?")
    whole: list[Path] = []
    dead: list[Path] = []
    for folder in sorted(destination.iterdir()):
        found = name.fullmatch(folder.name)
        if found is None or folder.is_symlink() or not folder.is_dir() or folder.samefile(spare):
            continue
        if found[2] is None:
            whole.append(folder)
        elif datetime.strptime(found[1], STAMP).replace(tzinfo=UTC) < now - PART_IS_DEAD:
            dead.append(folder)
    try:
        for folder in (*whole[:-keep], *dead):
            shutil.rmtree(folder)
    except OSError as error:
        raise BackupUnwritable(place=destination, reason=error.strerror) from error
    return len(whole[:-keep]) + len(dead)


def _unwritable(error: OSError, place: Path) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BackupDiskFull(place=place)
    return BackupUnwritable(place=place, reason=error.strerror or error)


# ── the database ──


def _copy_database(data: Path, part: Path) -> int:
    """How many jobs are in it. Raises NotCopied, BackupDiskFull."""
    try:
        with (
            closing(_reading(data / DATABASE)) as source,
            closing(sqlite3.connect(part / DATABASE, isolation_level=None)) as copy,
        ):
            # One transaction holds one snapshot: without it, every write of the bot would start the copy anew.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(copy, pages=PAGES)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, readable where nothing can be written
            (verdict,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise NotCopied(folder=data, reason=" ".join(verdict.split()))
            (jobs,) = copy.execute("SELECT count(*) FROM jobs").fetchone()
            return int(jobs)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            raise BackupDiskFull(place=part.parent) from error
        raise NotCopied(folder=data, reason=error) from error


def _reading(database: Path) -> sqlite3.Connection:
    uri = f"{database.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _named(database: Path) -> Iterator[str]:
    """The kept paths of all pictures, start images and concepts, in no order."""
    with closing(_reading(database)) as connection:
        for (path,) in _concepts(connection):
            yield path
        for (path,) in connection.execute("SELECT path FROM images"):
            yield path
        for (request,) in connection.execute("SELECT request FROM jobs"):
            start: object = json.loads(request).get("init_image")
            if isinstance(start, str):
                yield start


def _concepts(connection: sqlite3.Connection) -> list[tuple[str]]:
    """A database of before has none."""
    table = connection.execute("SELECT name FROM sqlite_master WHERE name = 'concept_versions'").fetchone()
    return [] if table is None else connection.execute("SELECT path FROM concept_versions").fetchall()


# ── the files ──


def _copy_files(data: Path, part: Path) -> tuple[int, int, int]:
    """How many, their bytes, and how many were not there. Only real files inside the folders of images and of
    concepts count."""
    files = size = gone = 0
    named = set(_named(part / DATABASE))
    strips = {kept for path in named if (kept := _strip_beside(path)) is not None}
    for kept in sorted(named | strips):
        reading = _opened(data, PurePosixPath(kept))
        if reading is None:
            gone += kept not in strips  # not every concept has one
            continue
        with reading:
            size += _write(reading, part / kept)
            files += 1
    return files, size, gone


def _strip_beside(kept: str) -> str | None:
    """The sample pictures of a concept."""
    path = PurePosixPath(kept)
    return str(path.with_name(STRIP_FILE)) if path.parts[:1] == (CONCEPTS,) else None


def _opened(data: Path, kept: PurePosixPath) -> BinaryIO | None:
    """None where there is no such file. Raises FilesUnreadable."""
    if kept.parts[:1] not in (("images",), (CONCEPTS,)) or ".." in kept.parts:
        return None
    try:
        inside = (data / kept.parts[0]).resolve()
        source = (data / kept).resolve()
        return source.open("rb") if source.is_relative_to(inside) and source.is_file() else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FilesUnreadable(folder=data, reason=error.strerror) from error


def _write(reading: BinaryIO, target: Path) -> int:
    """How many bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())
        return writing.tell()


def _sync(folder: Path) -> None:
    """The names in it survive a power cut from now on."""
    if sys.platform == "win32":  # where folders can't be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
