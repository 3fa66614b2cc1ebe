"""The message of a training in the channel, from the queue to what was learned, and its lines in lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.chat.wording.answers import position, starts_in, waiting_note
from bot.chat.wording.job import recipe_line, withheld_sentence
from bot.chat.wording.text import ALT_TEXT_LIMIT, CHOICE_LIMIT, MESSAGE_LIMIT, bar, duration, escaped, shortened
from bot.chat.wording.training import in_brackets, method_name
from training.events import Phase
from training.order import DRIFTED, Card, Method, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.job import Job, JobImage
    from bot.outlook import Place
    from bot.worker.messages import Progress
    from training.order import TrainedConcept

# ── its message ──


def _name(job: Job) -> str:
    assert job.training is not None, "the job is a training"
    return in_brackets(job.training.name)


def _message(head: str, *lines: str) -> str:
    return "\n".join([head, *(f"-# {line}" for line in lines if line)])[:MESSAGE_LIMIT]


def _head(job: Job) -> str:
    return f"**Training {_name(job)}** – <@{job.member_id}>"


def _what(job: Job) -> str:
    assert job.training is not None, "the job is a training"
    return f"{method_name(job.training.method)} · {escaped(job.training.class_word)}"


def waiting(job: Job, place: Place | None) -> str:
    if place is None:
        return _message(_head(job), "⏳ waiting", _what(job))
    said = f"⏳ {position(place)}{starts_in(place, ' · ')}"
    return _message(_head(job), said, _what(job), waiting_note(place.waiting_for) or "")


def starting(job: Job) -> str:
    return _message(_head(job), f"{bar(0, 1)} starting", _what(job))


_PHASES: Final = {
    Phase.PREPARING: "reading the photos",
    Phase.CLASS_PICTURES: "drawing others of its class, to tell it apart from them",
    Phase.TRAINING: "learning",
    Phase.SAMPLING: "drawing samples",
    Phase.JUDGING: "looking at whether it has learned",
}


def training(job: Job, progress: Progress) -> str:
    """`▰▰▰▱▱▱ learning · step 120/500 · about 4 min left`."""
    step, total = progress.step, progress.total_steps
    phase = _PHASES[progress.phase or Phase.TRAINING]
    counted = f"step {step}/{total}" if progress.phase in (Phase.TRAINING, None) else f"{step} of {total}"
    left = "" if progress.seconds_left is None else f" · {duration(progress.seconds_left)} left"
    return _message(_head(job), f"{bar(step, total)} {phase} · {counted}{left}", _what(job))


def samples_alt_text(job: Job) -> str:
    return shortened(f"Samples of what {_plain_name(job)} looks like so far", ALT_TEXT_LIMIT)


def failed(job: Job, reason: str) -> str:
    return _message(_head(job), f"⚠️ {escaped(shortened(reason, 500))}")


def cancelled(job: Job) -> str:
    return _message(_head(job), "Stopped, and the photos are deleted.")


# ── how it ended ──


def finished(job: Job, trained: TrainedConcept | None, images: Sequence[JobImage], withheld: int) -> str:
    """Over the samples. `trained` None: the concept was deleted meanwhile."""
    samples = f"samples: {recipe_line(images)}" if images else NO_SAMPLES
    about = [_what(job), samples, withheld_sentence(withheld, len(images))]
    said = [f"**{_name(job)}** – <@{job.member_id}>"]
    if trained is None:
        return _message("\n".join([*said, "This concept was deleted."]), *about)
    said += [_verdict(job, trained.card), what_would_help(job, trained.card)]
    return _message("\n".join(filter(None, said)), *card_lines(trained), *about)


def _verdict(job: Job, card: Card) -> str:
    name = _name(job)
    match card.verdict:
        case Verdict.LEARNED:
            return f"✅ Learned: write {name} in a prompt, such as “a photo of {name} on a beach”."
        case Verdict.PARTLY:
            return f"🟡 Partly learned: {name} can be used, but its pictures are not always like the photos."
        case Verdict.NOT_LEARNED:
            return f"❌ Not learned: pictures of {name} are not like the photos."


NO_SAMPLES: Final = "no samples could be drawn"
SAMPLES_LOST: Final = "The concept is there, but the files of its samples are gone: use its name in a prompt."
_FOLLOWED_WELL: Final = 0.9


def what_would_help(job: Job, card: Card) -> str:
    """In a sentence or two; empty where it learned well."""
    assert job.training is not None, "the job is a training"
    advice: list[str] = []
    if card.verdict is not Verdict.LEARNED:
        if not card.held_out:  # there were fewer than five
            advice.append("send 5 to 10 photos, from all sides and in different places")
        else:
            advice.append("send sharper photos in which it is larger, from more sides")
        if job.training.method is not Method.DREAMBOOTH:
            stronger = Method.LORA if job.training.method is Method.TEXTUAL_INVERSION else Method.DREAMBOOTH
            advice.append(f"use the method {method_name(stronger)}")
    if card.prompt_fidelity is not None and card.prompt_fidelity < _FOLLOWED_WELL:
        advice.append("show it before different backgrounds, so that other words keep their meaning")
    return f"What would help: {'; '.join(advice)}." if advice else ""


def card_lines(trained: TrainedConcept) -> list[str]:
    """The card in plain words, one line for each thing that was measured."""
    card, lines = trained.card, list[str]()
    if card.similarity is not None:
        compared = "a photo that it never saw" if card.held_out else "the photos"
        lines.append(f"alike: {_percent(card.similarity)} as much as {compared}")
    else:
        lines.append("nothing here can compare pictures of this kind, so only the error in training was looked at")
    if card.prompt_fidelity is not None:
        lines.append(f"follows other words: {_percent(card.prompt_fidelity)} as well as without it")
    if card.drift is not None and card.drift > DRIFTED:
        lines.append("while it is in a prompt, other things of its class change with it")
    stopped = ", then it got no better" if trained.stopped_early else ""
    weights = " · in weights of its own, so its pictures share no steps with others" if trained.full_weights else ""
    lines.append(f"{trained.steps} steps{stopped} · {duration(trained.seconds)}{weights}")
    return lines


def _percent(fraction: float) -> str:
    return f"{min(1.0, max(0.0, fraction)):.0%}"


def ping(job: Job, *, failed: bool) -> str:
    said = f"{_name(job)} could not be trained" if failed else f"the training of {_name(job)} has ended"
    return f"<@{job.member_id}> {said}.\n-# /preferences turns this off"


# ── in lists ──

QUEUED_ELSEWHERE: Final = "a training"
"""Of somebody else: its name is nobody's business."""


def queued_own(job: Job) -> str:
    return f"training {_name(job)}"


def job_choice(job: Job, *, running: bool) -> str:
    """In the list that Discord shows while a member types; no markdown there."""
    return shortened(f"{'training' if running else 'waiting to train'} {_plain_name(job)}", CHOICE_LIMIT)


def _plain_name(job: Job) -> str:
    assert job.training is not None, "the job is a training"
    return f"<{job.training.name}>"
