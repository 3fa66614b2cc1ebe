"""The live event stream of the page."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.bot.playground.client import PlaygroundClient


async def listen(playground: PlaygroundClient, user: str, heard: list[dict[str, Any]]) -> None:
    url = f"{playground.url}/playground/api/events"
    async with playground.session.get(url, params={"user": user}) as stream:
        assert stream.content_type == "text/event-stream"
        async for line in stream.content:
            if line.startswith(b"data: "):
                heard.append(json.loads(line[6:]))


async def heard_by(
    playground: PlaygroundClient, users: list[str], act: Callable[[], Awaitable[object]], last: str
) -> list[list[dict[str, Any]]]:
    """What the pages of these members hear while something happens, up to a message with the text `last`."""
    heard: list[list[dict[str, Any]]] = [[] for _ in users]
    streams = [asyncio.create_task(listen(playground, *pair)) for pair in zip(users, heard, strict=True)]
    await asyncio.sleep(0.3)
    await act()
    await playground.say(await playground.channel(), last)

    async def all_heard() -> bool:
        return all(events and events[-1].get("message", {}).get("content") == last for events in heard)

    await playground.until(all_heard)
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    return [events[:-1] for events in heard]


async def test_direct_messages_reach_only_the_two_in_them(playground: PlaygroundClient) -> None:
    you, robin, sascha = (member["id"] for member in (await playground.state())["members"])
    with_bot, with_robin = (channel["id"] for channel in (await playground.state())["dms"])

    async def act() -> None:
        await playground.say(with_bot, "to the bot")
        between = await playground.say(with_robin, "to Robin")
        await playground.call("DELETE", f"/channels/{with_robin}/messages/{between['id']}")

    heard = await heard_by(playground, [you, robin, sascha], act, "over")
    assert [[event["type"] for event in events] for events in heard] == [
        ["message", "message", "message_deleted"],
        ["message", "message_deleted"],
        [],
    ]


async def test_news_after_which_the_state_is_worth_fetching(playground: PlaygroundClient, studio: str) -> None:
    async def act() -> None:
        await playground.call("POST", "/channels", json={"name": "new"})
        await playground.call("POST", "/members", json={"count": 1})
        thread = await playground.thread(studio, "Foxes")
        await playground.call("PATCH", f"/channels/{thread}", json={"archived": True})

    (heard,) = await heard_by(playground, [""], act, "over")
    assert [event["type"] for event in heard] == ["channels", "members", "channels", "message", "channels"]


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
