"""What members read about themselves: being forgotten, their preferences, reports, blocks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bot.chat.wording.job import jump_link
from bot.chat.wording.text import MESSAGE_LIMIT, escaped, images_count, shortened
from bot.registry.reports import FORGOTTEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.registry.members import Block
    from bot.registry.removals import Forgotten
    from bot.registry.reports import Report

_SHOWN_REASON: Final = 80
_LARGEST_ID: Final = 2**63 - 1
"""The records hold no larger ones; Discord reaches it in 2084."""
_MORE: Final = 30
"""Characters for saying how many more there are."""
_LINK: Final = re.compile(
    r"<?https://(?:[a-z]+\.)?discord(?:app)?\.com/channels/(?:@me|(\d{1,20}))/(\d{1,20})/(\d{1,20})/?>?"
)

# ── /forget-me ──

FORGET_WITH_MESSAGES = "Forget me and delete my posted pictures"
FORGET_ONLY = "Forget me, leave the messages"
KEEP = "Keep everything"
KEPT = "Nothing was deleted."


def really_forget(days: int) -> str:
    return (
        "**Forget everything about you, for good?**\n"
        "This removes your prompts, settings, pictures, start images, photos and concepts from this studio, stops "
        "what is waiting, being drawn or being trained for you, and removes copies of your pictures from which other "
        "members started. If you like, the messages with your pictures are deleted as well.\n"
        "-# What remains: what others made from yours or with your concepts, with your words in its recipe (files "
        "go after "
        f"{_count(days, 'day')}), "
        "messages unless you choose otherwise, reports without your name, a moderator's block, and the operator's "
        "backups until they expire. You can do this again at any time."
    )


def forgotten(done: Forgotten, *, messages: bool) -> str:
    if not done.jobs and not done.reports and not done.concepts:
        return "Nothing is kept about you any more."
    parts = [images_count(done.pictures)]
    if done.concepts:
        parts.append(_count(done.concepts, "concept"))
    if done.cancelled:
        parts.append(f"{_count(len(done.cancelled), 'request')} waiting or being drawn")
    if done.reports:
        parts.append(f"your name on {_count(done.reports, 'report')}")
    text = f"You are forgotten. Removed: {', '.join(parts)}, with all words and settings."
    if not messages:
        return f"{text} The messages stay."
    if not done.messages:
        return text
    return f"{text} {_count(done.messages, 'message')} will be deleted within the next minutes."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# ── /info and /queue ──


def privacy(days: int, gigabytes: float) -> str:
    """What is kept, how long, and how to end that."""
    return (
        "Your prompts, settings, start images and pictures are kept on this studio's own machine and sent nowhere "
        f"else. Pictures and start images go after {_count(days, 'day')}, or earlier when all of them together take "
        f"more than {gigabytes:g} GB; words and settings stay, for /history and its buttons. Photos of a training go "
        "as soon as it has ended; what it learned stays, only for you, until you share or delete it. "
        "/forget-me removes everything."
    )


def own_limit(images: int, limit: int) -> str:
    return f"Of your pictures, {images} are waiting or being drawn; {limit} is the most."


# ── /preferences ──


def preferences(*, ping: bool) -> str:
    if ping:
        return (
            "When a picture or training of yours took more than a minute, I mention you at its end. "
            "`ping: False` ends that."
        )
    return "I don't mention you when a picture or training is ready. `ping: True` changes that."


# ── reports ──

REPORT = "Report to the operator"
REPORT_REASON = "What is wrong with it?"
REPORT_HINT = "The operator of this bot reads this, with a link to the message and your name."
REPORTED = "Thank you: the operator of this bot has been told."
NOT_MINE = "I can report my own pictures only: for anything else use Discord's own report."
NO_SUCH_LINK = "This is no link to one of my pictures: copy it with “Copy Message Link” from the message's menu."


def parse_link(text: str) -> tuple[int | None, int, int] | None:
    """Server (None: a direct message), channel and message of a link; None: it is none."""
    match = _LINK.fullmatch(text.strip())
    if match is None:
        return None
    server, channel, message = (None if group is None else int(group) for group in match.groups())
    if channel is None or message is None or max(server or 0, channel, message) > _LARGEST_ID:
        return None
    return server, channel, message


def report_for_operator(report: Report) -> str:
    """Never the picture itself."""
    about = "" if report.member_id is None else f" by <@{report.member_id}> ({report.member_id})"
    lines = [
        f"**Report** from <@{report.reporter_id}> ({report.reporter_id}) about a picture{about}",
        jump_link(report.guild_id, report.channel_id, report.message_id),
        "" if report.job_id is None else f"-# job {report.job_id}",
        f"“{escaped(report.reason)}”" if report.reason.strip() else "(no reason given)",
    ]
    return shortened("\n".join(line for line in lines if line), MESSAGE_LIMIT)


# ── moderation ──

NOT_THE_BOT = "I can't block myself."
NOT_YOURSELF = "You can't block yourself."
NOT_BLOCKED = "They are not blocked in this server."
NOBODY_BLOCKED = "Nobody is blocked in this server."


def blocked(member_id: int, cancelled: int) -> str:
    stopped = f" {_count(cancelled, 'request')} of theirs was stopped." if cancelled == 1 else ""
    if cancelled > 1:
        stopped = f" {_count(cancelled, 'request')} of theirs were stopped."
    return f"<@{member_id}> can't ask for pictures in this server any more.{stopped}"


def unblocked(member_id: int) -> str:
    return f"<@{member_id}> may ask for pictures in this server again."


def blocks(found: Sequence[Block]) -> str:
    """As many as fit into a message."""
    if not found:
        return NOBODY_BLOCKED
    text = ""
    for shown, block in enumerate(found):
        row = _block(block) + "\n"
        if len(text) + len(row) > MESSAGE_LIMIT - _MORE:
            return f"{text}… and {len(found) - shown} more"
        text += row
    return text.rstrip()


def _block(block: Block) -> str:
    by = "" if block.by_id == FORGOTTEN else f" by <@{block.by_id}>"
    why = escaped(shortened(block.reason, _SHOWN_REASON)) or "no reason given"
    return f"<@{block.member_id}> · <t:{int(block.created_at.timestamp())}:d>{by} · {why}"
