"""What only tests use: time, members, channels."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.bot.playground.client import PlaygroundClient, PlaygroundError
from tests.bot.playground.raw import INTENTS, Api, ready

MEMBERS = 1 << 1


async def pinged(playground: PlaygroundClient, api: Api, studio: str) -> dict[str, Any]:
    """An interaction that was answered at once."""
    await api.commands({"name": "ping"})
    socket = await ready(playground)
    sent = {"type": "command", "channel": studio, "name": "ping"}
    await playground.call("POST", "/interactions?wait=0", json=sent)
    told = (await socket.until("INTERACTION_CREATE"))[-1]["d"]
    assert (await api.answer(told, 4, content="pong"))[0] == 200
    return told


async def test_an_interactions_token_ends_after_15_minutes(
    playground: PlaygroundClient, api: Api, studio: str
) -> None:
    """ "Interaction tokens are valid for 15 minutes"; a late call gets 50027 "Invalid webhook token provided". The
    bot's message is still there for its ordinary calls."""
    told = await pinged(playground, api, studio)
    path = f"/webhooks/{told['application_id']}/{told['token']}/messages/@original"
    await playground.advance(14 * 60)
    assert (await api("PATCH", path, json={"content": "in time"}, headers={}))[0] == 200
    await playground.advance(6 * 60)
    status, answer, _ = await api("PATCH", path, json={"content": "too late"}, headers={})
    assert (status, answer["code"]) == (401, 50027)
    (message,) = await playground.messages(studio)
    assert message["content"] == "in time"
    status, _, _ = await api("PATCH", f"/channels/{studio}/messages/{message['id']}", json={"content": "later"})
    assert status == 200


async def test_nonces_are_forgotten_and_ids_are_newer(playground: PlaygroundClient, api: Api, studio: str) -> None:
    path, message = f"/channels/{studio}/messages", {"content": "x", "nonce": "j:0", "enforce_nonce": True}
    _, first, _ = await api("POST", path, json=message)
    _, second, _ = await api("POST", path, json=message)
    await playground.advance(20 * 60)
    _, third, _ = await api("POST", path, json=message)
    assert first["id"] == second["id"] != third["id"]
    passed = datetime.fromisoformat(third["timestamp"]) - datetime.fromisoformat(first["timestamp"])
    assert timedelta(minutes=20) <= passed < timedelta(minutes=21)
    assert timedelta(minutes=20) <= timedelta(milliseconds=(int(third["id"]) - int(first["id"])) >> 22)


async def test_time_only_goes_forward(playground: PlaygroundClient) -> None:
    for seconds in (-1, "x", None):
        with pytest.raises(PlaygroundError, match="number of seconds"):
            await playground.call("POST", "/clock", json={"advance": seconds})


async def test_many_members_and_channels(playground: PlaygroundClient, api: Api) -> None:
    socket = await ready(playground, INTENTS | MEMBERS)
    members = await playground.call("POST", "/members", json={"count": 197})
    assert (await socket.until("GUILD_MEMBER_ADD"))[-1]["d"]["user"]["id"] == members[0]["id"]
    channels = await playground.call("POST", "/channels", json={"count": 17})
    assert (await socket.until("CHANNEL_CREATE"))[-1]["d"]["id"] == channels[0]["id"]
    state = await playground.state(members[99]["id"], channels[9]["id"])
    assert (len(state["members"]), len(state["channels"])) == (200, 20)
    assert len({member["id"] for member in state["members"]}) == 200
    await playground.say(channels[9]["id"], "hello", user=members[99]["id"])
    (message,) = await playground.messages(channels[9]["id"])
    assert message["author"]["id"] == members[99]["id"]
    assert (await api("POST", f"/channels/{channels[16]['id']}/messages", json={"content": "x"}))[0] == 200


async def test_a_named_age_restricted_channel(playground: PlaygroundClient, api: Api) -> None:
    (added,) = await playground.call("POST", "/channels", json={"name": "late", "nsfw": True})
    assert (added["name"], added["nsfw"]) == ("late", True)
    assert (await api("GET", f"/channels/{added['id']}"))[1]["nsfw"] is True
