"""Sentences for the person who asked, which only they see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.chat.wording.text import duration, escaped, shortened
from bot.outlook import WorkerState

if TYPE_CHECKING:
    from bot.outlook import Place, WorkerStatus
    from generation.request import InvalidRequest

_OPTION_NAMES: Final = {
    "guidance_scale": "guidance",
    "num_inference_steps": "steps",
    "init_image": "image",
    "width": "size (width)",
    "height": "size (height)",
}

TOLD_ELSEWHERE = "I can't write in this channel, so I answer here. This works for 15 minutes."
NO_JOBS = "Nothing is waiting: the next picture starts at once."
NOTHING_TO_CANCEL = "Nothing of yours is waiting, being drawn or being trained."
WHICH_TO_CANCEL = "You have several things on the way: choose one in the option `job`."
NOT_YOURS = "Only the person who asked for this, or a moderator, can stop it."
ALREADY_ENDED = "Too late to stop: this has already ended."
UNKNOWN_JOB = "I don't know this picture any more."
_GONE = {
    10003: "its channel was deleted",
    10004: "its server is gone",
    10008: "its message was deleted",
    10015: "the 15 minutes in which I could answer there are over",
    50001: "I can't see its channel any more",
    50007: "you accept no direct messages from me",
    50013: "I may not write in its channel any more",
    50027: "the 15 minutes in which I could answer there are over",
    50083: "its thread was closed",
}
UNKNOWN_BUTTON = "This button is of another version of me and does nothing any more."
STOPPED = "Stopped."
STOPPING = "Stopping it at the next step."
COMMAND_CHANGED = "This command has changed since your Discord loaded it: reload Discord (Ctrl+R) and try again."
NOT_ALLOWED_HERE = "This can't be used here."
PICTURE_LOST = "The picture was made, but its file is gone: press “Again” for a new one."
ENLARGED_LOST = "The picture was enlarged, but its file is gone: press “Upscale” under the smaller one again."
TOO_LATE_HERE = (
    "This takes longer than the 15 minutes in which I may answer here, so I stopped. "
    "Ask in a channel where I can write, or when the queue is shorter."
)
WORKER_LOST = "The drawing process stopped and is being started again; what you asked for is kept and goes on then."


def unexpected(reference: str) -> str:
    return f"Something went wrong on my side; it has been logged (reference {reference})."


def undeliverable(status: int, code: int) -> str:
    """Why a picture could not be posted, after what Discord answered."""
    return f"It could not be posted: {_GONE.get(code, f'Discord refused it ({status}, code {code})')}."


def too_large_attachment(size: int, limit: int) -> str:
    return f"Your picture is {size / 2**20:,.0f} MiB; at most {limit / 2**20:,.0f} MiB are read."


def bad_size(text: str) -> str:
    """Not escaped yet."""
    return f"size must be written as width×height, such as 512x768, not “{shortened(text, 40)}”."


def invalid(error: InvalidRequest) -> str:
    """The request's own sentence, with the option's name in place of the field's."""
    sentence = str(error)
    name = _OPTION_NAMES.get(error.field)
    if name is not None and sentence.startswith(error.field):
        sentence = name + sentence[len(error.field) :]
    return escaped(sentence)


def position(place: Place) -> str:
    return "next in the queue" if place.position <= 1 else f"number {place.position} in the queue"


def starts_in(place: Place, before: str) -> str:
    return f"{before}{duration(place.seconds)}" if place.seconds and place.images_ahead else ""


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
    return f"{what} {position(place)}{starts_in(place, ', ')}."


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
