"""Request bodies: JSON or multipart, with Discord's size limits.

A body that is too large is read to its end and thrown away, never kept: answering early would reset the
connection, and the sender would not see why.
"""

import io
import json
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import BodyPartReader, web
from simcord.backend.errors import BackendError

BOT_FILE_BYTES = 10 * 1024 * 1024
BOT_REQUEST_BYTES = 25 * 1024 * 1024
MEMBER_FILE_BYTES = 50 * 1024 * 1024
"""A paying member may attach this much on Discord: a bot has to cope with it."""
MEMBER_REQUEST_BYTES = 100 * 1024 * 1024
MAX_FILES = 10


@dataclass
class Upload:
    """One uploaded file, in the shape that simcord's routes read."""

    filename: str
    fp: io.BytesIO
    description: str | None = None

    @property
    def data(self) -> bytes:
        return self.fp.getvalue()


@dataclass
class Body:
    """A request body: the JSON part and the files by their form name."""

    json: Any = None
    files: dict[str, Upload] = field(default_factory=dict[str, Upload])

    def ordered_files(self) -> list[Upload]:
        """Files of a Discord message, in the order of `files[n]`, with their alt text filled in.

        Raises:
            BackendError: 50035, the numbers of the files are not 0, 1, 2 …
        """
        files = {_number(name): upload for name, upload in self.files.items()}
        if sorted(files) != list(range(len(files))):
            raise BackendError(400, 50035, "Invalid Form Body: files must be files[0], files[1] …")
        for entry in _attachment_entries(self.json):
            upload = files.get(int(entry["id"])) if str(entry.get("id", "")).isdecimal() else None
            if upload is not None:
                upload.description = entry.get("description")
                upload.filename = entry.get("filename") or upload.filename
        return [files[number] for number in sorted(files)]


def too_large() -> BackendError:
    """What Discord answers: status 413, code 40005."""
    return BackendError(413, 40005, "Request entity too large")


async def read_body(request: web.Request, *, file_bytes: int, request_bytes: int) -> Body:
    """The body of a request.

    Args:
        file_bytes: Largest single file, in bytes.
        request_bytes: Largest sum of all parts, in bytes.

    Raises:
        BackendError: 40005 where a limit is passed, 50109 where the JSON can't be read.
    """
    if not request.content_type.startswith("multipart/"):
        raw = await _bounded(request.content, request_bytes)
        if raw is None:
            raise too_large()
        return Body(_parse(raw))
    body = Body()
    scalars: dict[str, str] = {}
    total, refused = 0, False
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            continue
        data = await _bounded(part, min(file_bytes, request_bytes - total))
        refused = refused or data is None or len(body.files) >= MAX_FILES
        if refused or data is None:
            continue
        total += len(data)
        if part.filename is not None:
            body.files[part.name or "file"] = Upload(part.filename, io.BytesIO(data))
        elif part.name == "payload_json":
            body.json = _parse(data)
        elif part.name is not None:
            scalars[part.name] = data.decode()
    if refused:
        raise too_large()
    if body.json is None and scalars:
        body.json = scalars
    return body


async def _bounded(source: Any, limit: int) -> bytes | None:
    """All bytes of a stream or a part, or None (having read to the end) where there are more than `limit`."""
    chunks: list[bytes] = []
    total = 0
    while True:
        chunk = await (source.read_chunk() if isinstance(source, BodyPartReader) else source.read(65536))
        if not chunk:
            return b"".join(chunks) if total <= limit else None
        total += len(chunk)
        if total <= limit:
            chunks.append(chunk)
        else:
            chunks.clear()


def _parse(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError as error:
        raise BackendError(400, 50109, "The request body contains invalid JSON.") from error


def _number(name: str) -> int:
    inner = name.removeprefix("files[").removesuffix("]")
    return int(inner) if inner.isdecimal() else -1


def _attachment_entries(payload: Any) -> list[dict[str, Any]]:
    """The `attachments` list of a message body, or of the `data` of an interaction callback."""
    if not isinstance(payload, dict):
        return []
    message = cast("dict[str, Any]", payload)
    inner = message.get("data")
    if isinstance(inner, dict):
        message = cast("dict[str, Any]", inner)
    return message.get("attachments") or []
