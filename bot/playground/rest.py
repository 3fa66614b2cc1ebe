"""Discord's REST API under `/api/v10`: simcord answers, this module adds what simcord leaves out.

Namely: authorization, permissions to attach and to reply, nonces, limits of sizes, bodies and rates, signed links,
the gateway's address, age-restricted commands, and faults that tests ask for.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from simcord.backend import serializers
from simcord.backend.errors import BackendError, cannot_dm_bot, missing_access, missing_permissions
from simcord.backend.permissions import flag
from simcord.http import dispatch

from bot.playground import wire
from bot.playground.bodies import check_callback, check_commands, check_message
from bot.playground.connect import TOKEN
from bot.playground.faults import Fault, Faults
from bot.playground.nonces import Nonces, check_nonce
from bot.playground.ratelimits import InvalidRequests, RateLimits, bucket_headers, refusal_headers
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
        self.invalid = InvalidRequests()
        self.nonces = Nonces(world.wall.monotonic)
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
        status = 0
        try:
            response = await self._answer(request, path, fault)
            status = response.status
        except BackendError as error:
            response = _json(error.to_json(), error.status)
            status = response.status
        finally:
            self.invalid.note(status)
            entry = {"at": time.time(), "method": request.method, "path": path, "status": status}
            took = round((time.perf_counter() - started) * 1000, 1)
            self.log.append(entry | {"ms": took, "invalid": self.invalid.count})
        if fault is not None and fault.kind == "reset_after":
            _drop_connection(request)
        return response

    async def _answer(self, request: web.Request, path: str, fault: Fault | None) -> web.Response:
        if self.invalid.banned:  # Cloudflare's answer: no JSON, no Via
            return web.Response(status=429, text="error code: 1015", headers={"Retry-After": "600"})
        if not _authorized(request, path):
            return _json({"message": "401: Unauthorized", "code": 0}, 401)
        if fault is not None and fault.kind == "reset":
            _drop_connection(request)
        if fault is not None and fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        body = await read_body(request, file_bytes=BOT_FILE_BYTES, request_bytes=BOT_REQUEST_BYTES)
        if fault is not None and fault.kind == "status":
            return _asked_for(fault)
        return self._perform(request, path, body)

    def _perform(self, request: web.Request, path: str, body: Body) -> web.Response:
        """What the call is for, within the rate limits; refusals count and carry their headers, too."""
        verdict = self.limits.check(request.method, path)
        if verdict is not None and not verdict.allowed:
            return _rate_limited(verdict.retry_after, verdict.headers, everywhere=verdict.everywhere)
        headers = verdict.headers if verdict else None
        try:
            result = self._own_route(request.method, path, body) or self._dispatch(request, path, body)
        except BackendError as error:
            return _json(error.to_json(), error.status, headers)
        if result is None:
            return web.Response(status=204, headers=headers)
        return _json(self.world.links.fresh(wire.rest_answer(self.world, result)), 200, headers)

    def _own_route(self, method: str, path: str, body: Body) -> dict[str, Any] | None:
        if method == "POST" and path == "/attachments/refresh-urls":
            urls: list[str] = (body.json or {}).get("attachment_urls") or []
            pairs = [{"original": url, "refreshed": self.world.links.refreshed(url)} for url in urls]
            return {"refreshed_urls": pairs}
        if method != "GET" or path not in ("/gateway", "/gateway/bot"):
            return None
        start_limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
        return {"url": self._gateway_url, "shards": 1, "session_start_limit": start_limit}

    def _dispatch(self, request: web.Request, path: str, body: Body) -> Any:
        files = body.ordered_files()
        segments = path.strip("/").split("/")
        if segments[0] == "channels" and len(segments) > 1 and segments[1].isdecimal():
            if int(segments[1]) in self.world.private_channels:
                raise missing_access()
            check_message(_object(body.json))
            if files and not self._may(int(segments[1]), "attach_files"):  # simcord asks for it in forwards only
                raise missing_permissions()
        if request.method == "POST" and segments[0] == "channels" and segments[2:] == ["messages"]:
            return self._send_message(request, path, int(segments[1]), body.json or {}, files)
        if segments[0] == "applications" and "commands" in segments and request.method == "PUT":
            return self._register(request, path, body.json or [])
        if segments[0] == "interactions" and segments[-1] == "callback":
            check_callback(_object(body.json))
        elif segments[0] == "webhooks":
            self._require_live_token(segments)
            check_message(_object(body.json))
        result = self._simcord(request, path, body.json, files)
        if segments[0] == "interactions" and segments[-1] == "callback":
            self._on_callback(int(segments[1]))
        elif path == "/oauth2/applications/@me":
            result["flags"] = APPLICATION_FLAGS
            result["owner"] = serializers.user_payload(self.world.users[self.world.guild.owner_id])
        return result

    def _require_live_token(self, segments: list[str]) -> None:
        """An interaction's token ends after 15 minutes; simcord would say that it never was."""
        world = self.world
        if len(segments) < 3 or segments[1] != str(world.application_id):
            return
        record = world.interactions.get(world.interaction_tokens.get(segments[2], 0))
        if record is None or (record.expires_at or "") <= world.now_iso():
            raise BackendError(401, 50027, "Invalid Webhook Token")

    def _register(self, request: web.Request, path: str, commands: list[dict[str, Any]]) -> Any:
        """A bot's commands; simcord knows nothing of age-restricted ones."""
        check_commands(commands)
        plain = [{key: value for key, value in command.items() if key != "nsfw"} for command in commands]
        registered: list[dict[str, Any]] = self._simcord(request, path, plain, [])
        for command, given in zip(registered, commands, strict=True):
            command["nsfw"] = bool(given.get("nsfw"))
        self._on_commands()
        return registered

    def _send_message(
        self, request: web.Request, path: str, channel_id: int, payload: dict[str, Any], files: list[Upload]
    ) -> dict[str, Any]:
        if channel_id in self.world.closed_channels:
            raise cannot_dm_bot()  # 50007, "Cannot send messages to this user"
        nonce = check_nonce(payload.get("nonce"))
        if nonce is not None and payload.get("enforce_nonce"):
            known = self.nonces.find(channel_id, nonce)
            message = self.world.messages.get(channel_id, {}).get(known or 0)
            if message is not None:
                return self.world.message(message) | {"nonce": nonce}
        payload = self._answering(channel_id, payload)
        with self.world.sending_with(nonce):
            sent: dict[str, Any] = self._simcord(request, path, payload, files)
        if nonce is not None:
            self.nonces.remember(channel_id, nonce, int(sent["id"]))
        return sent | {"nonce": nonce}

    def _answering(self, channel_id: int, payload: dict[str, Any]) -> dict[str, Any]:
        """A reply to a message that isn't there is refused, or with `fail_if_not_exists: false` an ordinary message.

        Raises:
            BackendError: 50035; 160002 where the bot may not read the history.
        """
        reference = payload.get("message_reference") or {}
        answered = int(reference.get("message_id") or 0)
        if answered and not reference.get("type") and not self._may(channel_id, "read_message_history"):
            raise BackendError(400, 160002, "Cannot reply without permission to read message history")
        if not answered or reference.get("type") or answered in self.world.messages.get(channel_id, {}):
            return payload
        if reference.get("fail_if_not_exists", True):
            raise BackendError(400, 50035, "Invalid Form Body: message_reference: Unknown message")
        return {key: value for key, value in payload.items() if key != "message_reference"}

    def _may(self, channel_id: int, permission: str) -> bool:
        """Whether the bot may; in direct messages, and in a channel that isn't there, nothing forbids it."""
        world = self.world
        if channel_id not in world.channels or world.recipients(channel_id) is not None:
            return True
        return bool(world.permissions_in(world.bot_user.id, channel_id) & flag(permission))

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


def _object(body: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


def _asked_for(fault: Fault) -> web.Response:
    if fault.retry_after is None:
        return _json({"code": fault.code, "message": fault.message}, fault.status)
    headers = bucket_headers("chaos", 0, fault.retry_after) | refusal_headers(fault.retry_after, "user")
    return _rate_limited(fault.retry_after, headers, everywhere=False)


def _rate_limited(retry_after: float, headers: dict[str, str], *, everywhere: bool) -> web.Response:
    told = {"message": "You are being rate limited.", "retry_after": retry_after, "global": everywhere}
    return _json(told, 429, headers)


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    # discord.py decodes a body only where the content type is exactly this, without a charset.
    text = json.dumps(body).encode()
    return web.Response(body=text, status=status, headers=headers, content_type="application/json")


def _drop_connection(request: web.Request) -> None:
    """Reset the TCP connection, as a proxy that dies does."""
    if request.transport is not None:
        request.transport.abort()
    raise web.HTTPServiceUnavailable
