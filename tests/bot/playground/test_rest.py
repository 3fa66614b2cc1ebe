"""What the REST half adds to simcord, over plain HTTP without a bot."""

import aiohttp
import pytest

from tests.bot.playground.client import PlaygroundClient
from tests.bot.playground.raw import Api, form


async def test_json_has_exactly_the_content_type_that_discord_py_reads(api: Api) -> None:
    _, _, headers = await api("GET", "/users/@me")
    assert headers["Content-Type"] == "application/json"


async def test_wrong_token_is_unauthorized(api: Api) -> None:
    status, answer, _ = await api("GET", "/users/@me", headers={"Authorization": "Bot wrong"})
    assert (status, answer["message"]) == (401, "401: Unauthorized")


async def test_unknown_route_says_so(api: Api) -> None:
    status, answer, _ = await api("GET", "/voice/regions")
    assert status == 501
    assert "does not implement" in answer["message"]


async def test_nonce_is_unique_per_channel_only_when_enforced(
    api: Api, playground: PlaygroundClient, studio: str
) -> None:
    general = await playground.channel("general")
    path, message = f"/channels/{studio}/messages", {"content": "x", "nonce": "j:0", "enforce_nonce": True}
    _, first, _ = await api("POST", path, json=message)
    _, second, _ = await api("POST", path, json={**message, "content": "y"})
    _, elsewhere, _ = await api("POST", f"/channels/{general}/messages", json=message)
    _, unenforced, _ = await api("POST", path, json={"content": "z", "nonce": "j:0"})
    assert first["id"] == second["id"]
    assert (second["content"], second["nonce"]) == ("x", "j:0")
    assert len({first["id"], elsewhere["id"], unenforced["id"]}) == 3


async def test_nonce_has_at_most_25_characters(api: Api, studio: str) -> None:
    status, answer, _ = await api("POST", f"/channels/{studio}/messages", json={"content": "x", "nonce": "n" * 26})
    assert (status, answer["code"]) == (400, 50035)


async def test_edit_replaces_attachments(api: Api, playground: PlaygroundClient, studio: str) -> None:
    path = f"/channels/{studio}/messages"
    _, sent, _ = await api("POST", path, data=form({"content": "x"}, b"one", b"two"))
    keep = {"id": sent["attachments"][1]["id"]}
    new = {"id": 0, "filename": "three.png", "description": "the third"}
    body = form({"attachments": [keep, new]}, b"three")
    _, edited, _ = await api("PATCH", f"{path}/{sent['id']}", data=body)
    assert [a["filename"] for a in edited["attachments"]] == ["1.png", "three.png"]
    assert edited["attachments"][1]["description"] == "the third"
    _, kept, _ = await api("PATCH", f"{path}/{sent['id']}", json={"content": "only text"})
    assert kept["attachments"] == edited["attachments"]
    _, emptied, _ = await api("PATCH", f"{path}/{sent['id']}", json={"attachments": []})
    assert emptied["attachments"] == []


@pytest.mark.parametrize(("sizes", "status"), [((10,), 200), ((11,), 413), ((9, 9, 9), 413)])
async def test_file_and_request_sizes(api: Api, studio: str, sizes: tuple[int, ...], status: int) -> None:
    body = form({"content": "x"}, *(bytes(size * 1024 * 1024) for size in sizes))
    answered, answer, _ = await api("POST", f"/channels/{studio}/messages", data=body)
    assert answered == status
    assert answer.get("code") == (40005 if status == 413 else None)


async def test_sixth_message_in_five_seconds_has_to_wait(api: Api, studio: str) -> None:
    path = f"/channels/{studio}/messages"
    answers = [await api("POST", path, json={"content": str(n)}) for n in range(6)]
    assert [status for status, _, _ in answers] == [200] * 5 + [429]
    assert [headers["X-RateLimit-Remaining"] for _, _, headers in answers] == list("432100")
    assert 0 < answers[5][1]["retry_after"] <= 5


async def test_faults(api: Api, playground: PlaygroundClient, studio: str) -> None:
    path = f"/channels/{studio}/messages"
    await playground.fault("/channels/*/messages", status=503, message="busy")
    await playground.fault("/channels/*/messages", kind="reset_after")
    status, answer, _ = await api("POST", path, json={"content": "lost"})
    assert (status, answer["message"]) == (503, "busy")
    with pytest.raises(aiohttp.ClientError):
        await api("POST", path, json={"content": "sent, but you can't know"})
    assert [m["content"] for m in await playground.messages(studio)] == ["sent, but you can't know"]


async def test_denied_permission_and_deleted_channel(api: Api, playground: PlaygroundClient, studio: str) -> None:
    await playground.call("POST", f"/channels/{studio}/permissions", json={"deny": ["send_messages"]})
    _, answer, _ = await api("POST", f"/channels/{studio}/messages", json={"content": "x"})
    assert answer["code"] == 50013
    await playground.call("DELETE", f"/channels/{studio}")
    _, answer, _ = await api("POST", f"/channels/{studio}/messages", json={"content": "x"})
    assert answer["code"] == 10003


async def test_a_reply_to_a_message_that_is_not_there(api: Api, studio: str) -> None:
    """Discord's message reference structure: `fail_if_not_exists` decides between an error (the default) and "send as
    a normal (non-reply) message"."""
    path, gone = f"/channels/{studio}/messages", {"message_id": "1346000000000000001", "channel_id": studio}
    status, answer, _ = await api("POST", path, json={"content": "x", "message_reference": gone})
    assert (status, answer["code"]) == (400, 50035)
    tolerant = {**gone, "fail_if_not_exists": False}
    status, sent, _ = await api("POST", path, json={"content": "x", "message_reference": tolerant})
    assert (status, sent["type"], sent.get("message_reference")) == (200, 0, None)
    there = {**tolerant, "message_id": sent["id"]}
    _, reply, _ = await api("POST", path, json={"content": "y", "message_reference": there})
    assert (reply["type"], reply["message_reference"]["message_id"]) == (19, sent["id"])


async def test_files_need_the_permission_to_attach_them(api: Api, playground: PlaygroundClient, studio: str) -> None:
    """ATTACH_FILES: "Allows for uploading images and files"; in a new message as in an edited one."""
    path = f"/channels/{studio}/messages"
    _, sent, _ = await api("POST", path, json={"content": "x"})
    await playground.call("POST", f"/channels/{studio}/permissions", json={"deny": ["attach_files"]})
    for method, where in (("POST", path), ("PATCH", f"{path}/{sent['id']}")):
        status, answer, _ = await api(method, where, data=form({"content": "y"}, b"one"))
        assert (status, answer["code"]) == (403, 50013)
        status, _, _ = await api(method, where, json={"content": "without"})
        assert status == 200
    assert [m["attachments"] for m in await playground.messages(studio)] == [[], []]


async def test_replies_need_the_permission_to_read_the_history(
    api: Api, playground: PlaygroundClient, studio: str
) -> None:
    """Message references: a reply "requires the READ_MESSAGE_HISTORY permission"; 160002 "Cannot reply without
    permission to read message history"."""
    path = f"/channels/{studio}/messages"
    _, sent, _ = await api("POST", path, json={"content": "x"})
    await playground.call("POST", f"/channels/{studio}/permissions", json={"deny": ["read_message_history"]})
    reference = {"message_id": sent["id"], "channel_id": studio, "fail_if_not_exists": False}
    _, answer, _ = await api("POST", path, json={"content": "y", "message_reference": reference})
    assert answer["code"] == 160002
    status, _, _ = await api("POST", path, json={"content": "y"})
    assert status == 200
