"""Discord's REST API under `/api/v10`: simcord answers, this module adds what simcord leaves out.

Namely: authorization, nonces, file and request size limits, rate limits, the gateway's address, and faults
that tests ask for.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from simcord.backend.errors import BackendError
from simcord.http import dispatch

from bot.playground.connect import TOKEN
from bot.playground.faults import Fault, Faults
from bot.playground.nonces import Nonces, check_nonce
from bot.playground.ratelimits import RateLimits
from bot.playground.uploads import BOT_FILE_BYTES, BOT_REQUEST_BYTES, Body, Upload, read_body
from bot.playground.world import World

APPLICATION_FLAGS = 1 << 15 | 1 << 19
"""Limited server-members and message-content intents: what a small bot has after two clicks in the portal."""


class Rest:
    """The REST half of the playground's Discord.

    Args:
        world: The model that answers.
        gateway_url: Told to bots that ask where the gateway is.
        message_content: Whether the connected bot may read other people's messages.
        on_callback: Called with the id of an interaction that was just answered.
        on_commands: Called when the bot registered commands.
    """

    def __init__(
        self,
        world: World,
        gateway_url: str,
        *,
        message_content: Callable[[], bool],
        on_callback: Callable[[int], None],
        on_commands: Callable[[], None],
    ) -> None:
        self.world = world
        self.faults = Faults()
        self.limits = RateLimits()
        self.nonces = Nonces()
        self.log: deque[dict[str, Any]] = deque(maxlen=1000)
        self._gateway_url = gateway_url
        self._message_content = message_content
        self._on_callback = on_callback
        self._on_commands = on_commands

    async def handle(self, request: web.Request) -> web.Response:
        """One REST call."""
        path = "/" + request.match_info["path"]
        started = time.perf_counter()
        fault = self.faults.take(request.method, path)
        try:
            response = await self._answer(request, path, fault)
        except BackendError as error:
            response = _json(error.to_json(), error.status)
        entry = {"at": time.time(), "method": request.method, "path": path, "status": response.status}
        self.log.append(entry | {"ms": round((time.perf_counter() - started) * 1000, 1)})
        if fault is not None and fault.kind == "reset_after":
            _drop_connection(request)
        return response

    async def _answer(self, request: web.Request, path: str, fault: Fault | None) -> web.Response:
        if not _authorized(request, path):
            return _json({"message": "401: Unauthorized", "code": 0}, 401)
        if fault is not None and fault.kind == "reset":
            _drop_connection(request)
        if fault is not None and fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        body = await read_body(request, file_bytes=BOT_FILE_BYTES, request_bytes=BOT_REQUEST_BYTES)
        if fault is not None and fault.kind == "status":
            return _json({"code": fault.code, "message": fault.message}, fault.status)
        verdict = self.limits.check(request.method, path)
        if verdict is not None and not verdict.allowed:
            told = {"message": "You are being rate limited.", "retry_after": verdict.retry_after}
            return _json(told | {"global": False}, 429, verdict.headers)
        result = self._own_route(request.method, path) or self._dispatch(request, path, body)
        if result is None:
            return web.Response(status=204, headers=verdict.headers if verdict else None)
        return _json(result, 200, verdict.headers if verdict else None)

    def _own_route(self, method: str, path: str) -> dict[str, Any] | None:
        if method != "GET" or path not in ("/gateway", "/gateway/bot"):
            return None
        start_limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
        return {"url": self._gateway_url, "shards": 1, "session_start_limit": start_limit}

    def _dispatch(self, request: web.Request, path: str, body: Body) -> Any:
        files = body.ordered_files()
        segments = path.strip("/").split("/")
        if request.method == "POST" and segments[0] == "channels" and segments[2:] == ["messages"]:
            return self._send_message(request, path, int(segments[1]), body.json or {}, files)
        result = self._simcord(request, path, body.json, files)
        if segments[0] == "interactions" and segments[-1] == "callback":
            self._on_callback(int(segments[1]))
        elif segments[0] == "applications" and "commands" in segments and request.method != "GET":
            self._on_commands()
        elif path == "/oauth2/applications/@me":
            result["flags"] = APPLICATION_FLAGS
        elif segments[0] == "channels" and len(segments) == 2 and isinstance(result, dict):
            result = self.world.wire("CHANNEL_UPDATE", cast("dict[str, Any]", result))
        return result

    def _send_message(
        self, request: web.Request, path: str, channel_id: int, payload: dict[str, Any], files: list[Upload]
    ) -> dict[str, Any]:
        nonce = check_nonce(payload.get("nonce"))
        if nonce is not None and payload.get("enforce_nonce"):
            known = self.nonces.find(channel_id, nonce)
            message = self.world.messages.get(channel_id, {}).get(known or 0)
            if message is not None:
                return self.world.message(message) | {"nonce": nonce}
        with self.world.sending_with(nonce):
            sent: dict[str, Any] = self._simcord(request, path, payload, files)
        if nonce is not None:
            self.nonces.remember(channel_id, nonce, int(sent["id"]))
        return sent | {"nonce": nonce}

    def _simcord(self, request: web.Request, path: str, payload: Any, files: list[Upload]) -> Any:
        return dispatch(
            self.world,
            request.method,
            path,
            json=payload,
            params=dict(request.query),
            files=list(files),
            reason=request.headers.get("X-Audit-Log-Reason"),
            message_content_access=self._message_content(),
        )


def _authorized(request: web.Request, path: str) -> bool:
    """Calls on an interaction carry their token in the path; all others need the bot's."""
    if path.startswith(("/interactions/", "/webhooks/")):
        return True
    return request.headers.get("Authorization") == f"Bot {TOKEN}"


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    # discord.py decodes a body only where the content type is exactly this, without a charset.
    text = json.dumps(body).encode()
    return web.Response(body=text, status=status, headers=headers, content_type="application/json")


def _drop_connection(request: web.Request) -> None:
    """Reset the TCP connection, as a proxy that dies does."""
    if request.transport is not None:
        request.transport.abort()
    raise web.HTTPServiceUnavailable
