"""Transport compression of the gateway, as a bot asks for it in the address.

discord.py asks for `zstd-stream` where it has a zstd library (Python 3.14 has one), else for `zlib-stream`.
It also reads plain text frames at any time, so a bot whose library is newer than this server's still works.
"""

import importlib
import zlib
from typing import Any, Protocol


class Compressor(Protocol):
    """One connection's stream: every message ends on a flush, so that it can be read at once."""

    def pack(self, text: str) -> bytes: ...


class ZlibStream:
    """One zlib stream for the connection; each message ends in `00 00 ff ff` (Z_SYNC_FLUSH)."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj()

    def pack(self, text: str) -> bytes:
        return self._stream.compress(text.encode()) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class ZstdStream:
    """One zstd frame for the connection; each message ends on a block flush."""

    def __init__(self, library: Any) -> None:
        self._stream = library.ZstdCompressor()
        self._flush = self._stream.FLUSH_BLOCK

    def pack(self, text: str) -> bytes:
        return bytes(self._stream.compress(text.encode(), mode=self._flush))


def compressor(wanted: str | None) -> Compressor | None:
    """A compressor for `?compress=`; None means plain text frames."""
    if wanted == "zlib-stream":
        return ZlibStream()
    if wanted == "zstd-stream":
        try:
            return ZstdStream(importlib.import_module("compression.zstd"))
        except ImportError:
            return None
    return None
