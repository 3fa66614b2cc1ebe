"""What a server's managers read when they change or look at its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN_CHANNELS: Final = 40

REMIX_ALLOWED = "Members may now remix each other's pictures in this server."
REMIX_FORBIDDEN = "From now on members may remix only their own pictures in this server."
NOT_STUDIO = "This channel is no studio: a reply is a remix only with a picture in it, or when it mentions me."
STUDIO = "This channel is a studio now: every reply to a picture, in its threads too, is a remix."
ONLY_WITH_PING = "-# I can read a reply only where it pings me, so keep the @ on when you reply to my pictures."


def studio(here: bool, *, reads_all: bool) -> str:
    """`reads_all`: whether the operator lets the bot read messages that don't mention it."""
    if not here:
        return NOT_STUDIO
    return STUDIO if reads_all else f"{STUDIO}\n{ONLY_WITH_PING}"


def settings(remix_others: bool, channels: Iterable[int]) -> str:
    ordered = sorted(channels)
    named = [f"<#{channel_id}>" for channel_id in ordered[:SHOWN_CHANNELS]]
    if len(ordered) > SHOWN_CHANNELS:
        named.append(f"and {len(ordered) - SHOWN_CHANNELS} more")
    whose = "of everybody" if remix_others else "of their own only"
    return f"Members may remix pictures {whose}.\nStudio channels: {', '.join(named) or 'none'}"
