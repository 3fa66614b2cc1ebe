"""Live news for the open pages, as server-sent events.

Each event is one JSON object with a `type`: `message` (new or edited: `message`, with `pings`),
`message_deleted` (`id`, `channel`), `typing` (`channel`, `user`), `bot` (`connected`), `commands`, `interaction`
(`interaction`), and `channels` and `members`, after which the state is worth fetching again (channels, threads,
people). What only some may see (ephemeral messages, interactions, direct messages) reaches only their pages.
"""

import asyncio
import contextlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bot.playground.world import World

PING_SECONDS = 15.0
QUEUE_LIMIT = 2000
EPHEMERAL = 1 << 6


@dataclass(eq=False)
class Viewer:
    """One open page. Cut off at `QUEUE_LIMIT` unread events; the browser then connects again."""

    user_id: int
    events: asyncio.Queue[str | None] = field(default_factory=lambda: asyncio.Queue(QUEUE_LIMIT))


class Hub:
    """Tells every open page what happens."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._viewers: set[Viewer] = set()
        world.subscribers.append(self._on_event)
        world.private_listeners.append(self._on_event)

    def publish(self, event: dict[str, Any], *, only_for: Container[int] | None = None) -> None:
        if not self._viewers:
            return
        text = json.dumps(self._world.links.fresh(event))
        for viewer in list(self._viewers):
            if only_for is None or viewer.user_id in only_for:
                try:
                    viewer.events.put_nowait(text)
                except asyncio.QueueFull:
                    self._viewers.discard(viewer)

    def _on_event(self, event: str, payload: Mapping[str, Any]) -> None:
        if event in ("MESSAGE_CREATE", "MESSAGE_UPDATE"):
            stored = self._world.get_message(int(payload["channel_id"]), int(payload["id"]))
            message = {**payload, "pings": self._world.pings(stored)}
            self.publish({"type": "message", "message": message}, only_for=self._readers(payload))
        elif event == "MESSAGE_DELETE":
            told = {"type": "message_deleted", "id": payload["id"], "channel": payload["channel_id"]}
            self.publish(told, only_for=self._readers(payload))
        elif event == "MESSAGE_DELETE_BULK":
            for message_id in payload["ids"]:
                told = {"type": "message_deleted", "id": message_id, "channel": payload["channel_id"]}
                self.publish(told, only_for=self._readers(payload))
        elif event == "TYPING_START":
            told = {"type": "typing", "channel": payload["channel_id"], "user": payload["user_id"]}
            self.publish(told, only_for=self._readers(payload))
        elif event.startswith(("CHANNEL_", "THREAD_")) and event != "CHANNEL_PINS_UPDATE":
            self.publish({"type": "channels"})
        elif event.startswith("GUILD_MEMBER_"):
            self.publish({"type": "members"})

    def _readers(self, payload: Mapping[str, Any]) -> Container[int] | None:
        """Who may know of this: its one owner, the two of a direct message, or None: everybody."""
        if payload.get("flags", 0) & EPHEMERAL:
            return (int((payload.get("interaction_metadata") or {}).get("user", {}).get("id", 0)),)
        return self._world.recipients(int(payload["channel_id"]))

    async def stream(self, request: web.Request, user_id: int) -> web.StreamResponse:
        """The event stream of one page, until it goes away."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        viewer = Viewer(user_id)
        self._viewers.add(viewer)  # before the headers: a page fetches the state when it sees them
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n\n")
            while viewer in self._viewers or not viewer.events.empty():
                try:
                    async with asyncio.timeout(PING_SECONDS):
                        text = await viewer.events.get()
                except TimeoutError:
                    await response.write(b": ping\n\n")
                    continue
                if text is None:
                    break
                await response.write(b"data: " + text.encode() + b"\n\n")
        except ConnectionError:
            pass
        finally:
            self._viewers.discard(viewer)
        return response

    async def close(self) -> None:
        """End all streams: the server stops."""
        for viewer in list(self._viewers):
            with contextlib.suppress(asyncio.QueueFull):
                viewer.events.put_nowait(None)
        self._viewers.clear()
