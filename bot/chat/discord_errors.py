"""What an error means for a message: try again, or stop for good."""

from __future__ import annotations

from typing import Final

import aiohttp
import discord

from bot.errors import RegistryTrouble

GONE_CODES: Final = frozenset(
    {
        10003,  # unknown channel
        10004,  # unknown guild
        10008,  # unknown message: somebody deleted it
        10015,  # unknown webhook: the interaction's 15 minutes are over
        40333,  # blocked by Discord as harmful
        50001,  # missing access
        50007,  # they accept no direct messages from the bot
        50013,  # missing permissions
        50027,  # invalid webhook token
        50083,  # the thread is archived
    }
)
"""Codes that no retry can help. Going on after them is what gets a bot banned (10,000 invalid requests in
10 minutes)."""

CANNOT_SEND_CODES: Final = frozenset({10003, 10004, 50001, 50007, 50013})
"""Codes after which an interaction can still be answered by a follow-up."""

NO_HISTORY_CODE: Final = 160002
"""Who may not read a channel's history may not reply in it."""
TOO_LARGE_CODES: Final = frozenset({40005})
DELETED_CODES: Final = frozenset({10003, 10004, 10008})
_ARCHIVED: Final = 50083


def is_gone(error: BaseException) -> bool:
    """The message or its channel is out of reach for good."""
    if not isinstance(error, discord.HTTPException):
        return False
    return error.code in GONE_CODES or error.status == 401 or _is_forbidden(error)


def is_deleted(error: BaseException) -> bool:
    """The message is not there any more, alone or with its channel."""
    return isinstance(error, discord.HTTPException) and error.code in DELETED_CODES


def is_archived(error: BaseException) -> bool:
    return isinstance(error, discord.HTTPException) and error.code == _ARCHIVED


def cannot_send(error: BaseException) -> bool:
    """The bot may not write in this channel (a user install, or a missing permission)."""
    return isinstance(error, discord.HTTPException) and (error.code in CANNOT_SEND_CODES or _is_forbidden(error))


def _is_forbidden(error: discord.HTTPException) -> bool:
    """For whatever reason. (Without a code it is not Discord that answers, but something in front of it.)"""
    return error.status == 403 and error.code != 0


def is_too_large(error: BaseException) -> bool:
    return isinstance(error, discord.HTTPException) and (error.status == 413 or error.code in TOO_LARGE_CODES)


def is_passing(error: BaseException) -> bool:
    """Worth another try: connection reset, time-out, 5xx, 429, records that can't be used right now.

    discord.py itself retries 500, 502, 504 and 524, and connection resets by their macOS and Windows numbers
    only; 503 and Linux's ECONNRESET are left to us.
    """
    if isinstance(error, discord.HTTPException):
        return error.status >= 500 or error.status == 429
    return isinstance(error, aiohttp.ClientError | ConnectionError | TimeoutError | RegistryTrouble)


def short(error: BaseException) -> str:
    """For a log line: type, status and code, never a message's content."""
    if isinstance(error, discord.HTTPException):
        return f"{type(error).__name__} {error.status} (code {error.code})"
    return type(error).__name__
