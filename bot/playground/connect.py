"""Points the unmodified discord.py at a playground server instead of Discord.

Knows two class attributes of discord.py and nothing else: `Route.BASE`, where its REST calls go, and
`DiscordWebSocket.DEFAULT_GATEWAY`, where its WebSocket goes.
"""

import discord.http
import yarl
from discord.gateway import DiscordWebSocket

TOKEN = "playground"  # noqa: S105 - not a secret: the server is loopback only and knows no other
"""The token that a bot logs in with. The server refuses any other, as Discord would."""


def point_discord_at(url: str) -> None:
    """Send every discord.py client of this process to the playground server at `url`.

    Args:
        url: What the server printed, for example `http://127.0.0.1:7860`.

    Raises:
        ValueError: The address is not plain HTTP on this machine.
    """
    base = yarl.URL(url)
    if base.scheme != "http" or base.host not in ("127.0.0.1", "localhost"):
        raise ValueError(f"A playground lives on http://127.0.0.1:PORT, not on {url!r}.")
    discord.http.Route.BASE = str(base / "api/v10")
    DiscordWebSocket.DEFAULT_GATEWAY = (base / "gateway").with_scheme("ws")
