"""Threads, by Discord's documentation: topic "Threads" and the gateway's thread events."""

import pytest

from tests.bot.playground.client import PlaygroundClient, PlaygroundError
from tests.bot.playground.raw import Api, connect, identify, ready


async def test_a_thread_of_its_own(playground: PlaygroundClient, studio: str) -> None:
    """THREAD_CREATE with `newly_created`; the channel gets a THREAD_CREATED message (type 18) whose
    `message_reference` has only the thread's channel and server."""
    socket = await ready(playground)
    thread = await playground.thread(studio, "Foxes", user=await playground.member("Robin"))
    created = (await socket.until("THREAD_CREATE"))[-1]["d"]
    assert (created["id"], created["type"], created["parent_id"]) == (thread, 11, studio)
    assert (created["newly_created"], created["owner_id"]) == (True, await playground.member("Robin"))
    (told,) = await playground.messages(studio)
    assert (told["type"], told["content"]) == (18, "Foxes")
    assert told["message_reference"]["channel_id"] == thread
    assert [t["name"] for t in (await playground.state())["threads"]] == ["Foxes"]


async def test_a_thread_of_a_message(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """ "the id of the created thread will be the same as the id of the source message"; the message gets the flag
    HAS_THREAD (1 << 5) and `thread`; the thread starts with THREAD_STARTER_MESSAGE (21); 160004 for a second one."""
    message = await playground.say(studio, "look")
    thread = await playground.thread(studio, "About it", message=message["id"])
    assert thread == message["id"]
    (said,) = await playground.messages(studio)
    assert said["flags"] & 1 << 5
    assert said["thread"]["name"] == "About it"
    (starter,) = await playground.messages(thread)
    assert (starter["type"], starter["content"]) == (21, "")
    assert starter["referenced_message"]["content"] == "look"
    with pytest.raises(PlaygroundError, match="already been created"):
        await playground.thread(studio, "Again", message=message["id"])
    status, answer, _ = await api("POST", f"/channels/{studio}/messages/{thread}/threads", json={"name": "Again"})
    assert (status, answer["code"]) == (400, 160004)


@pytest.mark.parametrize("name", ["", "x" * 101])
async def test_the_name_has_1_to_100_characters(
    playground: PlaygroundClient, api: Api, studio: str, name: str
) -> None:
    status, answer, _ = await api("POST", f"/channels/{studio}/threads", json={"name": name, "type": 11})
    assert (status, answer["code"]) == (400, 50035)
    with pytest.raises(PlaygroundError):
        await playground.thread(studio, name)


async def test_no_thread_in_a_thread_or_direct_message(playground: PlaygroundClient, studio: str) -> None:
    thread = await playground.thread(studio, "Foxes")
    for channel in (thread, await playground.direct()):
        with pytest.raises(PlaygroundError):
            await playground.thread(channel, "x")


async def test_messages_and_commands_in_a_thread(playground: PlaygroundClient, api: Api, studio: str) -> None:
    await api.commands({"name": "ping"})
    thread = await playground.thread(studio, "Foxes")
    socket = await ready(playground)
    await playground.say(thread, "hello")
    assert (await socket.until("MESSAGE_CREATE"))[-1]["d"]["channel_id"] == thread
    await playground.call("POST", "/interactions?wait=0", json={"type": "command", "channel": thread, "name": "ping"})
    told = (await socket.until("INTERACTION_CREATE"))[-1]["d"]
    assert (told["channel_id"], told["channel"]["type"], told["channel"]["parent_id"]) == (thread, 11, studio)
    assert told["channel"]["thread_metadata"]["archived"] is False
    await api.answer(told, 4, content="pong")
    assert (await playground.messages(thread))[-1]["content"] == "pong"


async def test_a_thread_is_age_restricted_where_its_channel_is(playground: PlaygroundClient, api: Api) -> None:
    """Discord: threads "inherit … from their parent"; an age-restricted channel's threads are, too."""
    dark = await playground.channel("after-dark")
    await api.commands({"name": "ping"})
    socket = await ready(playground)
    thread = await playground.thread(dark, "Late")
    assert (await socket.until("THREAD_CREATE"))[-1]["d"]["nsfw"] is True
    _, fetched, _ = await api("GET", f"/channels/{thread}")
    assert fetched["nsfw"] is True
    await playground.call("POST", "/interactions?wait=0", json={"type": "command", "channel": thread, "name": "ping"})
    assert (await socket.until("INTERACTION_CREATE"))[-1]["d"]["channel"]["nsfw"] is True
    plain = await playground.thread(await playground.channel("studio"), "Early")
    assert (await api("GET", f"/channels/{plain}"))[1]["nsfw"] is False


async def test_writing_opens_an_archived_thread(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """ "… sending a message will automatically unarchive the thread, unless the thread has been locked"."""
    thread = await playground.thread(studio, "Foxes")
    await playground.call("PATCH", f"/channels/{thread}", json={"archived": True})
    assert (await playground.state())["threads"][0]["thread_metadata"]["archived"]
    socket = await ready(playground)  # GUILD_CREATE has "All active threads in the guild"
    status, _, _ = await api("POST", f"/channels/{thread}/messages", json={"content": "x"})
    assert status == 200
    assert (await socket.until("THREAD_UPDATE"))[-1]["d"]["thread_metadata"]["archived"] is False
    await playground.call("PATCH", f"/channels/{thread}", json={"archived": True, "locked": True})
    status, answer, _ = await api("POST", f"/channels/{thread}/messages", json={"content": "x"})
    assert (status, answer["code"]) == (400, 50083)
    with pytest.raises(PlaygroundError, match="archived"):
        await playground.say(thread, "x")


async def test_nothing_else_can_be_done_in_an_archived_thread(
    playground: PlaygroundClient, api: Api, studio: str
) -> None:
    """50083: "Tried to perform an operation on an archived thread, such as editing a message or adding a user"."""
    thread = await playground.thread(studio, "Foxes")
    _, sent, _ = await api("POST", f"/channels/{thread}/messages", json={"content": "x"})
    await playground.call("PATCH", f"/channels/{thread}", json={"archived": True})
    message = f"/channels/{thread}/messages/{sent['id']}"
    answers = [
        await api("PATCH", message, json={"content": "y"}),
        await api("DELETE", message),
        await api("PUT", f"/channels/{thread}/thread-members/@me"),
    ]
    assert [(status, answer["code"]) for status, answer, _ in answers] == [(400, 50083)] * 3


async def test_active_threads_are_in_the_servers_first_event(playground: PlaygroundClient, studio: str) -> None:
    """GUILD_CREATE `threads`: "All active threads in the guild that current user has permission to view"."""
    old = await playground.thread(studio, "Old")
    await playground.call("PATCH", f"/channels/{old}", json={"archived": True})
    new = await playground.thread(studio, "New")
    socket = await connect(playground)
    await identify(socket)
    guild = (await socket.until("GUILD_CREATE"))[-1]["d"]
    assert [thread["id"] for thread in guild["threads"]] == [new]


async def test_an_idle_thread_is_archived(playground: PlaygroundClient, studio: str) -> None:
    """`auto_archive_duration`: archived "after … minutes of inactivity", here 1440."""
    await playground.thread(studio, "Foxes")
    await playground.advance(23 * 3600)
    assert not (await playground.state())["threads"][0]["thread_metadata"]["archived"]
    await playground.advance(2 * 3600)
    assert (await playground.state())["threads"][0]["thread_metadata"]["archived"]


async def test_sending_in_threads_has_its_own_permission(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """SEND_MESSAGES_IN_THREADS; "SEND_MESSAGES has no effect in threads"."""
    thread = await playground.thread(studio, "Foxes")
    path = f"/channels/{thread}/messages"
    await playground.call("POST", f"/channels/{thread}/permissions", json={"deny": ["send_messages"]})
    assert (await api("POST", path, json={"content": "x"}))[0] == 200
    await playground.call("POST", f"/channels/{thread}/permissions", json={"deny": ["send_messages_in_threads"]})
    status, answer, _ = await api("POST", path, json={"content": "x"})
    assert (status, answer["code"]) == (403, 50013)


async def test_who_may_archive_and_lock(playground: PlaygroundClient, studio: str) -> None:
    """Its owner may archive it; `locked` and opening a locked one need MANAGE_THREADS."""
    robin, sascha = await playground.member("Robin"), await playground.member("Sascha")
    thread = await playground.thread(studio, "Foxes", user=robin)
    await playground.call("PATCH", f"/channels/{thread}", json={"user": robin, "archived": True})
    with pytest.raises(PlaygroundError, match="Missing Permissions"):
        await playground.call("PATCH", f"/channels/{thread}", json={"user": robin, "locked": True})
    await playground.call("PATCH", f"/channels/{thread}", json={"user": sascha, "locked": True})
    with pytest.raises(PlaygroundError, match="Missing Permissions"):
        await playground.call("PATCH", f"/channels/{thread}", json={"user": robin, "archived": False})


async def test_deleting_the_channel_deletes_its_threads(playground: PlaygroundClient, api: Api, studio: str) -> None:
    thread = await playground.thread(studio, "Foxes")
    await playground.call("DELETE", f"/channels/{studio}")
    assert (await api("GET", f"/channels/{thread}"))[1]["code"] == 10003
    assert (await playground.state())["threads"] == []
