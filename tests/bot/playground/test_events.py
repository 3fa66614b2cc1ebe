"""The live event stream of the page."""

import asyncio
import json
from typing import Any

from tests.bot.playground.client import PlaygroundClient


async def listen(playground: PlaygroundClient, user: str, heard: list[dict[str, Any]]) -> None:
    url = f"{playground.url}/playground/api/events"
    async with playground.session.get(url, params={"user": user}) as stream:
        assert stream.content_type == "text/event-stream"
        async for line in stream.content:
            if line.startswith(b"data: "):
                heard.append(json.loads(line[6:]))


async def test_every_page_hears_of_messages_but_only_its_member_of_private_ones(
    playground: PlaygroundClient, bot: Any, studio: str
) -> None:
    you, robin, _ = (member["id"] for member in (await playground.state())["members"])
    mine: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    streams = [asyncio.create_task(listen(playground, user, heard)) for user, heard in ((you, mine), (robin, theirs))]
    await asyncio.sleep(0.3)
    await playground.command(studio, "cancel", job="k1")
    message = await playground.say(studio, "hello", user=robin)
    await playground.call("DELETE", f"/channels/{studio}/messages/{message['id']}")

    async def all_heard() -> bool:
        return all(heard and heard[-1]["type"] == "message_deleted" for heard in (mine, theirs))

    await playground.until(all_heard)
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    assert [event["type"] for event in mine] == ["message", "interaction", "message", "message_deleted"]
    assert [event["type"] for event in theirs] == ["message", "message_deleted"]
    assert mine[0]["message"]["content"] == "Cancelled k1."
    assert mine[1]["interaction"]["state"] == "answered"
