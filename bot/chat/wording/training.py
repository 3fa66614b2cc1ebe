"""Words about teaching a concept, before it begins: what is agreed to, the form, what is said of the photos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.chat.wording.answers import position, starts_in, waiting_note
from bot.chat.wording.text import (
    MESSAGE_LIMIT,
    escaped,
    shortened,
)
from training.order import PHOTOS, Depicts, Method
from training.photos import PhotoStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.outlook import Place
    from training.photos import PhotoVerdict

# ── what is agreed to ──

CONSENT_VERSION: Final = "2026-11-23"
"""Kept with every concept. Another text needs another version: a test knows which text this one is."""
CONSENT_TEXT: Final = """\
**What you agree to**
**Photos** are read by this studio's own machine to learn from them. It sends and posts them nowhere, and deletes \
them, with every copy, as soon as the training ends, fails or is stopped. If I have a question about them first, \
they wait for your answer for 15 minutes. (You send them through Discord, which has rules of its own.)
**Kept until you delete it** (/concepts delete or /forget-me): what was learned, its name and class, a few sample \
pictures, and that you agreed. The operator's backups may hold these until they expire.
**Seen by everybody in this channel:** its name, how the training goes, and samples of what it learns; later, \
pictures that you make with it, where you make them.
**Who can use it:** only you, until you share it with a server.
**Whom it may show:** things, animals, yourself, or another adult who agreed to all of this. Children are refused: \
send no photo with a child in it."""
CONSENT_CHANGED: Final = "What is agreed to has changed since this form was opened: use /train again."
NOT_AGREED: Final = "I train only where you say what it is and agree: use /train again."
NO_CHILDREN: Final = "Concepts of children are refused. Of an adult, say so in the option class: man, woman."


def depicts_choices() -> list[tuple[str, str, Depicts]]:
    """(label, description, value) of what a concept may be of."""
    return [
        ("A thing or an animal", "No person is what it is about", Depicts.THING),
        ("Myself", "I am an adult", Depicts.SELF),
        ("Another adult who agreed", "They know and agree to all that is said here", Depicts.ADULT),
    ]


# ── the command and its form ──

METHOD_CHOICES: Final[dict[Method, str]] = {
    Method.LORA: "LoRA: the usual choice, quick and alike",
    Method.TEXTUAL_INVERSION: "textual inversion: only a new word, the smallest and gentlest",
    Method.DREAMBOOTH: "DreamBooth: everything is trained, often the most alike, slowest",
}
CANNOT_POST: Final = (
    "A training takes longer than I may answer here, and I can't write in this channel: "
    "use one where I can, or a direct message to me."
)
LOADING: Final = "The model is still loading, so I can't tell how large it draws: try again in a minute."
PHOTOS_LABEL: Final = "Photos"
PHOTOS_HINT: Final = f"{PHOTOS[0]} to {PHOTOS[1]}, each from another side, in another place or light"
DEPICTS_LABEL: Final = "What is it?"
AGREE_LABEL: Final = "Do you agree?"
AGREE: Final = "I agree, and no child is in the photos"
NOT_DOWNLOADED: Final = "I could not download your photos from Discord: use /train again, please."
STILL_LOOKING: Final = "I am still looking at the photos that you sent before: wait for what I say about them."


_METHODS: Final = {
    Method.LORA: "LoRA",
    Method.TEXTUAL_INVERSION: "textual inversion",
    Method.DREAMBOOTH: "DreamBooth",
}


def method_name(method: Method) -> str:
    return _METHODS[method]


def in_brackets(name: str) -> str:
    """As it is written in prompts, escaped."""
    return escaped(f"<{name}>")


def form_title(name: str) -> str:
    return f"Train <{name}>"


def too_many_bytes(size: int, limit: int) -> str:
    return (
        f"Your photos have {size / 2**20:,.0f} MiB together, and {limit / 2**20:,.0f} MiB is the most: "
        "send fewer, or smaller ones."
    )


def wrong_number(found: int) -> str:
    return f"A training takes {PHOTOS[0]} to {PHOTOS[1]} photos, not {found}: use /train again."


# ── what is said of the photos ──

START: Final = "Start the training"
DISCARD: Final = "Don't"
DISCARDED: Final = "Nothing was trained, and the photos are deleted."
DRAFT_GONE: Final = (
    "These photos are not kept any more: their training has begun, you have sent others, or 15 minutes are over. "
    "/train takes new ones."
)
_MARKS: Final = {
    PhotoStatus.ACCEPTED: "✅",
    PhotoStatus.FIXED: "🛠️",
    PhotoStatus.WARNED: "⚠️",
    PhotoStatus.REJECTED: "❌",
}
_SHOWN_NAME: Final = 40
_SHOWN_SENTENCES: Final = (300, 160, 100, 70, 30)
"""Characters of a sentence, before escaping: as many as fit for all photos."""


def verdicts(said: Sequence[PhotoVerdict], *after: str) -> str:
    """A line for each photo, then `after`, in one message."""
    for length in _SHOWN_SENTENCES:
        lines = [
            f"{_MARKS[one.status]} {escaped(shortened(one.name, _SHOWN_NAME))}: "
            f"{escaped(shortened(one.sentence, length))}"
            for one in said
        ]
        text = "\n".join([*lines, *after])
        if len(text.encode("utf-16-le")) // 2 <= MESSAGE_LIMIT:  # as Discord counts, at its strictest
            return text
    return "\n".join(after)[:MESSAGE_LIMIT]


def really_train(name: str, photos: int) -> str:
    return f"Train {in_brackets(name)} with the {photos} that can be used?"


def acknowledged(place: Place | None) -> str:
    """`place` None: it has begun already."""
    tell = "I show here how it goes and mention you at the end."
    if place is None:
        return f"Your training starts now. {tell}"
    note = waiting_note(place.waiting_for)
    if note is not None:
        return f"Your training is {position(place)}. {note} {tell}"
    if place.position <= 1 and place.images_ahead == 0:
        return f"Your training starts now. {tell}"
    return f"Your training is {position(place)}{starts_in(place, ', ')}. {tell}"
