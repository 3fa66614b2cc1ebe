"""The message of a job in the channel, from the queue to its pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.chat.wording.answers import position, starts_in, waiting_note
from bot.chat.wording.text import (
    ALT_TEXT_LIMIT,
    MESSAGE_LIMIT,
    bar,
    duration,
    escaped,
    plain,
    shortened,
    shown_prompt,
)
from bot.job import JobKind
from generation.recipe import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.job import Job, JobImage
    from bot.outlook import Place

SHOWN_NEGATIVE: Final = 200
"""Characters of a negative prompt under the pictures; the recipe button gives the whole."""


def head(job: Job) -> str:
    return f"**{shown_prompt(job.request.prompt)}** – <@{job.member_id}>"


def _message(job: Job, *lines: str) -> str:
    return "\n".join([head(job), *(f"-# {line}" for line in lines if line)])[:MESSAGE_LIMIT]


def waiting(job: Job, place: Place | None) -> str:
    """Queued: its place, and why nothing is drawn (the model loads, the worker was lost)."""
    if place is None:
        return _message(job, "⏳ waiting")
    return _message(job, f"⏳ {position(place)}{starts_in(place, ' · ')}", waiting_note(place.waiting_for) or "")


def drawing(job: Job, step: int, total: int, seconds_left: float | None) -> str:
    left = "" if seconds_left is None else f" · {duration(seconds_left)} left"
    return _message(job, f"{bar(step, total)} step {step}/{total}{left}")


def starting(job: Job) -> str:
    return _message(job, f"{bar(0, 1)} starting")


def finished(job: Job, images: Sequence[JobImage], withheld: int, total: int, made_from: str = "") -> str:
    """Under the pictures of one message, `images` of all `total`: which they are, the recipe in one line, what they
    were made from, the words that the model did not read, and how many are not shown."""
    which = ""
    if len(images) < total:
        which = f"{images[0].index + 1}–{images[-1].index + 1} of {total} · "
    lines = (
        [made_from] if job.kind is JobKind.RESAMPLE else [which + recipe_line(images), _without(images), made_from]
    )
    lines.append(not_read(images))
    lines.append(withheld_sentence(withheld, len(images)))
    return _message(job, *lines)


def _without(images: Sequence[JobImage]) -> str:
    recipe = images[0].recipe
    if not recipe.negative_prompt or recipe.guidance_scale <= 1:  # then it had no effect
        return ""
    return f"without: {shown_prompt(recipe.negative_prompt, SHOWN_NEGATIVE)}"


_MADE_FROM: Final = {
    JobKind.IMAGINE: "",  # began as a picture that its member attached to the command
    JobKind.REMIX: "remix of",
    JobKind.VARY: "variation of",
    JobKind.UPSCALE: "enlarged from",
    JobKind.RESAMPLE: "enlarged from",
    JobKind.TRAIN: "",  # from photos, which are not kept
}


def made_from(job: Job, images: Sequence[JobImage], link: str | None) -> str:
    """What its pictures were made from; empty where it was only words."""
    what = _MADE_FROM[job.kind]
    if not what:
        return ""
    said = f"{what} [this picture]({link})" if link else f"{what} an earlier picture"
    if job.kind is not JobKind.RESAMPLE:
        return said
    return f"{said} to {images[0].width}×{images[0].height} by resampling, as this model draws no larger"


def jump_link(guild_id: int | None, channel_id: int, message_id: int) -> str:
    """To a message; `guild_id` None: in direct messages."""
    return f"https://discord.com/channels/{'@me' if guild_id is None else guild_id}/{channel_id}/{message_id}"


def recipe_line(images: Sequence[JobImage]) -> str:
    """`20 steps · guidance 7.5 · seed 123 · 64×64`; `seeds 123–126` for several."""
    line = one_line(images[0].recipe)
    if len(images) == 1:
        return escaped(line)
    first, last = images[0].seed, images[-1].seed
    return escaped(line).replace(f"seed {first}", f"seeds {first}–{last}", 1)


def not_read(images: Sequence[JobImage]) -> str:
    words: list[str] = []
    for image in images:
        words += [word for word in image.words_not_read if word not in words]
    if not words:
        return ""
    shown = escaped(shortened(" ".join(words), 200))
    return f"The prompt was longer than the model reads; not read: “{shown}”"


def withheld_sentence(withheld: int, total: int) -> str:
    if not withheld:
        return ""
    if total == 1:
        return "The picture may be explicit, so it is not shown here."
    return f"{withheld} of {total} pictures may be explicit, so they are not shown here."


def failed(job: Job, reason: str) -> str:
    return _message(job, f"⚠️ {escaped(shortened(reason, 500))}")


def cancelled(job: Job) -> str:
    return _message(job, "Stopped.")


_ALT_KINDS: Final = {
    JobKind.REMIX: "remixed from another picture",
    JobKind.VARY: "a variation of another",
    JobKind.UPSCALE: "enlarged from a smaller one",
    JobKind.RESAMPLE: "enlarged from a smaller one by resampling",
    JobKind.TRAIN: "a sample of what was learned",
}


def alt_text(job: Job, image: JobImage, total: int) -> str:
    """What a screen reader says about one picture."""
    which = f", {image.index + 1} of {total}" if total > 1 else ""
    kind = _ALT_KINDS.get(job.kind)
    start = f"A generated picture{which}{f', {kind}' if kind else ''}: "
    return start + shortened(plain(image.recipe.prompt) or "drawn from a start image", ALT_TEXT_LIMIT - len(start))


def preview_alt_text(job: Job, step: int, total: int) -> str:
    prompt = job.request.prompt if isinstance(job.request.prompt, str) else " · ".join(job.request.prompt)
    return shortened(f"Preview after step {step} of {total}: {plain(prompt)}", ALT_TEXT_LIMIT)


def ping(job: Job, *, failed: bool, shown: bool) -> str:
    """Says to its member that a job that took long has ended; `shown`: there is a picture to be seen."""
    what, be = ("picture", "is") if job.images == 1 else ("pictures", "are")
    if failed:
        said = f"your {what} could not be made"
    else:
        said = f"your {what} {be} ready" if shown else f"your {what} {be} done, but can't be shown here"
    return f"<@{job.member_id}> {said}.\n-# /preferences turns this off"
