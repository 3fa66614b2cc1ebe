"""The files of concepts and of trainings in the data folder. Blocking calls: use them in a thread.

`trainings/<job>/`: photos, latents and checkpoints, gone when the training has ended in any way.
`concepts/<version>/`: what prompts use. `prior/`: pictures of class words, which are nobody's.
"""

import json
import logging
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bot.concepts import CONCEPT_FILE

log = logging.getLogger(__name__)

PHOTOS: Final = "photos"
CHECKPOINT: Final = "checkpoint.safetensors"
_BEGUN: Final = ".begun"
"""In a training's folder, written as each attempt starts: the model's hash, and the step that it begins with."""
_DELETED: Final = ".deleted"
_DRAFTS: Final = "drafts"
_HEADER_AT_MOST: Final = 10_000_000


class ConceptFolders:
    def __init__(self, data_folder: Path) -> None:
        """`data_folder`: absolute. Kept paths are relative to it, with forward slashes."""
        self._data = data_folder
        self._trainings = data_folder / "trainings"
        self._concepts = data_folder / "concepts"
        self.prior = data_folder / "prior"

    # ── trainings ──

    def training(self, job_id: str) -> Path:
        """Absolute; what the worker goes on from."""
        return self._trainings / job_id

    def keep_photos(self, job_id: str, photos: Sequence[bytes]) -> None:
        """Clean pictures, in order; there after a power cut. Raises OSError."""
        folder = self.training(job_id) / PHOTOS
        folder.mkdir(parents=True, exist_ok=True)
        for index, data in enumerate(photos):
            _write(folder / f"{index}.png", data)

    def photos(self, job_id: str) -> list[Path]:
        """In order."""
        found = (self.training(job_id) / PHOTOS).glob("*.png")
        return sorted(found, key=lambda path: int(path.stem) if path.stem.isdigit() else 0)

    def begin(self, job_id: str, model_hash: str) -> None:
        """Before an attempt. What another model has left goes: it means nothing to this one. Raises OSError."""
        folder = self.training(job_id)
        mark = folder / _BEGUN
        if mark.exists() and mark.read_text().split("\n")[0] != model_hash:
            for path in folder.iterdir():
                if path.name != PHOTOS:
                    _remove(path)
        mark.write_text(f"{model_hash}\n{_step(folder / CHECKPOINT)}")

    def progressed(self, job_id: str) -> bool:
        """Has the latest attempt left a checkpoint of a later step than the one that it began with?"""
        folder = self.training(job_id)
        try:
            begun_with = int((folder / _BEGUN).read_text().split("\n")[1])
        except (OSError, ValueError, IndexError):
            return False
        return _step(folder / CHECKPOINT) > begun_with

    def remove_training(self, job_id: str) -> None:
        """Photos and all that was made of them. No error where there is nothing."""
        self._gone(self.training(job_id), "photos of a training")

    def remove_drafts(self, member_id: int) -> None:
        """Photos that a member has sent, but not said yes to yet."""
        self._gone(self._data / _DRAFTS / str(member_id), "photos of a member")

    # ── concepts ──

    def of(self, version_id: str) -> Path:
        """Absolute; it may not exist yet."""
        return self._concepts / version_id

    def absolute(self, kept: str) -> Path:
        return self._data / kept

    def kept(self, path: Path) -> str:
        """Raises ValueError for what is not in the data folder."""
        return path.relative_to(self._data).as_posix()

    def keep_file(self, version_id: str, data: bytes) -> str:
        """An imported file; returns its kept path. Raises OSError."""
        folder = self.of(version_id)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / CONCEPT_FILE, data)
        return self.kept(folder / CONCEPT_FILE)

    def remove(self, version_id: str) -> None:
        """Weights and pictures of a version. No error where there is nothing."""
        self._gone(self.of(version_id), "files of a concept")

    def mark_deleted(self, ids: Iterable[str]) -> None:
        """Of versions and trainings: their rows are about to go. Should `remove` not come to it then, `tidy_up` does
        it at the next start, whatever the database knows by then."""
        for version_id in ids:
            try:
                (self.of(version_id) / _DELETED).touch()
            except OSError as error:  # a full disk must not keep anybody from deleting
                if not isinstance(error, FileNotFoundError):
                    log.warning("the files of concept version %s can't be marked: %s", version_id, error.strerror)

    def _gone(self, folder: Path, what: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            log.warning("the %s can't be removed (%s): the next start tries again", what, folder.name)

    # ── at start ──

    def tidy_up(self, live: Collection[str], versions: Mapping[str, str], *, known: bool) -> None:
        """What a killed bot has left. `live`: trainings that go on; `versions`: kept paths by version id; `known`: is
        the database one that knows anything? (A new one beside old files may be a mistake: of those, only what is
        marked goes.)"""
        try:
            for folder in _folders(self._trainings):
                if folder.name not in live:
                    _remove(folder)
            unknown = [folder for folder in _folders(self._concepts) if folder.name not in {*live, *versions}]
            gone = [folder for folder in unknown if known or (folder / _DELETED).exists()]
            if len(gone) < len(unknown):
                count = len(unknown) - len(gone)
                log.warning("the files of %d concepts are here that the database does not know", count)
            for folder in gone:
                _remove(folder)
        except OSError as error:
            log.warning("old files of trainings and concepts cannot be removed: %s", error)
        for version, kept in versions.items():
            if not self.absolute(kept).is_file():
                log.warning("the file of concept version %s is missing", version)


def _step(checkpoint: Path) -> int:
    """How far a training was when it wrote this (as `training.checkpoint` has it); −1 where there is none."""
    try:
        with checkpoint.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _HEADER_AT_MOST:
                return -1
            header = json.loads(file.read(length))
        return int(json.loads(header["__metadata__"]["notes"])["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def _folders(parent: Path) -> Iterator[Path]:
    """Real ones only: a link in there may lead anywhere."""
    if parent.is_dir():
        yield from (path for path in list(parent.iterdir()) if path.is_dir() and not path.is_symlink())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
