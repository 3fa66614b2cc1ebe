"""Open a .safetensors file that a stranger made: its names and shapes first, the numbers only where they are wanted.

Pickles (.bin, .ckpt, .pt, .pth) can run code when they are opened and are refused by name.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from torch import Tensor

MAX_HEADER: Final = 16 * 2**20
"""Bytes; every weight of Stable Diffusion XL with its text encoders takes half a megabyte."""
_PICKLES: Final = {".bin", ".ckpt", ".pkl", ".pt", ".pth"}
_NUMBERS: Final = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float32}
"""By name in the file, what we keep them as."""
_LONGEST_QUOTE: Final = 120


class ConceptRefused(ValueError):
    """One sentence: the file's name, what is wrong with it, and what is allowed."""


def quoted(text: str) -> str:
    """A name out of a stranger's file, fit to be shown: no control characters, no pings, not too long."""
    plain = "".join(sign if sign.isprintable() and sign != "@" else "?" for sign in text)
    return f"“{plain if len(plain) <= _LONGEST_QUOTE else plain[:_LONGEST_QUOTE] + '…'}”"


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A file whose header has been read."""

    name: str
    sha256: str
    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]
    _handle: Any

    def refuse(self, reason: str) -> ConceptRefused:
        """The error to raise: the file's name, then `reason`, which ends the sentence."""
        return ConceptRefused(f"{quoted(self.name)} {reason}.")

    def read(self, key: str) -> Tensor:
        """The numbers under `key`, on the CPU, in float16, bfloat16 or float32.

        Raises:
            ConceptRefused: other numbers than these or float64; NaN or infinity.
        """
        kind = self._handle.get_slice(key).get_dtype()
        if kind not in _NUMBERS:
            raise self.refuse(f"has {kind} numbers at {quoted(key)}; {', '.join(_NUMBERS)} are allowed")
        # A copy: what the library gives is mapped from the file, and goes wrong if somebody shortens that.
        values: Tensor = self._handle.get_tensor(key).to(_NUMBERS[kind], copy=True)
        if not bool(torch.isfinite(values).all()):
            raise self.refuse(f"has NaN or infinite numbers at {quoted(key)}; all must be finite")
        return values

    def read_ids(self, key: str, below: int) -> Tensor:
        """The whole numbers under `key`, int64 `[n]`: from 0 to `below` − 1, each once.

        Raises:
            ConceptRefused: other numbers.
        """
        kind = self._handle.get_slice(key).get_dtype()
        if kind != "I64" or len(self.shapes[key]) != 1:
            raise self.refuse(
                f"has {kind} numbers of shape {list(self.shapes[key])} at {quoted(key)}; I64 [n] goes there"
            )
        ids: Tensor = self._handle.get_tensor(key).clone()
        if len(ids.unique()) < len(ids) or not bool(((ids >= 0) & (ids < below)).all()):
            raise self.refuse(f"has numbers at {quoted(key)} that are not 0 to {below - 1}, each at most once")
        return ids


@contextmanager
def open_tensors(path: Path) -> Generator[TensorFile]:
    """Check that `path` is a whole .safetensors file and give its names and shapes.

    Raises:
        ConceptRefused: it is none, has another ending, or can't be read.
    """
    name = quoted(path.name)
    ending = path.suffix.lower()
    if ending in _PICKLES:
        raise ConceptRefused(f"{name} is a pickle, which can run code when it is opened; give a .safetensors file.")
    if ending != ".safetensors":
        raise ConceptRefused(f"{name} is not a .safetensors file; only those are read.")
    try:
        sha256 = _checked_hash(path)
        with safe_open(path, framework="pt") as handle:
            shapes = {key: tuple(handle.get_slice(key).get_shape()) for key in handle.keys()}  # noqa: SIM118
            if not shapes:
                raise ConceptRefused(f"{name} is empty; a concept has at least one tensor.")
            yield TensorFile(path.name, sha256, shapes, handle.metadata() or {}, handle)
    except SafetensorError as error:
        raise ConceptRefused(f"{name} is damaged or no safetensors file at all; give a whole one.") from error
    except OSError as error:
        raise ConceptRefused(f"{name} can't be read ({error.strerror}); give a .safetensors file.") from error


def _checked_hash(path: Path) -> str:
    """SHA-256, once the length that the first eight bytes give for the header makes sense."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        if header > MAX_HEADER:
            allowed = f"a header has at most {MAX_HEADER // 2**20} MiB"
            raise ConceptRefused(f"{quoted(path.name)} is no safetensors file or has too long a header; {allowed}.")
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()
