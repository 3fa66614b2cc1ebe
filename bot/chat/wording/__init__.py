"""Every word that members read in a chat, in one place. Pure functions: values in, text out.

Text that a member wrote goes through `escaped` before it is shown. Discord's limits are kept here.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

import discord

from bot.job import JobState
from bot.outlook import WorkerState
from generation.recipe import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.job import Job, JobImage
    from bot.outlook import Place, QueueLine, StudioStatus, WorkerStatus
    from generation.request import InvalidRequest

MESSAGE_LIMIT: Final = 2000
ALT_TEXT_LIMIT: Final = 1024
CHOICE_LIMIT: Final = 100
SHOWN_PROMPT: Final = 600
"""Characters of a prompt in a channel message, after escaping; the recipe button gives the whole."""
QUEUE_ROWS: Final = 12
_BAR_CELLS: Final = 12
_ZERO_WIDTH: Final = "\u200b"
_OPTION_NAMES: Final = {
    "guidance_scale": "guidance",
    "num_inference_steps": "steps",
    "init_image": "image",
    "width": "size (width)",
    "height": "size (height)",
}

# ── answers that need no values ──

TOLD_ELSEWHERE = "I can't write in this channel, so I answer here. This works for 15 minutes."
NO_JOBS = "Nothing is waiting: the next picture starts at once."
NOTHING_TO_CANCEL = "You have no picture that is waiting or being drawn."
WHICH_TO_CANCEL = "You have several pictures on the way: choose one in the option `job`."
NOT_YOURS = "Only the person who asked for this picture, or a moderator, can stop it."
ALREADY_ENDED = "Too late to stop: this picture has already ended."
UNKNOWN_JOB = "I don't know this picture any more."
STOPPED = "Stopped."
STOPPING = "Stopping it at the next step."
COMMAND_CHANGED = "This command has changed since your Discord loaded it: reload Discord (Ctrl+R) and try again."
NO_ATTACHMENT = "I could not download your picture from Discord: attach it again, please."
NOT_ALLOWED_HERE = "This can't be used here."
RECIPE_ATTACHED = "The recipe is long, so it is a file:"
PICTURE_LOST = "The picture was made, but its file is gone: press “Again” for a new one."
TOO_LATE_HERE = (
    "This takes longer than the 15 minutes in which I may answer here, so I stopped. "
    "Ask in a channel where I can write, or when the queue is shorter."
)
WORKER_LOST = "The drawing process stopped and is being started again; your picture is kept and drawn anew."
PRIVACY = (
    "Your prompt, settings and pictures are kept on this server's own machine and sent nowhere else; "
    "a start image is used for its picture only."
)


def unexpected(reference: str) -> str:
    return f"Something went wrong on my side; it has been logged (reference {reference})."


def too_large_attachment(size: int, limit: int) -> str:
    return f"Your picture is {size / 2**20:,.0f} MiB; at most {limit / 2**20:,.0f} MiB are read."


def bad_size(text: str) -> str:
    return f"size must be written as width×height, such as 512x768, not “{escaped(shortened(text, 40))}”."


def invalid(error: InvalidRequest) -> str:
    """The request's own sentence, with the option's name in place of the field's."""
    sentence = str(error)
    name = _OPTION_NAMES.get(error.field)
    if name is not None and sentence.startswith(error.field):
        sentence = name + sentence[len(error.field) :]
    return escaped(sentence)


# ── text of members ──


def escaped(text: str) -> str:
    """Member text as it was typed: no formatting, no mentions, no links, on one line."""
    kept = "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cf", "Cs"} or c in "\n\t\u200d")
    flat = " ".join(kept.split())
    marked = discord.utils.escape_markdown(flat, ignore_links=False).replace("<", "\\<")
    unlinked = marked.replace("://", f":{_ZERO_WIDTH}//").replace(".gg/", f".gg{_ZERO_WIDTH}/")
    return discord.utils.escape_mentions(unlinked)


