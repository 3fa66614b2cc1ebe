"""Attachment storage: what Discord's content network is to a bot.

Differs from simcord's store in what a long-running server needs: its links are real, pictures carry their
width and height, and memory is bounded. Links are kept here without a signature; `links.py` signs them on their
way out.
"""

import io
import mimetypes
import re
import time
import urllib.parse
import warnings
from collections import deque
from collections.abc import Iterable
from typing import Any

from aiohttp import web
from simcord.backend.cdn import CdnStore

from bot.playground.links import Links

GRACE_SECONDS = 120.0
"""A replaced picture can still be fetched this long: a page may be loading it just now."""
MAX_BYTES = 512 * 1024 * 1024
INLINE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif"} | {
    ".webp": "image/webp"
}
"""Shown in the page. Everything else (SVG and HTML can carry scripts) is only ever downloaded."""


class AttachmentStore(CdnStore):
    """simcord's store with links under `base_url`, picture sizes and a memory bound."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url
        self._released: deque[tuple[float, str]] = deque()
        self._size = 0

    def store_attachment(
        self, attachment_id: int, channel_id: int, filename: str, data: bytes, description: str | None
    ) -> dict[str, Any]:
        name = safe_name(filename)
        url = f"{self._base_url}/cdn/attachments/{channel_id}/{attachment_id}/{urllib.parse.quote(name)}"
        self._purge(len(data))
        self._blobs[url] = data
        self._size += len(data)
        attachment: dict[str, Any] = {
            "id": str(attachment_id),
            "filename": name,
            "size": len(data),
            "url": url,
            "proxy_url": url,
            "content_type": content_type(name),
        }
        if description:
            attachment["description"] = description
        size = picture_size(data)
        if size is not None:
            attachment["width"], attachment["height"] = size
        return attachment

    def release(self, urls: Iterable[str]) -> None:
        """Forget these blobs once `GRACE_SECONDS` have passed."""
        now = time.monotonic()
        self._released.extend((now, url) for url in urls)

    def _purge(self, incoming: int) -> None:
        limit = time.monotonic() - GRACE_SECONDS
        while self._released and self._released[0][0] < limit:
            self._forget(self._released.popleft()[1])
        while self._size + incoming > MAX_BYTES and self._blobs:  # the oldest go first: dicts keep insertion order
            self._forget(next(iter(self._blobs)))

    def _forget(self, url: str) -> None:
        self._size -= len(self._blobs.pop(url, b""))


def safe_name(filename: str) -> str:
    """The file name as Discord keeps it: no folders, no spaces, at most 100 characters."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", filename.replace("\\", "/").rsplit("/", 1)[-1]).lstrip(".")
    return name[-100:] or "file"


def content_type(filename: str) -> str:
    suffix = "." + filename.rsplit(".", 1)[-1].lower()
    return INLINE_TYPES.get(suffix) or mimetypes.guess_type(filename)[0] or "application/octet-stream"


def picture_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) from a picture's header, or None. Nothing is decoded."""
    from PIL import Image  # noqa: PLC0415 - keeps the start of the server quick

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF")) as image:
                return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


async def serve(request: web.Request, store: AttachmentStore, links: Links, base_url: str) -> web.Response:
    """One attachment. Answers 404 with Discord's words where there is none, or where the link is not valid."""
    url = base_url + request.rel_url.raw_path
    blob = store.get(url)
    if blob is None or not links.valid(url, request.query):
        return web.Response(status=404, text="This content is no longer available.")
    name = request.match_info["name"]
    suffix = "." + name.rsplit(".", 1)[-1].lower()
    inline = suffix in INLINE_TYPES
    headers = {
        "Content-Type": INLINE_TYPES[suffix] if inline else "application/octet-stream",
        "Content-Disposition": f'{"inline" if inline else "attachment"}; filename="{safe_name(name)}"',
        "Cache-Control": "private, max-age=86400, immutable",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return web.Response(body=blob, headers=headers)
