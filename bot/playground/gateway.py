"""Discord's gateway: the WebSocket that tells a bot what happens.

HELLO, IDENTIFY, READY, heartbeats, RESUME with replay, member chunks, intents. A session outlives its
connection by two minutes, so that a bot whose connection breaks misses nothing; a bot that is killed and
started again identifies anew and finds the same world.
"""

import asyncio
import contextlib
import json
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import discord
from aiohttp import web
from simcord import intents as simulated
from simcord.backend import serializers

from bot.playground.compression import compressor
from bot.playground.connect import TOKEN
from bot.playground.world import World

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, REQUEST_MEMBERS = 0, 1, 2, 6, 7, 8
INVALID_SESSION, HELLO, HEARTBEAT_ACK = 9, 10, 11
HEARTBEAT_MILLISECONDS = 41_250
ACK_SECONDS = 0.05
"""discord.py notes when it sent a heartbeat after sending it: an answer in no time at all, as only loopback can
give, reads as one that took a whole interval, and is logged as a slow connection."""
DETACHED_SECONDS = 120.0
REPLAY_EVENTS = 2000


class Connection:
    """One WebSocket. Frames leave in order through a queue, so that events can be sent from plain code."""

    def __init__(self, socket: web.WebSocketResponse, compress: str | None) -> None:
        self.socket = socket
        self._compressor = compressor(compress)
        self._frames: asyncio.Queue[str] = asyncio.Queue()

    def send(self, op: int, data: Any = None, **more: Any) -> None:
        self.send_text(json.dumps({"op": op, "d": data, "s": None, "t": None} | more))

    def send_text(self, text: str) -> None:
        self._frames.put_nowait(text)

    async def write(self) -> None:
        """Runs as long as the connection; ends when the other side is gone."""
        with contextlib.suppress(ConnectionError):
            while True:
                text = await self._frames.get()
                if self._compressor is None:
                    await self.socket.send_str(text)
                else:
                    await self.socket.send_bytes(self._compressor.pack(text))


@dataclass
class Session:
    """What the server knows about one shard of one bot process."""

    id: str
    intents: discord.Intents
    shard_id: int
    shard_count: int
    sequence: int = 0
    events: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=REPLAY_EVENTS))
    connection: Connection | None = None
    detached_at: float = 0.0

    def dispatch(self, event: str, data: Mapping[str, Any]) -> None:
        self.sequence += 1
        text = json.dumps({"op": DISPATCH, "d": data, "s": self.sequence, "t": event})
        self.events.append((self.sequence, text))
        if self.connection is not None:
            self.connection.send_text(text)

    def can_replay_after(self, sequence: int) -> bool:
        """Whether nothing between `sequence` and now has been forgotten."""
        oldest = self.events[0][0] if self.events else self.sequence + 1
        return oldest - 1 <= sequence <= self.sequence


