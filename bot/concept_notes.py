"""What a concept's file says of itself: one entry in the header of a safetensors file, which other programs skip.

A file from elsewhere has none. The format: eight bytes with the header's length, the header as JSON, the tensors
(github.com/huggingface/safetensors). Only the header is read, and only it is written anew: weights are copied as
they are. Blocking calls; light.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import msgspec

from training.order import Depicts, Method

NOTES_KEY: Final = "atelier_concept"
_HEADER_AT_MOST: Final = 10_000_000
_ALIGNED: Final = 8


_Short = Annotated[str, msgspec.Meta(max_length=256)]
"""Members are shown some of it, and anybody may have written it."""


class ConceptNotes(msgspec.Struct, frozen=True, kw_only=True):
    name: _Short
    trigger: _Short
    """What `<name>` reads as; "" where the file brings vectors of its own."""
    class_word: _Short
    method: Method
    depicts: Depicts
    model_hash: _Short = ""
    """Of the model that it was made for."""
    model_name: _Short = ""


class NoConceptFile(Exception):
    """One sentence, with the file's name."""


def read_notes(path: Path) -> ConceptNotes | None:
    """None where the file has none, or some that nobody understands.

    Raises:
        NoConceptFile: it is not a safetensors file.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        header = _header(file, path)
    try:
        return msgspec.json.decode(header["__metadata__"][NOTES_KEY], type=ConceptNotes)
    except (KeyError, TypeError, msgspec.DecodeError):
        return None


def copy_with_notes(source: Path, target: Path, notes: ConceptNotes) -> None:
    """Whole or not at all; what was in the way is replaced. Raises NoConceptFile, OSError."""
    begun = target.with_name(f".{target.name}.part")
    try:
        with source.open("rb") as reading, begun.open("wb") as writing:
            header = _header(reading, source)
            metadata = header.get("__metadata__")
            kept = metadata if isinstance(metadata, dict) else {}
            header["__metadata__"] = {**kept, NOTES_KEY: msgspec.json.encode(notes).decode()}
            content = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
            content += b" " * (-len(content) % _ALIGNED)
            writing.write(len(content).to_bytes(8, "little") + content)
            shutil.copyfileobj(reading, writing, 1 << 20)
            writing.flush()
            os.fsync(writing.fileno())
        begun.replace(target)
    except BaseException:
        begun.unlink(missing_ok=True)
        raise


def _header(file: BinaryIO, path: Path) -> dict[str, Any]:
    """Leaves the file at its tensors."""
    length = int.from_bytes(file.read(8), "little")
    try:
        header = json.loads(file.read(length)) if 2 <= length <= _HEADER_AT_MOST else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise NoConceptFile(f"{path.name} is not a safetensors file.")
    return header