def shortened(text: str, length: int) -> str:
    """At most `length` characters, the last one `…` if any were cut."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def shown_prompt(prompt: str | list[str], length: int = SHOWN_PROMPT) -> str:
    """The prompt, escaped, in at most `length` characters."""
    plain = prompt if isinstance(prompt, str) else " · ".join(prompt)
    cut = min(len(plain), length)
    while len(text := escaped(shortened(plain, cut))) > length:
        cut -= max(1, len(text) - length)
    return text or "(no words, only a picture)"


# ── numbers ──


def duration(seconds: float) -> str:
    if seconds < 5:
        return "a few seconds"
    if seconds < 55:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    if seconds < 90 * 60:
        return f"about {max(1, round(seconds / 60))} min"
    return f"about {seconds / 3600:.1f} h"


def position(place: Place) -> str:
    return "next in the queue" if place.position <= 1 else f"number {place.position} in the queue"


def _starts_in(place: Place, before: str) -> str:
    return f"{before}{duration(place.seconds)}" if place.seconds and place.images_ahead else ""


def bar(step: int, total: int) -> str:
    filled = min(_BAR_CELLS, _BAR_CELLS * step // max(1, total))
    return "▰" * filled + "▱" * (_BAR_CELLS - filled)


# ── the answer to the person who asked (only they see it) ──


def acknowledged(images: int, place: Place | None) -> str:
    """`place` None: it is being drawn already."""
    what = "Your picture is" if images == 1 else f"Your {images} pictures are"
    if place is None:
        return f"{what} next: drawing starts now."
    note = waiting_note(place.waiting_for)
    if note is not None:
        return f"{what} {position(place)}. {note}"
    if place.images_ahead == 0:
        return f"{what} next: drawing starts now."
    return f"{what} {position(place)}{_starts_in(place, ', ')}."


def loading(text: str, fraction: float | None) -> str:
    """While the worker prepares: what it does, and how far it is."""
    done = f" ({fraction:.0%})" if fraction is not None else ""
    doing = text.strip().rstrip(".…") or "loading"
    if doing.lower() in {"loading", "loading the model", "starting"}:
        return f"The model is loading{done}."
    return f"The model is loading: {escaped(doing)}{done}."


def load_failed(reason: str) -> str:
    why = escaped(shortened(reason.strip().rstrip("."), 200))
    return f"The model can't be loaded: {why}." if why else "The model can't be loaded right now."


def waiting_note(worker: WorkerStatus | None) -> str | None:
    """Why nothing is drawn right now, in one sentence; None while all is well."""
    if worker is None:
        return None
    match worker.state:
        case WorkerState.READY:
            return None
        case WorkerState.LOST:
            return WORKER_LOST
        case WorkerState.LOAD_FAILED:
            return load_failed(worker.text)
        case WorkerState.STARTING | WorkerState.LOADING:
            return loading(worker.text, worker.fraction)


# ── the message in the channel ──


def head(job: Job) -> str:
    return f"**{shown_prompt(job.request.prompt)}** – <@{job.member_id}>"


def _message(job: Job, *lines: str) -> str:
    return "\n".join([head(job), *(f"-# {line}" for line in lines if line)])[:MESSAGE_LIMIT]


def waiting(job: Job, place: Place | None) -> str:
    """Queued: its place, and why nothing is drawn (the model loads, the worker was lost)."""
    if place is None:
        return _message(job, "⏳ waiting")
    return _message(job, f"⏳ {position(place)}{_starts_in(place, ' · ')}", waiting_note(place.waiting_for) or "")


def drawing(job: Job, step: int, total: int, seconds_left: float | None) -> str:
    left = "" if seconds_left is None else f" · {duration(seconds_left)} left"
    return _message(job, f"{bar(step, total)} step {step}/{total}{left}")


def starting(job: Job) -> str:
    return _message(job, f"{bar(0, 1)} starting")


def finished(job: Job, images: Sequence[JobImage], withheld: int) -> str:
    """The recipe in one line, the words that the model did not read, and how many pictures are not shown."""
    lines = [recipe_line(images)] if images else []
    lines.append(not_read(images))
    lines.append(withheld_sentence(withheld, len(images)))
    return _message(job, *lines)


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


def alt_text(image: JobImage, total: int) -> str:
    """What a screen reader says about one picture."""
    which = f", {image.index + 1} of {total}" if total > 1 else ""
    start = f"A generated picture{which}: "
    return start + shortened(image.recipe.prompt or "drawn from a start image", ALT_TEXT_LIMIT - len(start))


def preview_alt_text(job: Job, step: int, total: int) -> str:
    prompt = job.request.prompt if isinstance(job.request.prompt, str) else " · ".join(job.request.prompt)
    return shortened(f"Preview after step {step} of {total}: {prompt}", ALT_TEXT_LIMIT)


# ── /cancel, /queue, /info, recipe ──


def job_choice(job: Job) -> str:
    """One line in the list that Discord shows while a member types; no markdown there."""
    prompt = job.request.prompt if isinstance(job.request.prompt, str) else " · ".join(job.request.prompt)
    doing = "being drawn" if job.state is JobState.RUNNING else "waiting"
    return shortened(f"{doing}: {prompt}", CHOICE_LIMIT)


def images_count(images: int) -> str:
    return "1 picture" if images == 1 else f"{images} pictures"


def recipe_text(job: Job, images: Sequence[JobImage]) -> str:
    """Everything that is needed to make the pictures again, as plain text to copy."""
    request = job.request
    prompt = request.prompt if isinstance(request.prompt, str) else "\n".join(request.prompt)
    rows = [("prompt", prompt), ("negative prompt", request.negative_prompt)]
    if images:
        recipe = images[0].recipe
        seeds = ", ".join(str(image.seed) for image in images)
        rows += [
            ("steps", str(recipe.num_inference_steps)),
            ("guidance", f"{recipe.guidance_scale:g}"),
            ("seed" if len(images) == 1 else "seeds", seeds),
            ("size", f"{recipe.width}x{recipe.height}"),
            ("strength", "" if recipe.strength is None else f"{recipe.strength:g}"),
            ("scheduler", recipe.scheduler),
            ("model", f"{recipe.model_name} ({recipe.model_hash[:10]})"),
        ]
    else:
        rows += [("guidance", f"{request.guidance_scale:g}"), ("seed", str(request.seed))]
    return "\n".join(f"{name}: {value}" for name, value in rows if value)


def queue(lines: Sequence[QueueLine], seconds: float | None, *, member_id: int, guild_id: int | None) -> str:
    """The queue for one member: everybody's place, nobody else's prompt, nobody of another server by name."""
    if not lines:
        return NO_JOBS
    rows = [_queue_row(line, member_id, guild_id) for line in lines[:QUEUE_ROWS]]
    if len(lines) > QUEUE_ROWS:
        rows.append(f"… and {len(lines) - QUEUE_ROWS} more")
    if seconds:
        rows.append(f"-# all of it: {duration(seconds)}")
    return "\n".join(rows)


def _queue_row(line: QueueLine, member_id: int, guild_id: int | None) -> str:
    job = line.job
    where = "🎨" if line.place is None else f"{line.place.position}."
    if job.member_id == member_id:
        who = f"you: {shown_prompt(job.request.prompt, 60)}"
    elif guild_id is not None and job.guild_id == guild_id:
        who = f"<@{job.member_id}>"
    else:
        who = "somebody elsewhere"
    when = "" if line.place is None else _starts_in(line.place, " · in ")
    return f"{where} {who} · {images_count(job.images)}{when}"


def info(status: StudioStatus, version: str) -> str:
    """Which model draws, how, how busy it is, and what is kept."""
    rows = [f"**{version}**"]
    model = status.worker.model
    if model is not None:
        defaults = model.defaults
        size = f"{model.parameters / 1e6:,.0f} million parameters, " if model.parameters else ""
        rows.append(f"Model: {escaped(model.name)} ({size}{escaped(model.family)}, on {escaped(model.device)})")
        rows.append(
            f"Without options: {defaults.width}×{defaults.height}, {defaults.num_inference_steps} steps, "
            f"guidance {defaults.guidance_scale:g}"
        )
    rows.append(waiting_note(status.worker) or "The model is ready.")
    rows.append(f"Being drawn: {status.running} · waiting: {images_count(status.images_waiting)}")
    rows.append(f"-# {PRIVACY}")
    return "\n".join(rows)
