"""The gateway's protocol, frame by frame, without discord.py."""

from tests.bot.playground.client import PlaygroundClient
from tests.bot.playground.raw import connect, identify


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


async def test_a_session_that_waited_too_long_is_invalid(playground: PlaygroundClient) -> None:
    first = await connect(playground)
    await identify(first)
    session = (await first.until("GUILD_CREATE"))[0]["d"]["session_id"]
    await first.socket.close()

    async def gone() -> bool:
        return not (await playground.state())["bot_connected"]

    await playground.until(gone)
    await playground.advance(20 * 60)
    second = await connect(playground)
    await second.send(6, {"token": "playground", "session_id": session, "seq": 2})
    assert (await second.read())["op"] == 9
