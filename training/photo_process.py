"""`python -m training.photo_process`: reads pictures that nobody vouches for, in a process that may do little.

Its caller is `training.photo_reading`. Frames come in on standard input and go out on standard output: a length of
four bytes, then msgpack (`training.photos.Look` and `Looked`). It needs no file of its own, so it may write none.
Before each picture it may use `CPU_SECONDS` more of processor time, and never more than `MEMORY` bytes of address
space; where the platform has no such limits (Windows), the caller's clock is all there is.
"""

from __future__ import annotations

import math
import os
import sys
import traceback
import warnings
from contextlib import suppress
from typing import BinaryIO, Final

import msgspec
from PIL import Image

from generation.image_input import ImageRefused, png_of, read_image
from training.photos import NOT_READ, Look, Looked

try:
    import resource
except ImportError:  # Windows
    resource = None

MEMORY: Final = 1 << 30
CPU_SECONDS: Final = 15
_OPEN_FILES: Final = 64
_LEAST_SIDE: Final = 16


def main() -> None:
    """Answers until standard input ends."""
    incoming, outgoing = _pipes()
    _give_up_rights()
    with suppress(ImportError):  # an extra
        from pillow_heif import options, register_heif_opener  # noqa: PLC0415

        options.DECODE_THREADS = 1
        register_heif_opener(thumbnails=False)
    warnings.simplefilter("ignore")
    _send(outgoing, b"ready")
    _silence()
    decoder, encoder = msgspec.msgpack.Decoder(Look), msgspec.msgpack.Encoder()
    while header := incoming.read(4):
        look = decoder.decode(incoming.read(int.from_bytes(header, "big")))
        _allow_more_time()
        _send(outgoing, encoder.encode(answer(look)))


def answer(look: Look) -> Looked:
    """What there is to say of one picture."""
    try:
        if look.kind == "start":
            return _start_image(look.data, look.side)
        from training.photo_looks import look_at_photo  # noqa: PLC0415  (start images need no NumPy)

        return look_at_photo(look.data, look.side)
    except ImageRefused as refused:
        return Looked(refused=str(refused))
    except Exception:  # noqa: BLE001 (one that nobody thought of: the next picture shall be looked at all the same)
        return Looked(refused=NOT_READ, trouble=traceback.format_exc(limit=-8))


def _start_image(data: bytes, side: int) -> Looked:
    image = read_image(data)
    width, height = image.size
    scale = side / max(width, height)
    if scale < 1:
        size = max(_LEAST_SIDE, round(width * scale)), max(_LEAST_SIDE, round(height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return Looked(png=png_of(image), width=width, height=height)


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Taken over: what a library prints can't get between the frames."""
    incoming, outgoing = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(incoming, "rb"), os.fdopen(outgoing, "wb")


def _give_up_rights() -> None:
    if resource is None:
        return
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),  # a core file would hold somebody's photos
    ):
        with suppress(ValueError, OSError):  # macOS knows some limits by name only
            resource.setrlimit(limit, (value, value))


def _allow_more_time() -> None:
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime) + CPU_SECONDS
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def _silence() -> None:
    """Nobody reads what decoders complain of, and a full pipe would stop them."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


def _send(outgoing: BinaryIO, content: bytes) -> None:
    outgoing.write(len(content).to_bytes(4, "big") + content)
    outgoing.flush()


if __name__ == "__main__":
    sys.exit(main())
