"""Photos for a training: what is said of each, and which of them are the same picture twice.

Nothing here decodes a picture: that is done by `training.photo_process`, a process of its own, and what it says
arrives here as plain numbers. Light: standard library and msgspec only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

import msgspec

from generation import limits
from training.order import PHOTOS

_NAME_CHARACTERS: Final = 60
_NEAR_HASH: Final = 24
"""Bits of 256 in which the hashes of two copies of one photo may differ."""
_COLOURS: Final = 8 * 8 * 3
_NEAR_COLOUR: Final = 12.0
"""Of 255: how far their colours may be apart, on average; hashes see brightness only."""


NOT_READ: Final = "This picture could not be read in a reasonable time and space: save it anew, and send that."


class PhotoStatus(StrEnum):
    ACCEPTED = "accepted"
    FIXED = "fixed"
    """Used, after something was put right that its owner should know of."""
    WARNED = "warned"
    """Used, but a better one would help."""
    REJECTED = "rejected"


class PhotoVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One photo, as its owner reads of it before any training."""

    name: str
    """As it was called, without folders and control characters. Not escaped for chat."""
    status: PhotoStatus
    sentence: str
    path: Path | None = None
    """A clean square RGB PNG with nothing but pixels in it; None where it is rejected."""
    width: int = 0
    """Of the photo as it came, upright; 0 where that is not known."""
    height: int = 0


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is asked: read this."""

    data: bytes
    kind: Literal["photo", "start"]
    """A photo becomes a square and is judged; a start image is made upright and no larger than `side`."""
    side: int
    """Pixels: of the square, or of the longest side at most."""


class Fingerprint(msgspec.Struct, frozen=True):
    """To find the same picture again, whatever its size, format and quality."""

    hash: str
    """Perceptual, 256 bits as hexadecimal digits."""
    mirrored: str
    """The same of its mirror image."""
    colours: bytes
    """8×8 RGB."""

    def __post_init__(self) -> None:
        # It comes from a process that has read hostile files.
        if len(self.colours) != _COLOURS or not max(int(self.hash, 16), int(self.mirrored, 16)) < 1 << 256:
            raise ValueError("not a fingerprint")


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What the process answers. `refused` is a sentence, and then there is nothing else."""

    refused: str | None = None
    png: bytes = b""
    width: int = 0
    height: int = 0
    fixed: list[str] = []
    """What was put right, in words."""
    warnings: list[str] = []
    fingerprint: Fingerprint | None = None
    trouble: str = ""
    """For the log: an error that should not have been."""


def file_name(name: str) -> str:
    """A file's name as it can be shown: no folders, nothing that commands a terminal or turns the text around."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = "".join(" " if char.isspace() else char for char in unicodedata.normalize("NFC", last))
    plain = " ".join("".join(char for char in plain if char.isprintable()).split())
    if len(plain) > _NAME_CHARACTERS:
        plain = f"{plain[: _NAME_CHARACTERS - 1]}…"
    return plain if plain.strip(".") else "photo"


def rejected(name: str, sentence: str) -> PhotoVerdict:
    return PhotoVerdict(name=file_name(name), status=PhotoStatus.REJECTED, sentence=sentence)


def too_large(name: str, size: int) -> PhotoVerdict | None:
    """The verdict on a photo of `size` bytes before it is downloaded; None where it is small enough to look at."""
    if size <= limits.IMAGE_BYTES:
        return None
    most = limits.IMAGE_BYTES / 2**20
    return rejected(name, f"Not used: the file has {size / 2**20:.0f} MiB, and {most:g} MiB is the most.")


def verdicts_on(names: Sequence[str], looked: Sequence[Looked], paths: Sequence[Path]) -> list[PhotoVerdict]:
    """One for each photo, in order. Of photos that are the same picture the first is used, the others are not."""
    verdicts: list[PhotoVerdict] = []
    seen: list[tuple[str, Fingerprint]] = []
    for name, look, path in zip(map(file_name, names), looked, paths, strict=True):
        twin = None if look.fingerprint is None else _twin(look.fingerprint, seen)
        if look.refused is not None:
            verdicts.append(rejected(name, f"Not used: {_lowered(look.refused)}"))
        elif twin is not None:
            verdicts.append(_with_size(rejected(name, f"Not used: {twin}"), look))
        else:
            verdicts.append(_used(name, look, path))
            if look.fingerprint is not None:
                seen.append((name, look.fingerprint))
    return verdicts


def usable(verdicts: Iterable[PhotoVerdict]) -> list[Path]:
    """The clean pictures."""
    return [verdict.path for verdict in verdicts if verdict.path is not None]


def too_few(verdicts: Iterable[PhotoVerdict]) -> str | None:
    """A sentence where there are not enough of them to train with."""
    found = len(usable(verdicts))
    if found >= PHOTOS[0]:
        return None
    have = {0: "none of these", 1: "only one of these"}.get(found, f"only {found} of these")
    return f"A training needs at least {PHOTOS[0]} different photos, and {have} can be used: send some more."


def _used(name: str, look: Looked, path: Path) -> PhotoVerdict:
    said = "Used"
    status = PhotoStatus.ACCEPTED
    if look.fixed:
        status = PhotoStatus.FIXED
        said += f", after {_listed(look.fixed)}"
    if look.warnings:
        status = PhotoStatus.WARNED
        said += f", but {_listed(look.warnings)}"
    return _with_size(PhotoVerdict(name=name, status=status, sentence=f"{said}.", path=path), look)


def _with_size(verdict: PhotoVerdict, look: Looked) -> PhotoVerdict:
    return msgspec.structs.replace(verdict, width=look.width, height=look.height)


def _twin(print_: Fingerprint, seen: Iterable[tuple[str, Fingerprint]]) -> str | None:
    """Which of the earlier photos it repeats, in words."""
    for name, other in seen:
        if print_ == other:
            return f"it is the same picture as “{name}”."
        if _near(print_.hash, other.hash) and _colours_near(print_.colours, other.colours):
            return f"it is nearly the same picture as “{name}”."
        if _near(print_.hash, other.mirrored) and _colours_near(_flipped(print_.colours), other.colours):
            return f"it is “{name}” in a mirror."
    return None


def _near(one: str, other: str) -> bool:
    return (int(one, 16) ^ int(other, 16)).bit_count() <= _NEAR_HASH


def _colours_near(one: bytes, other: bytes) -> bool:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) <= _NEAR_COLOUR * len(one)


def _flipped(colours: bytes) -> bytes:
    """8×8 RGB, left and right exchanged."""
    return b"".join(colours[(row * 8 + column) * 3 :][:3] for row in range(8) for column in reversed(range(8)))


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _lowered(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
