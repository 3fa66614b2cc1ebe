"""The two halves of Discord's API without a bot library: REST calls, and the gateway frame by frame."""

import io
import json
import zlib
from typing import Any

import aiohttp

from tests.bot.playground.client import PlaygroundClient

BOT = {"Authorization": "Bot playground"}
DIRECT_MESSAGES, MESSAGE_CONTENT = 1 << 12, 1 << 15
INTENTS = 1 | 1 << 9


class Socket:
    """A gateway connection that reads plain or zlib-stream frames."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._inflate = zlib.decompressobj()

    async def read(self) -> dict[str, Any]:
        frame = await self.socket.receive(timeout=5)
        if frame.type is aiohttp.WSMsgType.BINARY:
            assert frame.data.endswith(b"\x00\x00\xff\xff")
            return json.loads(self._inflate.decompress(frame.data))
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        return json.loads(frame.data)

    async def until(self, event: str) -> list[dict[str, Any]]:
        """All dispatches up to this event."""
        seen = [await self.read()]
        while seen[-1]["t"] != event:
            seen.append(await self.read())
        return seen

    async def send(self, op: int, data: Any) -> None:
        await self.socket.send_json({"op": op, "d": data})


async def connect(playground: PlaygroundClient, query: str = "") -> Socket:
    socket = Socket(await playground.session.ws_connect(f"{playground.url}/gateway{query}"))
    hello = await socket.read()
    assert (hello["op"], hello["d"]["heartbeat_interval"]) == (10, 41250)
    return socket


async def identify(socket: Socket, token: str = "playground", intents: int = INTENTS) -> None:
    await socket.send(2, {"token": token, "intents": intents, "properties": {}})


async def ready(playground: PlaygroundClient, intents: int = INTENTS) -> Socket:
    """A bot that is connected and has read who it is and its server."""
    socket = await connect(playground)
    await identify(socket, intents=intents)
    await socket.until("GUILD_CREATE")
    return socket


class Api:
    """The REST API as a bot library uses it."""

    def __init__(self, playground: PlaygroundClient) -> None:
        self._playground = playground

    async def __call__(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        options.setdefault("headers", BOT)
        url = f"{self._playground.url}/api/v10{path}"
        async with self._playground.session.request(method, url, **options) as response:
            data = json.loads(await response.text() or "null")
            return response.status, data, response.headers

    async def commands(self, *commands: dict[str, Any]) -> None:
        """Register these global commands."""
        _, me, _ = await self("GET", "/oauth2/applications/@me")
        given = [{"description": "A command.", **command} for command in commands]
        status, answer, _ = await self("PUT", f"/applications/{me['id']}/commands", json=given)
        assert status == 200, answer

    async def answer(self, interaction: dict[str, Any], kind: int, **data: Any) -> tuple[int, Any, Any]:
        """The callback of an interaction."""
        path = f"/interactions/{interaction['id']}/{interaction['token']}/callback"
        return await self("POST", path, json={"type": kind, "data": data}, headers={})


def form(payload: dict[str, Any], *files: bytes) -> aiohttp.FormData:
    data = aiohttp.FormData({"payload_json": json.dumps(payload)}, quote_fields=False)
    for number, content in enumerate(files):
        data.add_field(f"files[{number}]", io.BytesIO(content), filename=f"{number}.png")
    return data
