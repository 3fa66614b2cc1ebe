from bot.playground.nonces import REMEMBERED_SECONDS, Nonces


def test_a_nonce_is_forgotten_after_some_minutes() -> None:
    now = 0.0
    nonces = Nonces(clock=lambda: now)
    nonces.remember(1, "job:0", 77)
    assert nonces.find(1, "job:0") == 77
    assert nonces.find(2, "job:0") is None
    now = REMEMBERED_SECONDS + 1
    assert nonces.find(1, "job:0") is None
