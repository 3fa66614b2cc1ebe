import discord.http
import pytest
from discord.gateway import DiscordWebSocket

from bot.playground.connect import point_discord_at


def test_points_rest_and_gateway_at_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discord.http.Route, "BASE", "")
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", None)
    point_discord_at("http://127.0.0.1:7860")
    assert discord.http.Route("GET", "/users/@me").url == "http://127.0.0.1:7860/api/v10/users/@me"
    assert str(DiscordWebSocket.DEFAULT_GATEWAY) == "ws://127.0.0.1:7860/gateway"


@pytest.mark.parametrize("url", ["https://127.0.0.1:7860", "http://example.org", "7860"])
def test_refuses_what_is_not_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match="playground lives on"):
        point_discord_at(url)
