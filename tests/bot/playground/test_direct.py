"""Direct messages, by Discord's documentation of gateway intents, interactions and "Create DM"."""

from typing import Any

import pytest

from tests.bot.playground.client import PlaygroundClient, PlaygroundError
from tests.bot.playground.raw import DIRECT_MESSAGES, INTENTS, Api, Socket, ready

EVERYWHERE = {"contexts": [0, 1, 2], "integration_types": [0, 1]}


async def interaction(socket: Socket) -> dict[str, Any]:
    return (await socket.until("INTERACTION_CREATE"))[-1]["d"]


async def test_every_member_has_their_own(playground: PlaygroundClient) -> None:
    you, robin = await playground.direct(), await playground.direct(await playground.member("Robin"))
    assert you != robin
    (channel, *_) = (await playground.state())["dms"]
    assert (channel["type"], [user["username"] for user in channel["recipients"]]) == (1, ["Atelier"])
    with pytest.raises(PlaygroundError, match="Missing Access"):
        await playground.messages(you, await playground.member("Robin"))


async def test_create_dm_returns_the_channel_that_exists(playground: PlaygroundClient, api: Api) -> None:
    """ "Create a new DM channel with a user. Returns a DM channel object (if one already exists, it will be returned
    instead)." """
    robin = await playground.member("Robin")
    _, channel, _ = await api("POST", "/users/@me/channels", json={"recipient_id": robin})
    assert channel["id"] == await playground.direct(robin)
    assert channel["type"] == 1
    assert [user["username"] for user in channel["recipients"]] == ["robin"]
    assert set(channel) == {"id", "type", "flags", "last_message_id", "recipients"}


async def test_events_need_the_intent_and_have_no_server(playground: PlaygroundClient, studio: str) -> None:
    """DIRECT_MESSAGES (1 << 12) gates MESSAGE_CREATE in DMs; the event has no `guild_id` and no `member`; content
    "In DMs with the app" is there without the message-content intent."""
    without, listening = await ready(playground), await ready(playground, INTENTS | DIRECT_MESSAGES)
    direct = await playground.direct()
    await playground.say(direct, "psst")
    await playground.say(studio, "aloud")
    told = (await listening.until("MESSAGE_CREATE"))[-1]["d"]
    assert (told["channel_id"], told["content"]) == (direct, "psst")
    assert not {"guild_id", "member"} & set(told)
    assert (await without.until("MESSAGE_CREATE"))[-1]["d"]["channel_id"] == studio


async def test_bot_sends_edits_and_deletes(playground: PlaygroundClient, api: Api) -> None:
    direct = await playground.direct()
    _, sent, _ = await api("POST", f"/channels/{direct}/messages", json={"content": "one"})
    await api("PATCH", f"/channels/{direct}/messages/{sent['id']}", json={"content": "two"})
    assert [m["content"] for m in await playground.messages(direct)] == ["two"]
    status, _, _ = await api("DELETE", f"/channels/{direct}/messages/{sent['id']}")
    assert (status, await playground.messages(direct)) == (204, [])


async def test_a_member_who_takes_no_messages(playground: PlaygroundClient, api: Api) -> None:
    """50007: "Cannot send messages to this user"."""
    direct = await playground.direct()
    await playground.call("POST", f"/channels/{direct}/permissions", json={"deny": ["send_messages"]})
    status, answer, _ = await api("POST", f"/channels/{direct}/messages", json={"content": "x"})
    assert (status, answer["code"]) == (403, 50007)
    await playground.call("POST", f"/channels/{direct}/permissions", json={"deny": []})
    assert (await api("POST", f"/channels/{direct}/messages", json={"content": "x"}))[0] == 200


@pytest.mark.parametrize(
    ("where", "context", "owners", "permissions"),
    [("bot", 1, {"0": "0"}, 442368), ("member", 2, None, 180224)],
)
async def test_interactions_say_where_they_are(
    playground: PlaygroundClient, api: Api, where: str, context: int, owners: Any, permissions: int
) -> None:
    """`context`: 1 BOT_DM, 2 PRIVATE_CHANNEL. `authorizing_integration_owners`: GUILD_INSTALL (0) is "0" in a DM with
    the app's bot, USER_INSTALL (1) the user's id. `app_permissions`: "(G)DMs with other users … ATTACH_FILES |
    EMBED_LINKS | MENTION_EVERYONE … additionally USE_EXTERNAL_EMOJIS for DMs with the app's bot user" (442368 in the
    documentation's example). In DMs there is `user`, no `member`."""
    await api.commands({"name": "ping", **EVERYWHERE})
    socket = await ready(playground)
    you = (await playground.state())["me"]["id"]
    channel = (await playground.state())["dms"][0 if where == "bot" else 1]["id"]
    await playground.call(
        "POST", "/interactions?wait=0", json={"type": "command", "channel": channel, "name": "ping"}
    )
    told = await interaction(socket)
    assert (told["context"], told["user"]["id"], told["channel"]["type"]) == (context, you, 1)
    assert told["authorizing_integration_owners"] == (owners or {"1": you})
    assert told["app_permissions"] == str(permissions)
    assert not {"member", "guild_id", "guild"} & set(told)
    status, _, _ = await api.answer(told, 4, content="pong")
    assert status == 200
    assert [m["content"] for m in await playground.messages(channel)] == ["pong"]


async def test_the_bot_is_not_in_direct_messages_between_members(playground: PlaygroundClient, api: Api) -> None:
    """50001 "Missing Access"; none of its messages arrive; guild-installed commands are not there."""
    await api.commands({"name": "ping", "contexts": [0, 1], "integration_types": [0]})
    socket = await ready(playground, INTENTS | DIRECT_MESSAGES)
    private = (await playground.state())["dms"][1]
    assert [user["username"] for user in private["recipients"]] == ["robin"]
    status, answer, _ = await api("POST", f"/channels/{private['id']}/messages", json={"content": "x"})
    assert (status, answer["code"]) == (403, 50001)
    await playground.say(private["id"], "between us")
    await playground.say(await playground.direct(), "to the bot")
    assert (await socket.until("MESSAGE_CREATE"))[-1]["d"]["content"] == "to the bot"
    robin, sascha = await playground.member("Robin"), await playground.member("Sascha")
    assert [m["content"] for m in await playground.messages(private["id"], robin)] == ["between us"]
    assert private["id"] not in [channel["id"] for channel in (await playground.state(sascha))["dms"]]
    with pytest.raises(PlaygroundError, match="Missing Access"):
        await playground.say(private["id"], "x", user=sascha)
    with pytest.raises(PlaygroundError, match="/ping can't be used here"):
        await playground.command(private["id"], "ping")
    assert (await playground.state(channel=private["id"]))["commands"] == []
