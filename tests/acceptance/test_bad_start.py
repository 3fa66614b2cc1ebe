"""A start in Discord's bad minutes."""

from tests.acceptance.house import House


async def test_a_short_outage_at_the_start_is_waited_for(house: House) -> None:
    """discord.py itself gives up at the first 503 and at a connection that breaks."""
    assert await house.bot.end() == 0
    await house.post("faults", {"path": "/users/@me", "kind": "status", "status": 503})
    await house.post("faults", {"path": "/users/@me", "kind": "reset"})
    await house.post("faults", {"path": "/oauth2/applications/@me", "kind": "status", "status": 503})
    await house.start_bot()
    await house.imagine("a red apple", steps=2)
    await house.until_pictures(1)
