"""The gateway's protocol, frame by frame, without discord.py."""

import json
import zlib
from typing import Any

import aiohttp

from tests.bot.playground.client import PlaygroundClient

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


async def test_ready_then_the_server_then_heartbeats(playground: PlaygroundClient) -> None:
    socket = await connect(playground, "?compress=zlib-stream")
    await identify(socket)
    ready, guild = await socket.read(), await socket.read()
    assert (ready["t"], ready["s"], guild["t"], guild["s"]) == ("READY", 1, "GUILD_CREATE", 2)
    assert guild["d"]["channels"][2]["nsfw"] is True
    assert [member["user"]["username"] for member in guild["d"]["members"]] == ["Atelier"]
    await socket.send(1, 2)
    assert (await socket.read())["op"] == 11


async def test_wrong_token_closes_with_4004(playground: PlaygroundClient) -> None:
    socket = await connect(playground)
    await identify(socket, token="wrong")
    assert (await socket.socket.receive(timeout=5)).data == 4004


async def test_resume_replays_exactly_what_was_missed(playground: PlaygroundClient, studio: str) -> None:
    first = await connect(playground)
    await identify(first)
    ready = (await first.until("GUILD_CREATE"))[0]["d"]
    await playground.say(studio, "seen")
    seen = (await first.until("MESSAGE_CREATE"))[-1]["s"]
    await first.socket.close()
    for number in range(3):
        await playground.say(studio, f"missed {number}")
    second = await connect(playground)
    await second.send(6, {"token": "playground", "session_id": ready["session_id"], "seq": seen})
    replayed = await second.until("RESUMED")
    assert [event["t"] for event in replayed] == ["MESSAGE_CREATE"] * 3 + ["RESUMED"]
    assert [event["s"] for event in replayed] == [seen + 1, seen + 2, seen + 3, seen + 4]


async def test_unknown_session_is_invalid(playground: PlaygroundClient) -> None:
    socket = await connect(playground)
    await socket.send(6, {"token": "playground", "session_id": "nothing", "seq": 3})
    answer = await socket.read()
    assert (answer["op"], answer["d"]) == (9, False)


async def test_events_outside_the_intents_are_not_sent(playground: PlaygroundClient, studio: str) -> None:
    socket = await connect(playground)
    await identify(socket, intents=1)
    await socket.until("GUILD_CREATE")
    await playground.say(studio, "hello")
    await playground.call("POST", f"/channels/{studio}/permissions", json={"deny": []})
    assert (await socket.read())["t"] == "CHANNEL_UPDATE"


async def test_members_are_sent_on_request(playground: PlaygroundClient) -> None:
    socket = await connect(playground)
    await identify(socket)
    guild = (await socket.until("GUILD_CREATE"))[-1]["d"]
    await socket.send(8, {"guild_id": guild["id"], "query": "ro", "limit": 0, "nonce": "n"})
    chunk = (await socket.until("GUILD_MEMBERS_CHUNK"))[-1]["d"]
    assert [member["user"]["username"] for member in chunk["members"]] == ["robin"]
    assert chunk["nonce"] == "n"


async def test_page_shows_whether_a_bot_is_there(playground: PlaygroundClient) -> None:
    assert not (await playground.state())["bot_connected"]
    socket = await connect(playground)
    await identify(socket)
    await socket.until("GUILD_CREATE")
    assert (await playground.state())["bot_connected"]
