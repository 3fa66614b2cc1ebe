"""Looks at a concept's file that somebody has sent, without torch: is it one that may be kept?

Only whole .safetensors files are (https://huggingface.co/docs/safetensors: eight bytes of length, a JSON header, the
numbers). Whether its shapes fit the model is for the worker to say, which has one.
"""

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, Final

import msgspec

from bot.concept_notes import NOTES_KEY, ConceptNotes
from bot.errors import ConceptFileRefused
from generation.request import tidied
from training.order import Method

MOST_BYTES: Final = 1_000_000_000
_MOST_HEADER: Final = 10_000_000
_MOST_TENSORS: Final = 20_000
_MOST_SIDES: Final = 8
"""Of a tensor. Of thousands of large numbers, their product alone would take minutes."""
_MOST_TRIGGER: Final = 100
_SIZES: Final = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_PICKLED: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
_LAYER: Final = re.compile(r"lora|lokr|loha|hada|dora|alpha|\.diff|oft|weight|bias|^unet\.|^text_encoder")
_TWO_ENCODERS: Final = ({"clip_l", "clip_g"}, {"text_encoders_0", "text_encoders_1"})
_WHOLE_MODEL: Final = ("model.diffusion_model.", "first_stage_model.")
_EXPONENT: Final = {"F16": (0x7C, 0), "BF16": (0x7F, 0x80), "F32": (0x7F, 0x80), "F64": (0x7F, 0xF0)}
"""Bits of the highest and of the second byte that are all set in a number that is not finite, and in no other."""


@dataclass(frozen=True, slots=True)
class ConceptFileFacts:
    """`method`: TEXTUAL_INVERSION for word vectors, LORA for whatever changes layers."""

    method: Method
    notes: ConceptNotes | None = None
    """What the file says of itself."""

    def trigger(self, class_word: str) -> str:
        """What `<name>` reads as: word vectors are words themselves, anything else needs some."""
        if self.method is Method.TEXTUAL_INVERSION:
            return ""
        said = "" if self.notes is None else tidied(self.notes.trigger)
        return said if 0 < len(said) <= _MOST_TRIGGER else class_word


def examined(data: bytes) -> ConceptFileFacts:
    """Raises ConceptFileRefused, one sentence. Takes a moment for large files: call it in a thread."""
    if data.startswith(_PICKLED):
        raise _refused("it is a pickle or a zip file, which could run programs; only .safetensors files are read")
    if len(data) > MOST_BYTES:
        raise _refused(f"it has {len(data) / 1e6:.0f} MB, and {MOST_BYTES / 1e6:.0f} MB is the most")
    length = int.from_bytes(data[:8], "little")
    if len(data) < 10 or not 2 <= length <= min(_MOST_HEADER, len(data) - 8):
        raise _refused("it is not a whole .safetensors file")
    header = _header(data[8 : 8 + length])
    tensors = _tensors(header)
    _check_layout(tensors, len(data) - 8 - length)
    if any(name.startswith(_WHOLE_MODEL) for name in tensors):
        raise _refused("it is a whole model, not a concept")
    numbers = memoryview(data)[8 + length :]
    for entry in tensors.values():
        start, end = entry["data_offsets"]
        if not _finite(numbers[start:end], entry["dtype"]):
            raise _refused("there are numbers in it that are not finite")
    method, notes = _method(set(tensors)), _notes(header)
    if notes is not None and method is not Method.TEXTUAL_INVERSION and notes.method is Method.DREAMBOOTH:
        method = notes.method
    return ConceptFileFacts(method, notes)


def _refused(reason: str) -> ConceptFileRefused:
    return ConceptFileRefused(reason=reason)


def _header(text: bytes) -> dict[str, Any]:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _refused("it is not a whole .safetensors file")
    return found


def _notes(header: dict[str, Any]) -> ConceptNotes | None:
    try:
        return msgspec.json.decode(header["__metadata__"][NOTES_KEY], type=ConceptNotes)
    except (KeyError, TypeError, msgspec.DecodeError):
        return None


def _tensors(header: dict[str, Any]) -> dict[str, dict[str, Any]]:
    tensors: dict[str, dict[str, Any]] = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if not 1 <= len(tensors) <= _MOST_TENSORS:
        raise _refused(f"it has {len(tensors):,} tensors, and 1 to {_MOST_TENSORS:,} are allowed")
    return tensors


def _check_layout(tensors: dict[str, dict[str, Any]], size: int) -> None:
    """Every byte belongs to one tensor, of the size that its type and shape say."""
    spans: list[tuple[int, int]] = [(0, 0)]
    for entry in tensors.values():
        match entry:
            case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)]} if (
                dtype in _SIZES
                and len(shape) <= _MOST_SIDES
                and all(type(side) is int and 0 <= side <= MOST_BYTES for side in shape)
            ):
                if end - start != _SIZES[dtype] * prod(shape):
                    raise _refused("its tensors are not of the size that it says")
                spans.append((start, end))
            case _:
                raise _refused("its header is not one that can be read")
    spans.sort()
    if any(end != start for (_, end), (start, _) in pairwise(spans)) or spans[-1][1] != size:
        raise _refused("it is cut off, or there is something behind its end")


def _finite(numbers: memoryview, dtype: str) -> bool:
    """Little-endian floats whose exponent has every bit set are infinite or not a number (IEEE 754)."""
    if dtype not in _EXPONENT:
        return True
    width = _SIZES[dtype]
    high, low = _EXPONENT[dtype]
    highest = bytes(numbers[width - 1 :: width])
    suspects = re.finditer(b"[" + _class(high) + b"]", highest)
    return not any(numbers[width * match.start() + width - 2] & low == low for match in suspects)


def _class(bits: int) -> bytes:
    """For a pattern: every byte in which these bits are set."""
    return b"".join(b"\\x%02x" % byte for byte in range(256) if byte & bits == bits)


def _method(names: set[str]) -> Method:
    words = names in _TWO_ENCODERS or (len(names) == 1 and not _LAYER.search(next(iter(names)).strip("<>")))
    return Method.TEXTUAL_INVERSION if words or names == {"emb_params"} else Method.LORA
