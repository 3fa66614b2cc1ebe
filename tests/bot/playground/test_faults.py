"""Faults on demand: single ones are tried in `test_rest.py`, chaos here."""

from collections import Counter
from typing import Any

import aiohttp
import pytest

from bot.playground.faults import Fault, Faults
from tests.bot.playground.client import PlaygroundClient, PlaygroundError
from tests.bot.playground.raw import Api, ready


def struck(faults: Faults, calls: int, path: str = "/channels/1/messages") -> list[Fault | None]:
    return [faults.take("POST", path) for _ in range(calls)]


def test_the_share_is_kept_and_all_kinds_occur() -> None:
    faults = Faults()
    faults.order(b'{"chaos": {"share": 0.2, "seed": 1}}')
    kinds = Counter(
        str(fault.status) if fault.kind == "status" else fault.kind for fault in struck(faults, 5000) if fault
    )
    assert set(kinds) == {"429", "500", "503", "reset", "reset_after"}
    assert 850 < kinds.total() < 1150  # 1000 ± 5 standard deviations
    assert min(kinds.values()) > 140  # 200 ± 5 standard deviations
    assert faults.describe()["injected"] == dict(kinds)


def test_the_same_seed_strikes_the_same_calls() -> None:
    def pattern(seed: int) -> list[str | None]:
        faults = Faults()
        faults.order(b'{"chaos": {"share": 0.5, "seed": %d}}' % seed)
        return [fault and f"{fault.kind} {fault.status} {fault.retry_after}" for fault in struck(faults, 100)]

    assert pattern(7) == pattern(7)
    assert pattern(7) != pattern(8)


def test_only_where_it_is_asked_for_and_until_it_is_cleared() -> None:
    faults = Faults()
    faults.order(b'{"chaos": {"share": 1, "kinds": ["500"], "path": "/channels/*"}}')
    assert struck(faults, 1, "/gateway/bot") == [None]
    assert struck(faults, 1) != [None]
    faults.order(b'{"chaos": null}')
    assert struck(faults, 5) == [None] * 5


def test_a_single_fault_goes_first() -> None:
    faults = Faults()
    faults.order(b'{"chaos": {"share": 1, "kinds": ["500"]}}')
    faults.order(b'{"path": "*", "status": 418}')
    assert [fault.status for fault in struck(faults, 2) if fault] == [418, 500]


@pytest.mark.parametrize(
    "sent",
    [{"chaos": {"share": 2}}, {"chaos": {"share": 0.1, "kinds": []}}, {"chaos": {"share": 0.1, "kinds": ["418"]}}],
)
async def test_nonsense_is_refused(playground: PlaygroundClient, sent: dict[str, Any]) -> None:
    with pytest.raises(PlaygroundError, match="That is not a fault"):
        await playground.call("POST", "/faults", json=sent)


async def test_a_429_of_chaos_looks_like_a_real_one(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """Body `message`, `retry_after`, `global`; headers `Retry-After` and `X-RateLimit-Scope`, by the documentation of
    rate limits."""
    path = f"/channels/{studio}/messages"
    await playground.chaos(1, kinds=["429"])
    status, chaotic, headers = await api("POST", path, json={"content": "x"})
    await playground.clear()
    real_status, real, real_headers = [await api("POST", path, json={"content": "x"}) for _ in range(6)][-1]
    assert status == real_status == 429
    assert set(chaotic) == set(real) == {"message", "retry_after", "global"}
    assert (chaotic["message"], chaotic["global"]) == (real["message"], real["global"])
    assert 0 < chaotic["retry_after"] <= int(headers["Retry-After"])
    said = {name for name in real_headers if name.startswith("X-RateLimit") or name in ("Via", "Retry-After")}
    assert said <= set(headers)
    assert headers["X-RateLimit-Scope"] == real_headers["X-RateLimit-Scope"] == "user"
    assert len(await playground.messages(studio)) == 5


async def test_callbacks_are_struck_too(playground: PlaygroundClient, api: Api, studio: str) -> None:
    await api.commands({"name": "ping"})
    socket = await ready(playground)
    sent = {"type": "command", "channel": studio, "name": "ping"}
    await playground.call("POST", "/interactions?wait=0", json=sent)
    told = (await socket.until("INTERACTION_CREATE"))[-1]["d"]
    await playground.chaos(1, kinds=["reset_after"])
    with pytest.raises(aiohttp.ClientError):
        await api.answer(told, 4, content="pong")
    await playground.chaos(1, kinds=["reset"])
    with pytest.raises(aiohttp.ClientError):
        await api.answer(told, 4, content="pong")
    await playground.clear()
    assert (await api.answer(told, 4, content="pong"))[1]["code"] == 40060  # the first one did arrive
    log = [entry["status"] for entry in await playground.call("GET", "/log") if entry["path"].endswith("/callback")]
    assert log == [200, 0, 400]
    assert (await playground.call("GET", "/faults"))["injected"] == {"reset_after": 1, "reset": 1}
