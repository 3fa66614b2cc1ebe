"""Attachment links, by Discord's documentation: "Signed Attachment CDN URLs" and "Get Refreshed Attachment URLs"."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yarl

from bot.playground.clock import WallClock
from bot.playground.links import Links
from tests.bot.playground.client import PlaygroundClient
from tests.bot.playground.raw import Api, form, ready

PLAIN = "http://127.0.0.1:1/cdn/attachments/5/6/a.png"
GONE = "This content is no longer available."


def links() -> tuple[Links, WallClock]:
    clock = WallClock()
    return Links("http://127.0.0.1:1", clock), clock


def valid(links: Links, url: str) -> bool:
    return links.valid(PLAIN, yarl.URL(url).query)


def test_a_link_says_when_it_was_issued_and_when_it_ends_in_hex() -> None:
    """`ex`: "Hex timestamp indicating when an attachment CDN URL will expire", `is`: "… was issued", `hm`: "Unique
    signature that remains valid until the URL's expiration"; the example ends in "&"."""
    signer, clock = links()
    signed = signer.sign(PLAIN)
    assert re.fullmatch(re.escape(PLAIN) + r"\?ex=[0-9a-f]{8}&is=[0-9a-f]{8}&hm=[0-9a-f]{64}&", signed)
    query = yarl.URL(signed).query
    issued, expires = (datetime.fromtimestamp(int(query[name], 16), UTC) for name in ("is", "ex"))
    assert expires - issued == timedelta(hours=24)
    assert issued <= clock.now() < issued + timedelta(hours=1)


def test_a_link_ends() -> None:
    signer, clock = links()
    signed = signer.sign(PLAIN)
    clock.advance(22.9 * 3600)
    assert valid(signer, signed)
    clock.advance(1.2 * 3600)
    assert not valid(signer, signed)
    assert valid(signer, signer.sign(signed))  # signed anew, not twice
    assert signer.sign(signed).count("?") == 1


@pytest.mark.parametrize(
    "broken",
    ["", "?ex=7fffffff&is=1&hm=" + "0" * 64, "?ex=&is=&hm=", "?hm=é", "?ex=zz&is=1&hm=1"],
)
def test_a_link_that_was_not_signed_here_is_not_valid(broken: str) -> None:
    assert not valid(links()[0], PLAIN + broken)


def test_changing_any_part_of_a_link_breaks_it() -> None:
    signer, _ = links()
    signed = signer.sign(PLAIN)
    query = dict(yarl.URL(signed).query)
    later = {**query, "ex": f"{int(query['ex'], 16) + 1:x}"}
    earlier = {**query, "is": f"{int(query['is'], 16) - 1:x}"}
    assert signer.valid(PLAIN, query)
    assert not signer.valid(PLAIN, later)
    assert not signer.valid(PLAIN, earlier)
    assert not signer.valid(PLAIN.replace("a.png", "b.png"), query)
    assert not links()[0].valid(PLAIN, query)  # another process, another secret


def test_only_links_are_signed_wherever_they_are() -> None:
    signer, _ = links()
    message = {"attachments": [{"url": PLAIN, "proxy_url": PLAIN}], "content": PLAIN, "n": 1}
    payload = {**message, "embeds": [{"image": {"url": PLAIN}, "url": "https://example.org/a?ex=1"}]}
    fresh = signer.fresh({"d": payload})["d"]
    signed = signer.sign(PLAIN)
    assert fresh["attachments"] == [{"url": signed, "proxy_url": signed}]
    assert fresh["embeds"] == [{"image": {"url": signed}, "url": "https://example.org/a?ex=1"}]
    assert (fresh["content"], fresh["n"]) == (PLAIN, 1)
    assert payload["attachments"] == [{"url": PLAIN, "proxy_url": PLAIN}]  # the original is not touched


async def fetch(playground: PlaygroundClient, url: str) -> tuple[int, str]:
    async with playground.session.get(yarl.URL(url, encoded=True)) as response:
        return response.status, await response.text()


async def test_every_way_out_of_the_server_carries_signed_links(
    playground: PlaygroundClient, api: Api, studio: str
) -> None:
    await api.commands({"name": "Look", "type": 3, "description": ""}, {"name": "take", "options": [FILE]})
    socket = await ready(playground, intents=1 | 1 << 9 | 1 << 15)
    said = await playground.say(studio, "", files={"a.png": b"data"})
    shown = await playground.messages(studio)
    created = (await socket.until("MESSAGE_CREATE"))[-1]["d"]
    _, listed, _ = await api("GET", f"/channels/{studio}/messages")
    _, own, _ = await api("POST", f"/channels/{studio}/messages", data=form({"content": "x"}, b"data"))
    await playground.call(
        "POST",
        "/interactions?wait=0",
        json={"type": "context", "user": "", "channel": studio, "name": "Look", "message": said["id"]},
    )
    target = (await socket.until("INTERACTION_CREATE"))[-1]["d"]["data"]["resolved"]["messages"][said["id"]]
    body = form({"type": "command", "channel": studio, "name": "take"})
    body.add_field("file", b"data", filename="b.png")
    await playground.call("POST", "/interactions?wait=0", data=body)
    given = list((await socket.until("INTERACTION_CREATE"))[-1]["d"]["data"]["resolved"]["attachments"].values())
    parts = [said, shown[0], created, listed[0], own, target, {"attachments": given}]
    for attachment in [part["attachments"][0] for part in parts]:
        for name in ("url", "proxy_url"):
            assert (await fetch(playground, attachment[name]))[1] == "data"
        assert (await fetch(playground, attachment["url"].partition("?")[0])) == (404, GONE)


FILE: dict[str, Any] = {"name": "file", "description": "A file.", "type": 11}


async def test_an_old_link_is_gone_and_the_same_message_has_a_new_one(
    playground: PlaygroundClient, api: Api, studio: str
) -> None:
    said = await playground.say(studio, "", files={"a.png": b"data"})
    old = said["attachments"][0]["url"]
    await playground.advance(2 * 24 * 3600)
    assert await fetch(playground, old) == (404, GONE)
    new = (await playground.messages(studio))[0]["attachments"][0]["url"]
    assert await fetch(playground, new) == (200, "data")
    _, answer, _ = await api("POST", "/attachments/refresh-urls", json={"attachment_urls": [old]})
    (pair,) = answer["refreshed_urls"]
    assert pair["original"] == old
    assert await fetch(playground, pair["refreshed"]) == (200, "data")


async def test_an_edited_message_keeps_its_attachment(playground: PlaygroundClient, api: Api, studio: str) -> None:
    path = f"/channels/{studio}/messages"
    _, sent, _ = await api("POST", path, data=form({"content": "x"}, b"data"))
    embed = {"image": {"url": sent["attachments"][0]["url"]}}
    await playground.advance(30 * 3600)
    _, edited, _ = await api(
        "PATCH",
        f"{path}/{sent['id']}",
        json={"embeds": [embed], "attachments": [{"id": sent["attachments"][0]["id"]}]},
    )
    assert await fetch(playground, edited["attachments"][0]["url"]) == (200, "data")
    assert await fetch(playground, edited["embeds"][0]["image"]["url"]) == (200, "data")
