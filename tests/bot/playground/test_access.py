"""Who may use which command and do what, by Discord's documentation of application commands and permissions."""

from typing import Any

import discord
import pytest

from tests.bot.playground.client import PlaygroundClient, PlaygroundError
from tests.bot.playground.raw import Api, ready

MANAGE_GUILD = discord.Permissions.manage_guild.flag
MANAGE_MESSAGES = discord.Permissions.manage_messages.flag


async def names(playground: PlaygroundClient, user: str, channel: str) -> list[str]:
    state = await playground.state(user, channel)
    return [command["name"] for command in state["commands"] + state["message_commands"]]


async def test_default_member_permissions(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """ "default_member_permissions: Set of permissions … a user must have to run this command"; "0" is for
    administrators only. They don't count in DMs."""
    await api.commands(
        {"name": "settings", "default_member_permissions": str(MANAGE_GUILD)},
        {"name": "locked", "default_member_permissions": "0"},
        {"name": "free"},
        {"name": "Take down", "type": 3, "description": "", "default_member_permissions": str(MANAGE_MESSAGES)},
    )
    you, robin, sascha = [await playground.member(name) for name in ("You", "Robin", "Sascha")]
    assert await names(playground, you, studio) == ["settings", "locked", "free", "Take down"]
    assert await names(playground, sascha, studio) == ["settings", "free", "Take down"]
    assert await names(playground, robin, studio) == ["free"]
    assert "settings" in await names(playground, robin, await playground.direct(robin))
    with pytest.raises(PlaygroundError, match="/settings needs permissions that you don't have"):
        await playground.act(type="command", user=robin, channel=studio, name="settings")
    message = await playground.say(studio, "x")
    with pytest.raises(PlaygroundError, match="Take down needs permissions"):
        await playground.act(type="context", user=robin, channel=studio, name="Take down", message=message["id"])


async def test_contexts_and_installations(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """`contexts`: where a command can be used (0 GUILD, 1 BOT_DM, 2 PRIVATE_CHANNEL); `integration_types`: how it has
    to be installed (0 GUILD_INSTALL, the default, 1 USER_INSTALL)."""
    await api.commands(
        {"name": "server", "contexts": [0]},
        {"name": "direct", "contexts": [1]},
        {"name": "private", "contexts": [0, 2], "integration_types": [0, 1]},
        {"name": "elsewhere", "contexts": [0, 1, 2], "integration_types": [1]},
        {"name": "anywhere"},
    )
    direct, private = [channel["id"] for channel in (await playground.state())["dms"]]
    assert await names(playground, "", studio) == ["server", "private", "anywhere"]
    assert await names(playground, "", direct) == ["direct", "anywhere"]
    assert await names(playground, "", private) == ["private", "elsewhere"]


async def test_age_restricted_commands(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """`nsfw`: "age-restricted commands" can be used in age-restricted channels only."""
    await api.commands({"name": "wild", "nsfw": True}, {"name": "tame"})
    dark = await playground.channel("after-dark")
    assert await names(playground, "", studio) == ["tame"]
    assert await names(playground, "", dark) == ["wild", "tame"]
    with pytest.raises(PlaygroundError, match="age-restricted channel"):
        await playground.command(studio, "wild")


async def test_channels_say_whether_they_are_age_restricted(playground: PlaygroundClient, api: Api) -> None:
    """`nsfw` of a channel object: over REST, in GUILD_CREATE, in CHANNEL_UPDATE and in interactions."""
    await api.commands({"name": "ping"})
    dark = await playground.channel("after-dark")
    assert (await api("GET", f"/channels/{dark}"))[1]["nsfw"] is True
    socket = await ready(playground)
    await playground.call("POST", f"/channels/{dark}/permissions", json={"deny": []})
    assert (await socket.until("CHANNEL_UPDATE"))[-1]["d"]["nsfw"] is True
    for channel, restricted in ((dark, True), (await playground.channel("general"), False)):
        sent = {"type": "command", "channel": channel, "name": "ping"}
        await playground.call("POST", "/interactions?wait=0", json=sent)
        assert (await socket.until("INTERACTION_CREATE"))[-1]["d"]["channel"]["nsfw"] is restricted


async def interaction_of(playground: PlaygroundClient, api: Api, name: str, channel: str) -> dict[str, Any]:
    await api.commands({"name": "ping"})
    socket = await ready(playground)
    sent = {"type": "command", "user": await playground.member(name), "channel": channel, "name": "ping"}
    await playground.call("POST", "/interactions?wait=0", json=sent)
    return (await socket.until("INTERACTION_CREATE"))[-1]["d"]


@pytest.mark.parametrize(
    ("name", "messages", "guild"), [("You", True, True), ("Sascha", True, True), ("Robin", False, False)]
)
async def test_interactions_carry_the_members_permissions(
    playground: PlaygroundClient, api: Api, studio: str, name: str, messages: bool, guild: bool
) -> None:
    """`member.permissions`: "total permissions of the member in the channel, including overwrites"."""
    told = await interaction_of(playground, api, name, studio)
    permissions = int(told["member"]["permissions"])
    assert bool(permissions & MANAGE_MESSAGES) is messages
    assert bool(permissions & MANAGE_GUILD) is guild
    assert told["channel"]["permissions"] == told["member"]["permissions"]
    assert (told["context"], told["authorizing_integration_owners"]) == (0, {"0": told["guild_id"]})
    assert told["guild"]["id"] == told["guild_id"]


async def test_interactions_carry_the_apps_permissions(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """`app_permissions`: "Bitwise set of permissions the app has in the source location of the interaction"."""
    await playground.call("POST", f"/channels/{studio}/permissions", json={"deny": ["send_messages"]})
    allowed = discord.Permissions(int((await interaction_of(playground, api, "You", studio))["app_permissions"]))
    assert (allowed.send_messages, allowed.attach_files) == (False, True)


async def test_deleting_messages(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """One's own always, others' with MANAGE_MESSAGES; the bot hears MESSAGE_DELETE."""
    robin, sascha = await playground.member("Robin"), await playground.member("Sascha")
    of_the_bot = (await api("POST", f"/channels/{studio}/messages", json={"content": "x"}))[1]
    of_robin = await playground.say(studio, "y", user=robin)
    socket = await ready(playground)

    async def delete(message: dict[str, Any], user: str) -> None:
        await playground.call("DELETE", f"/channels/{studio}/messages/{message['id']}", params={"user": user})

    with pytest.raises(PlaygroundError, match="Missing Permissions"):
        await delete(of_the_bot, robin)
    await delete(of_robin, robin)
    assert (await socket.until("MESSAGE_DELETE"))[-1]["d"]["id"] == of_robin["id"]
    await delete(of_the_bot, sascha)
    assert (await socket.until("MESSAGE_DELETE"))[-1]["d"]["id"] == of_the_bot["id"]
    direct = await playground.direct()
    sent = (await api("POST", f"/channels/{direct}/messages", json={"content": "x"}))[1]
    with pytest.raises(PlaygroundError, match="Missing Permissions"):  # not even the owner, in direct messages
        await playground.call("DELETE", f"/channels/{direct}/messages/{sent['id']}")


async def test_the_state_says_who_may_what(playground: PlaygroundClient) -> None:
    members = {member["global_name"]: member for member in (await playground.state())["members"]}
    assert members["Sascha"]["roles"] == ["Moderator"]
    assert (members["You"]["owner"], members["Robin"]["owner"], members["Robin"]["roles"]) == (True, False, [])
    state = await playground.state(members["Robin"]["id"])
    assert state["me"]["id"] == members["Robin"]["id"]
    assert not int(state["me"]["permissions"]) & MANAGE_MESSAGES
    assert int(state["channels"][0]["permissions"]) & discord.Permissions.send_messages.flag
