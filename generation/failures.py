"""Why a request ends without its pictures, in one sentence for its member."""

from __future__ import annotations

from typing import Final

from generation.concepts.files import ConceptRefused
from generation.image_input import ImageRefused
from generation.latents import NotFinite
from generation.memory import DoesNotFit, is_out_of_memory
from generation.request import InvalidRequest

OUT_OF_MEMORY: Final = "This needs more memory than there is; ask for fewer or smaller pictures."
_NOT_FINITE: Final = (
    "The model's numbers ran out of range, so there is no picture; try lower guidance or another seed."
)
_NO_START_IMAGE: Final = "The start image's file is gone or can't be read; send it again."


def failure_sentence(error: BaseException) -> str | None:
    """None for what is a fault of the program."""
    if isinstance(error, ImageRefused | ConceptRefused | InvalidRequest | DoesNotFit):
        return str(error)
    if isinstance(error, NotFinite):
        return _NOT_FINITE
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, OSError):
        return _NO_START_IMAGE
    return None