class Gateway:
    """All sessions. `on_presence` is called when the first bot connects or the last one goes."""

    def __init__(self, world: World, url: str, on_presence: Callable[[], None]) -> None:
        self._world = world
        self._url = url
        self._on_presence = on_presence
        self._sessions: dict[str, Session] = {}
        world.subscribers.append(self.feed)

    @property
    def connected(self) -> bool:
        return any(session.connection is not None for session in self._sessions.values())

    @property
    def message_content(self) -> bool:
        """Whether the bot declared that it reads message content."""
        return any(session.intents.message_content for session in self._sessions.values())

    # ------------------------------------------------------------ to the bot

    def feed(self, event: str, payload: Mapping[str, Any]) -> None:
        """Give an event to every session whose shard and intents want it."""
        if event != "INTERACTION_CREATE" and int(payload.get("channel_id") or 0) in self._world.private_channels:
            return  # the bot is not in these: it gets only what members ask of it there
        for session in list(self._sessions.values()):
            if _shard(event, payload, session.shard_count) == session.shard_id:
                shaped = self._shape(session, event, payload)
                if shaped is not None:
                    session.dispatch(event, shaped)

    def _shape(self, session: Session, event: str, payload: Mapping[str, Any]) -> dict[str, Any] | None:
        """The event as this session may see it, following simcord's own gateway; None: not at all."""
        gate = simulated.required_intent(event, payload)
        if gate is not None and not getattr(session.intents, gate):
            return None
        shaped: dict[str, Any] = self._world.links.fresh(payload)  # a copy, to be cut down for this session
        bot_id = self._world.bot_user.id
        if event == "GUILD_CREATE":
            simulated.prune_guild_create(shaped, session.intents, bot_id)
        if session.intents.message_content:
            return shaped
        if event in ("MESSAGE_CREATE", "MESSAGE_UPDATE"):
            simulated.censor_message(shaped, bot_id, backend=self._world)
        elif event == "INTERACTION_CREATE":
            if isinstance(shaped.get("message"), dict):
                simulated.censor_message(shaped["message"], bot_id, backend=self._world, exempt_root=True)
            data: dict[str, Any] = shaped["data"]
            for message_id, message in data.get("resolved", {}).get("messages", {}).items():
                chosen = str(data.get("target_id")) == message_id
                simulated.censor_message(message, bot_id, backend=self._world, exempt_root=chosen)
        return shaped

    # ---------------------------------------------------------- connections

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """One WebSocket, from HELLO to its end."""
        socket = web.WebSocketResponse(max_msg_size=1 << 20, compress=False)
        await socket.prepare(request)
        connection = Connection(socket, request.query.get("compress"))
        writer = asyncio.create_task(connection.write())
        connection.send(HELLO, {"heartbeat_interval": HEARTBEAT_MILLISECONDS})
        try:
            async for frame in socket:
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    continue
                message: dict[str, Any] = json.loads(frame.data)
                close_code = self._receive(connection, message.get("op"), message.get("d"))
                if close_code is not None:
                    await socket.close(code=close_code)
        finally:
            writer.cancel()
            self._detach(connection)
        return socket

    def _receive(self, connection: Connection, op: object, data: Any) -> int | None:
        """Act on one frame from the bot. Returns a close code where the connection must end."""
        if op == HEARTBEAT:
            asyncio.get_running_loop().call_later(ACK_SECONDS, connection.send, HEARTBEAT_ACK)
        elif op in (IDENTIFY, RESUME) and data.get("token") != TOKEN:
            return 4004
        elif op == IDENTIFY:
            self._identify(connection, data)
        elif op == RESUME:
            self._resume(connection, data)
        elif op == REQUEST_MEMBERS:
            self._send_members(connection, data)
        return None

    def _identify(self, connection: Connection, data: dict[str, Any]) -> None:
        shard_id, shard_count = data.get("shard") or (0, 1)
        # A new process of this shard: what its predecessor left is not going to be resumed.
        for old in [s for s in self._sessions.values() if s.shard_id == shard_id and s.connection is None]:
            del self._sessions[old.id]
        intents = discord.Intents._from_value(data["intents"])  # pyright: ignore[reportPrivateUsage]
        session = Session(secrets.token_hex(16), intents, shard_id, shard_count, connection=connection)
        guilds = [guild for guild in self._world.guilds.values() if (guild.id >> 22) % shard_count == shard_id]
        session.dispatch(
            "READY",
            {
                "v": 10,
                "user": serializers.user_payload(self._world.bot_user),
                "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
                "session_id": session.id,
                "resume_gateway_url": self._url,
                "shard": [shard_id, shard_count],
                "application": {"id": str(self._world.application_id), "flags": 0},
            },
        )
        self._sessions[session.id] = session
        for guild in guilds:
            payload: Any = serializers.guild_create_payload(self._world, guild)
            shaped = self._shape(session, "GUILD_CREATE", self._world.wire("GUILD_CREATE", payload))
            if shaped is not None:
                session.dispatch("GUILD_CREATE", shaped)
        self._on_presence()

    def _resume(self, connection: Connection, data: dict[str, Any]) -> None:
        session = self._sessions.get(data.get("session_id", ""))
        sequence = data.get("seq") or 0
        stale = session is not None and self._stale(session)
        if session is None or stale or not session.can_replay_after(sequence):
            connection.send(INVALID_SESSION, False)
            return
        session.connection = connection
        for number, text in session.events:
            if number > sequence:
                connection.send_text(text)
        session.dispatch("RESUMED", {})
        self._on_presence()

    def _send_members(self, connection: Connection, data: dict[str, Any]) -> None:
        session = next((s for s in self._sessions.values() if s.connection is connection), None)
        guild = self._world.guilds.get(int(data.get("guild_id", 0)))
        if session is None or guild is None:
            return
        wanted = {int(user_id) for user_id in data.get("user_ids") or []}
        prefix = str(data.get("query") or "").lower()
        members = [
            member
            for member in guild.members.values()
            if (not wanted or member.user_id in wanted)
            and self._world.users[member.user_id].name.lower().startswith(prefix)
        ][: data.get("limit") or None]
        chunk = [serializers.member_payload(self._world, guild, member) for member in members]
        payload = {"guild_id": str(guild.id), "members": chunk, "chunk_index": 0, "chunk_count": 1}
        session.dispatch("GUILD_MEMBERS_CHUNK", payload | {"nonce": data.get("nonce")})

    def _detach(self, connection: Connection) -> None:
        for session in list(self._sessions.values()):
            if session.connection is connection:
                session.connection = None
                session.detached_at = self._world.wall.monotonic()
            elif self._stale(session):
                del self._sessions[session.id]
        self._on_presence()

    def _stale(self, session: Session) -> bool:
        away = self._world.wall.monotonic() - session.detached_at
        return session.connection is None and away > DETACHED_SECONDS

    # -------------------------------------------------------------- for tests

    async def disturb(self, how: str) -> None:
        """Break all connections: `drop` (the bot may resume), `reconnect` (asked to), `invalidate`."""
        for session in list(self._sessions.values()):
            connection = session.connection
            if connection is None:
                continue
            if how == "reconnect":
                connection.send(RECONNECT)
            elif how == "invalidate":
                del self._sessions[session.id]
                connection.send(INVALID_SESSION, False)
            else:
                await connection.socket.close(code=4000)

    async def close(self) -> None:
        """Say goodbye to every bot: the server stops."""
        for session in list(self._sessions.values()):
            if session.connection is not None:
                await session.connection.socket.close(code=1001)


def _shard(event: str, payload: Mapping[str, Any], shard_count: int) -> int:
    """Discord: `(guild_id >> 22) % num_shards`; what belongs to no server goes to shard 0."""
    guild_id = payload.get("guild_id") or (payload.get("id") if event.startswith("GUILD_") else None)
    return (int(guild_id) >> 22) % shard_count if guild_id else 0
