from bot.playground.ratelimits import LIMIT, WINDOW_SECONDS, RateLimits


def test_every_kind_and_channel_has_its_own_window() -> None:
    now = 0.0
    limits = RateLimits(clock=lambda: now)

    def allowed(method: str, path: str) -> bool:
        verdict = limits.check(method, path)
        return verdict is None or verdict.allowed

    assert [allowed("PATCH", "/channels/1/messages/5") for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]
    assert allowed("PATCH", "/channels/2/messages/5")
    assert allowed("POST", "/channels/1/messages")
    now = WINDOW_SECONDS
    assert allowed("PATCH", "/channels/1/messages/6")


def test_reading_is_not_limited() -> None:
    assert RateLimits().check("GET", "/channels/1/messages") is None
