"""Files of tensors, whole or not there: written beside, flushed to the disk, renamed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Save as safetensors, on the CPU. One entry of metadata at most: safetensors writes several in any order, and
    equal trainings must give equal bytes.

    Raises:
        OSError: no room, or no such folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(descriptor)
    temporary = Path(name)
    try:
        own = {key: value.detach().to("cpu").contiguous() for key, value in tensors.items()}
        save_file(own, temporary, dict(metadata or {}))
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def remove_half_written(folder: Path) -> None:
    """What a killed process was writing here; nobody else may be. There may be no such folder."""
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)


def sha256_of(file: Path) -> str:
    """
    Raises:
        OSError: it can't be read.
    """
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _flush_folder(folder: Path) -> None:
    """So that the new name, too, outlives a power cut."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
