"""Words about a prompt and its flags."""

from __future__ import annotations

from bot.chat.wording.text import shortened


def said_twice(option: str, in_option: object, flag: str, in_flag: object) -> str:
    """Not escaped yet."""
    as_option, as_flag = (shortened(_plain(value), 60) for value in (in_option, in_flag))
    return f"{option} is {as_option} as an option and {as_flag} after {flag}: keep one of the two."


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return "x".join(str(side) for side in value)
    return f"“{value}”" if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
