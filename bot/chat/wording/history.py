"""What `/history` says about pictures, and what is said before and after a picture is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.chat.wording.job import jump_link, made_from, not_read, recipe_line
from bot.chat.wording.text import CHOICE_LIMIT, MESSAGE_LIMIT, images_count, plain, shortened, shown_prompt
from bot.job import JobState

if TYPE_CHECKING:
    from bot.registry.history import HistoryPage, Picture

LISTED_PROMPT: Final = 200
"""Characters of a prompt in the list, after escaping."""

NO_PICTURES = "You have no pictures yet: make one with /imagine."
PICTURES_GONE = "There are no pictures here any more."
CHOOSE = "Show a picture"
NEWER = "Newer"
OLDER = "Older"
FILE_GONE = "Its file is no longer kept; its buttons draw it again."
EXPLICIT = "It may be explicit, so it is shown in age-restricted channels only."
EXPLICIT_NEVER = "It may be explicit and began with somebody's picture, so it is not shown."
EXPLICIT_OF_PERSON = "It may be explicit and a concept of a person is in it, so it is not shown."
NOT_POSTED = "could not be posted"
NOT_POSTED_YET = "on its way to the channel"

DELETED = "Deleted."
ONLY_OWNER_DELETES = "Only the person who asked for this picture, or who may manage messages here, can delete it."
NOT_A_PICTURE = "This message shows no picture of mine."


def page(shown: HistoryPage) -> str:
    """`Your pictures, newest first: 6–10 of 37`."""
    first, last = shown.newer + 1, shown.newer + len(shown.pictures)
    which = f"{first}" if first == last else f"{first}–{last}"
    return f"Your pictures, newest first: {which} of {shown.total}"


def listed(picture: Picture, number: int, note: str) -> str:
    """One picture in the list; `note` says why it has no thumbnail, or nothing."""
    job, image = picture.job, picture.image
    when = f"<t:{int(job.created_at.timestamp())}:R>"
    lines = [
        f"**{number}.** {shown_prompt(image.recipe.prompt, LISTED_PROMPT)}",
        " · ".join(filter(None, [when, _made_from(picture), _where(picture)])),
        note,
    ]
    return "\n".join(line for line in lines if line)


def choice(picture: Picture, number: int) -> str:
    """In the list to choose from; no markdown there."""
    return shortened(f"{number}. {plain(picture.image.recipe.prompt) or 'no words'}", CHOICE_LIMIT)


def shown(picture: Picture, note: str) -> str:
    """Above the full picture."""
    small = [recipe_line([picture.image]), not_read([picture.image]), _made_from(picture), _where(picture)]
    lines = [f"**{shown_prompt(picture.image.recipe.prompt)}**", *(f"-# {line}" for line in small if line), note]
    return "\n".join(line for line in lines if line)[:MESSAGE_LIMIT]


def _made_from(picture: Picture) -> str:
    origin, link = picture.job.origin, None
    if origin is not None and origin.channel_id is not None and origin.message_id is not None:
        link = jump_link(origin.guild_id, origin.channel_id, origin.message_id)
    return made_from(picture.job, [picture.image], link)


def _where(picture: Picture) -> str:
    """Where it was posted, or that it was not."""
    job, message_id = picture.job, picture.image.message_id
    if message_id is None and job.state is JobState.FAILED:
        return NOT_POSTED
    if message_id is None and job.state is JobState.DONE:
        return NOT_POSTED_YET
    message_id = message_id or job.message_id
    return "" if message_id is None else f"[in the chat]({jump_link(job.guild_id, job.channel_id, message_id)})"


def really_delete(images: int, owner_id: int, presser_id: int) -> str:
    what, it_goes, it = f"all {images_count(images)}", "They go", "them"
    if images <= 1:
        what, it_goes, it = "this picture", "It goes", "it"
    by = "" if owner_id == presser_id else f" by <@{owner_id}>"
    return f"Delete {what}{by} for good? {it_goes} from the chat too, and nobody can bring {it} back."
