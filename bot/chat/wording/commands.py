"""What `/cancel`, `/queue` and `/info` show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.chat.wording import training_job
from bot.chat.wording.answers import NO_JOBS, starts_in, waiting_note
from bot.chat.wording.text import CHOICE_LIMIT, duration, escaped, images_count, plain, shortened, shown_prompt
from bot.job import JobKind, JobState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.job import Job
    from bot.outlook import QueueLine, StudioStatus

QUEUE_ROWS: Final = 12


def job_choice(job: Job) -> str:
    """One line in the list that Discord shows while a member types; no markdown there."""
    prompt = job.request.prompt if isinstance(job.request.prompt, str) else " · ".join(job.request.prompt)
    doing = "being drawn" if job.state is JobState.RUNNING else "waiting"
    if job.kind is JobKind.TRAIN:
        return training_job.job_choice(job, running=job.state is JobState.RUNNING)
    return shortened(f"{doing}: {plain(prompt)}", CHOICE_LIMIT)


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
    if job.kind is JobKind.TRAIN:
        return _training_row(line, member_id, guild_id)
    where = "🎨" if line.place is None else f"{line.place.position}."
    who = f"you: {shown_prompt(job.request.prompt, 60)}" if job.member_id == member_id else _other(job, guild_id)
    when = "" if line.place is None else starts_in(line.place, " · in ")
    return f"{where} {who} · {images_count(job.images)}{when}"


def _training_row(line: QueueLine, member_id: int, guild_id: int | None) -> str:
    """Trainings wait in a queue of their own, beside the pictures'."""
    where = "🎓" if line.place is None else f"🎓 {line.place.position}."
    if line.job.member_id == member_id:
        return f"{where} you: {training_job.queued_own(line.job)}"
    return f"{where} {_other(line.job, guild_id)} · {training_job.QUEUED_ELSEWHERE}"


def _other(job: Job, guild_id: int | None) -> str:
    """Somebody of this server by name, others not."""
    return f"<@{job.member_id}>" if guild_id is not None and job.guild_id == guild_id else "somebody elsewhere"


def info(status: StudioStatus, version: str) -> str:
    """Which model draws, how, and how busy it is."""
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
    return "\n".join(rows)
