from datetime import UTC, datetime
from pathlib import Path

from bot.chat.cards import Card
from bot.job import Job, JobState
from bot.worker.messages import Progress
from generation.request import ImageRequest


def job(attempt: int) -> Job:
    return Job(
        id="j",
        member_id=1,
        guild_id=2,
        channel_id=3,
        interaction_id=4,
        message_id=5,
        state=JobState.RUNNING,
        attempt=attempt,
        crashes=0,
        request=ImageRequest(prompt="a fox", seed=1),
        error=None,
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
    )


def progress(step: int, preview: str | None, attempt: int = 1) -> Progress:
    return Progress(job="j", attempt=attempt, step=step, total_steps=20, seconds_per_step=0.02, preview=preview)


def test_steps_without_a_preview_keep_the_last_one() -> None:
    card = Card(job(1))
    card.progressed(job(1), progress(1, None))
    assert card.preview is None
    card.progressed(job(1), progress(2, "preview.webp"))
    card.progressed(job(1), progress(3, None))
    assert card.preview == Path("preview.webp")
    assert card.progress is not None
    assert card.progress.step == 3


def test_a_new_attempt_starts_without_the_preview_of_the_old_one() -> None:
    card = Card(job(1))
    card.progressed(job(1), progress(9, "preview.webp"))
    card.progressed(job(2), progress(1, None, attempt=2))
    assert card.preview is None
