from urllib.parse import parse_qs, urlsplit

from bot.invite import invite_link

# Discord, "Permissions", bitwise flags: VIEW_CHANNEL, SEND_MESSAGES, ATTACH_FILES, READ_MESSAGE_HISTORY,
# SEND_MESSAGES_IN_THREADS.
NEEDED = 1 << 10 | 1 << 11 | 1 << 15 | 1 << 16 | 1 << 38


def test_the_link_asks_for_exactly_what_is_used() -> None:
    link = urlsplit(invite_link(1234))
    asked = parse_qs(link.query)
    assert (link.scheme, link.netloc, link.path) == ("https", "discord.com", "/oauth2/authorize")
    assert asked["client_id"] == ["1234"]
    assert int(asked["permissions"][0]) == NEEDED
    assert set(asked["scope"][0].split()) == {"bot", "applications.commands"}
