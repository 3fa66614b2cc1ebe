"""What a bot without the message-content intent may read, by Discord's documentation ("Message Content Intent"):
`content`, `embeds`, `attachments`, `components` and `poll` are empty, except in "messages your app sends", "DMs that
your app receives", "messages in which your app is mentioned" and "the target of a message context menu command"."""

from typing import Any

import pytest

from tests.bot.playground.client import PlaygroundClient
from tests.bot.playground.raw import INTENTS, MESSAGE_CONTENT, Api, ready

FILES = {"a.png": b"x"}


def readable(message: dict[str, Any]) -> bool:
    """Whether content and attachment are there; both or none."""
    assert bool(message["content"]) == bool(message["attachments"])
    return bool(message["content"])


async def both_ways(playground: PlaygroundClient, api: Api, channel: str, **said: Any) -> tuple[Any, Any]:
    """A member's message as the gateway tells it and as REST gives it to a bot without the intent."""
    socket = await ready(playground)
    message = await playground.say(channel, files=FILES, **said)
    told = (await socket.until("MESSAGE_CREATE"))[-1]["d"]
    _, fetched, _ = await api("GET", f"/channels/{channel}/messages/{message['id']}")
    return told, fetched


async def bots_message(api: Api, channel: str) -> dict[str, Any]:
    return (await api("POST", f"/channels/{channel}/messages", json={"content": "a picture"}))[1]


async def test_others_messages_are_empty(playground: PlaygroundClient, api: Api, studio: str) -> None:
    for message in await both_ways(playground, api, studio, content="hello"):
        assert not readable(message)
        assert (message["embeds"], message["components"]) == ([], [])
        assert (message["author"]["username"], "poll" in message) == ("you", False)


async def test_the_intent_shows_everything(playground: PlaygroundClient, api: Api, studio: str) -> None:
    socket = await ready(playground, INTENTS | MESSAGE_CONTENT)
    message = await playground.say(studio, "hello", files=FILES)
    assert readable((await socket.until("MESSAGE_CREATE"))[-1]["d"])
    assert readable((await api("GET", f"/channels/{studio}/messages"))[1][0])
    assert readable((await api("GET", f"/channels/{studio}/messages/{message['id']}"))[1])


async def test_a_mention_shows_that_message(playground: PlaygroundClient, api: Api, studio: str) -> None:
    bot = (await playground.state())["bot"]["id"]
    for message in await both_ways(playground, api, studio, content=f"<@{bot}> hello"):
        assert readable(message)
        assert [user["id"] for user in message["mentions"]] == [bot]


@pytest.mark.parametrize("ping", [True, False])
async def test_a_reply_that_pings_the_bot_is_a_mention(
    playground: PlaygroundClient, api: Api, studio: str, ping: bool
) -> None:
    """A reply "mentions" its author unless `allowed_mentions.replied_user` is off; on is the client's default. The
    replied-to message is the bot's own: readable in both."""
    target = await bots_message(api, studio)
    said: dict[str, Any] = {"content": "bluer", "reply_to": target["id"]} | ({} if ping else {"ping": False})
    for message in await both_ways(playground, api, studio, **said):
        assert readable(message) is ping
        assert [user["username"] for user in message["mentions"]] == (["Atelier"] if ping else [])
        assert message["referenced_message"]["content"] == "a picture"
        assert (message["type"], message["message_reference"]["message_id"]) == (19, target["id"])


async def test_a_mention_does_not_show_the_message_replied_to(
    playground: PlaygroundClient, api: Api, studio: str
) -> None:
    """Every message is judged by itself, `referenced_message` too."""
    bot = (await playground.state())["bot"]["id"]
    other = await playground.say(studio, "mine", files=FILES, user=await playground.member("Robin"))
    for message in await both_ways(playground, api, studio, content=f"<@{bot}> this", reply_to=other["id"]):
        assert readable(message)
        assert not readable(message["referenced_message"])


async def test_a_deleted_message_replied_to_is_null(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """ "If the field exists but is null, the referenced message was deleted." """
    target = await bots_message(api, studio)
    reply = await playground.say(studio, "bluer", reply_to=target["id"])
    await playground.call("DELETE", f"/channels/{studio}/messages/{target['id']}")
    _, fetched, _ = await api("GET", f"/channels/{studio}/messages/{reply['id']}")
    assert fetched["referenced_message"] is None


async def test_only_one_level_of_replies_is_told(playground: PlaygroundClient, api: Api, studio: str) -> None:
    first = await bots_message(api, studio)
    second = await playground.say(studio, "two", reply_to=first["id"])
    third = await playground.say(studio, "three", reply_to=second["id"])
    assert third["referenced_message"]["id"] == second["id"]
    assert "referenced_message" not in third["referenced_message"]


async def test_edits_are_emptied_too(playground: PlaygroundClient, api: Api, studio: str) -> None:
    message = await playground.say(studio, "look")
    socket = await ready(playground)
    await playground.thread(studio, "About it", message=message["id"])
    assert (await socket.until("MESSAGE_UPDATE"))[-1]["d"]["content"] == ""


async def test_the_target_of_a_message_command_is_readable(
    playground: PlaygroundClient, api: Api, studio: str
) -> None:
    await api.commands({"name": "Remix", "type": 3, "description": ""})
    message = await playground.say(studio, "hello", files=FILES)
    socket = await ready(playground)
    sent = {"type": "context", "channel": studio, "name": "Remix", "message": message["id"]}
    await playground.call("POST", "/interactions?wait=0", json=sent)
    data = (await socket.until("INTERACTION_CREATE"))[-1]["d"]["data"]
    assert data["target_id"] == message["id"]
    assert readable(data["resolved"]["messages"][message["id"]])


async def test_a_forward_is_empty_like_any_message(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """A forward's `message_snapshots` are content of the message that holds them."""
    general = await playground.channel("general")
    source = await playground.say(general, "hello", files=FILES)
    socket = await ready(playground)
    await playground.forward(studio, source)
    told = (await socket.until("MESSAGE_CREATE"))[-1]["d"]
    assert not readable(told["message_snapshots"][0]["message"])
    assert told["message_reference"]["type"] == 1


async def test_a_forward_carries_a_copy(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """`message_reference.type` 1 (FORWARD) with the source's channel, `message_snapshots` with a partial message
    without author, the flag HAS_SNAPSHOT (1 << 14); the copy stays when its source goes."""
    general = await playground.channel("general")
    source = await playground.say(general, "hello", files=FILES)
    socket = await ready(playground, INTENTS | MESSAGE_CONTENT)
    forward = await playground.forward(studio, source, user=await playground.member("Robin"))
    told = (await socket.until("MESSAGE_CREATE"))[-1]["d"]
    for message in (forward, told):
        reference = message["message_reference"]
        assert (reference["type"], reference["channel_id"], reference["message_id"]) == (1, general, source["id"])
        (snapshot,) = message["message_snapshots"]
        assert readable(snapshot["message"])
        assert "author" not in snapshot["message"]
        assert (message["content"], message["flags"] & 1 << 14) == ("", 1 << 14)
    await playground.call("DELETE", f"/channels/{general}/messages/{source['id']}")
    (kept,) = await playground.messages(studio)
    link = kept["message_snapshots"][0]["message"]["attachments"][0]["url"]
    async with playground.session.get(link) as response:
        assert await response.read() == b"x"
