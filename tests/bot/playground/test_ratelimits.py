"""Rate limits, by Discord's documentation of them."""

import asyncio

import pytest

from bot.playground.ratelimits import (
    GLOBAL_LIMIT,
    INVALID_LIMIT,
    INVALID_SECONDS,
    LIMIT,
    WINDOW_SECONDS,
    InvalidRequests,
    RateLimits,
)
from tests.bot.playground.client import PlaygroundClient
from tests.bot.playground.raw import Api


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def allowed(limits: RateLimits, method: str, path: str) -> bool:
    verdict = limits.check(method, path)
    return verdict is None or verdict.allowed


def test_every_kind_and_channel_has_its_own_window() -> None:
    time = Time()
    limits = RateLimits(time)
    path = "/channels/1/messages/5"
    assert [allowed(limits, "PATCH", path) for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]
    assert allowed(limits, "PATCH", "/channels/2/messages/5")
    assert allowed(limits, "POST", "/channels/1/messages")
    time.now += WINDOW_SECONDS
    assert allowed(limits, "PATCH", "/channels/1/messages/6")


def test_reading_has_no_limit_of_its_own() -> None:
    assert RateLimits().check("GET", "/channels/1/messages") is None


def test_fifty_calls_a_second_for_all_channels_together() -> None:
    """ "All bots can make up to 50 requests per second to our API." A refusal has `X-RateLimit-Global` and the scope
    `global`."""
    time = Time()
    limits = RateLimits(time)
    assert GLOBAL_LIMIT == 50
    assert all(allowed(limits, "GET", f"/channels/{n}") for n in range(50))
    time.now += 0.4
    verdict = limits.check("GET", "/users/@me")
    assert verdict is not None
    assert (verdict.allowed, verdict.everywhere, round(verdict.retry_after, 3)) == (False, True, 0.6)
    assert verdict.headers["X-RateLimit-Global"] == "true"
    assert verdict.headers["X-RateLimit-Scope"] == "global"
    assert verdict.headers["Retry-After"] == "1"
    time.now += 0.6
    assert allowed(limits, "GET", "/users/@me")


def test_interactions_are_not_part_of_it() -> None:
    """ "Interaction endpoints are not bound to the bot's Global Rate Limit." """
    limits = RateLimits(Time())
    paths = ("/interactions/1/token/callback", "/webhooks/1/token", "/webhooks/1/token/messages/@original")
    assert all(allowed(limits, "POST", path) for path in paths for _ in range(100))
    assert allowed(limits, "GET", "/users/@me")


def test_ten_thousand_invalid_requests_are_a_ban() -> None:
    """ "… making too many invalid HTTP requests: 10,000 per 10 minutes. An invalid request is one that results in
    401, 403, or 429"."""
    time = Time()
    invalid = InvalidRequests(time)
    for status in (200, 204, 400, 404, 500, 0):
        invalid.note(status)
    assert invalid.count == 0
    for status in (401, 403, 429):
        invalid.note(status)
    assert (invalid.count, invalid.banned) == (3, False)
    time.now += 1
    for _ in range(INVALID_LIMIT):
        invalid.note(403)
    assert invalid.banned
    time.now += INVALID_SECONDS
    assert (invalid.count, invalid.banned) == (0, False)


async def test_the_sixth_edit_says_how_long_to_wait(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """`Retry-After` in whole seconds, `X-RateLimit-Scope: user`, the exact time in the body."""
    _, sent, _ = await api("POST", f"/channels/{studio}/messages", json={"content": "0"})
    path = f"/channels/{studio}/messages/{sent['id']}"
    answers = [await api("PATCH", path, json={"content": str(n)}) for n in range(6)]
    assert [status for status, _, _ in answers] == [200] * 5 + [429]
    _, told, headers = answers[5]
    assert told["global"] is False
    assert 0 < told["retry_after"] <= int(headers["Retry-After"]) <= 5
    assert headers["X-RateLimit-Scope"] == "user"
    assert (await playground.messages(studio))[0]["content"] == "4"


async def test_too_many_calls_in_a_second(playground: PlaygroundClient, api: Api) -> None:
    answers = await asyncio.gather(*(api("GET", "/users/@me") for _ in range(300)))
    refused = [(told, headers) for status, told, headers in answers if status == 429]
    assert refused
    told, headers = refused[-1]
    assert told["global"] is True
    assert headers["X-RateLimit-Global"] == "true"
    assert (await playground.call("GET", "/log"))[-1]["invalid"] >= len(refused)


@pytest.mark.parametrize(("status", "headers"), [(401, {"Authorization": "Bot wrong"}), (403, None)])
async def test_invalid_requests_are_counted_in_the_log(
    playground: PlaygroundClient, api: Api, studio: str, status: int, headers: dict[str, str] | None
) -> None:
    await playground.call("POST", f"/channels/{studio}/permissions", json={"deny": ["send_messages"]})
    more = {"headers": headers} if headers else {}
    assert (await api("POST", f"/channels/{studio}/messages", json={"content": "x"}, **more))[0] == status
    assert [(entry["status"], entry["invalid"]) for entry in await playground.call("GET", "/log")] == [(status, 1)]


async def test_refused_calls_count_and_say_so(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """The headers are on every answer of a limited route, errors included."""
    await playground.call("POST", f"/channels/{studio}/permissions", json={"deny": ["send_messages"]})
    _, _, headers = await api("POST", f"/channels/{studio}/messages", json={"content": "x"})
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("5", "4")
