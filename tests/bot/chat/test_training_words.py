"""What is said of photos, of a training on its way, and of what came of it: plain, within Discord's limits."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.chat.cards import Card as JobCard
from bot.chat.rendering import Venue, render_end, render_live
from bot.chat.wording import MESSAGE_LIMIT, commands, training_job
from bot.chat.wording import training as words
from bot.job import Job, JobKind, JobState
from bot.outlook import Place, QueueLine
from bot.worker.messages import Progress
from generation.request import ImageRequest
from training.events import Phase
from training.order import Card, Method, TrainedConcept, TrainingOrder, Verdict
from training.photos import PhotoStatus, PhotoVerdict

VENUE = Venue(10 * 1024 * 1024, age_restricted=False, nsfw_threshold=0.7)
LEARNED = Card(verdict=Verdict.LEARNED, similarity=0.82, held_out=True, prompt_fidelity=0.97, drift=0.1)


def job(method: Method = Method.LORA, state: JobState = JobState.RUNNING, member: int = 1) -> Job:
    return Job(
        id="j",
        member_id=member,
        guild_id=2,
        channel_id=3,
        interaction_id=4,
        message_id=5,
        state=state,
        attempt=1,
        crashes=0,
        request=ImageRequest(prompt=["a photo of <my-cat>", "<my-cat> on a beach"], seed=1),
        error=None,
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
        kind=JobKind.TRAIN,
        training=TrainingOrder(job="j", method=method, name="my-cat", class_word="cat"),
    )


def trained(card: Card = LEARNED, **values: Any) -> TrainedConcept:
    concept = TrainedConcept(
        file="f", sha256="0", trigger="", steps=300, stopped_early=False, seconds=240.0, card=card
    )
    return msgspec.structs.replace(concept, **values)


# ── photos ──


def photo(name: str, status: PhotoStatus, sentence: str) -> PhotoVerdict:
    return PhotoVerdict(name=name, status=status, sentence=sentence)


def test_each_photo_has_its_line() -> None:
    said = [
        photo("one.jpg", PhotoStatus.ACCEPTED, "Used."),
        photo("*two*.png", PhotoStatus.WARNED, "Used, but it is blurry."),
        photo("three.pdf", PhotoStatus.REJECTED, "Not used: this is a PDF."),
    ]
    assert words.verdicts(said, "Well?").split("\n") == [
        "✅ one.jpg: Used.",
        r"⚠️ \*two\*.png: Used, but it is blurry.",
        "❌ three.pdf: Not used: this is a PDF.",
        "Well?",
    ]


@pytest.mark.parametrize("letter", ["*", "a", "<@1> "])
def test_ten_long_ones_fit_into_a_message(letter: str) -> None:
    said = [photo(letter * 60, PhotoStatus.REJECTED, letter * 400) for _ in range(10)]
    text = words.verdicts(said, "What now?")
    assert len(text) <= MESSAGE_LIMIT
    assert text.count("❌") == 10
    assert text.endswith("\nWhat now?")


# ── on its way ──


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (Phase.PREPARING, "reading the photos · 5 of 20"),
        (Phase.CLASS_PICTURES, "drawing others of its class, to tell it apart from them · 5 of 20"),
        (Phase.TRAINING, "learning · step 5/20"),
        (Phase.SAMPLING, "drawing samples · 5 of 20"),
        (Phase.JUDGING, "looking at whether it has learned · 5 of 20"),
    ],
)
async def test_phase_steps_and_time_left(phase: Phase, said: str) -> None:
    card = JobCard(job())
    card.progressed(
        job(),
        Progress(job="j", attempt=1, step=5, total_steps=20, seconds_per_step=1, phase=phase, seconds_left=200),
    )
    rendered = await render_live(card)
    assert rendered.content.split("\n") == [
        r"**Training \<my-cat>** – <@1>",
        f"-# ▰▰▰▱▱▱▱▱▱▱▱▱ {said} · about 3 min left",
        "-# LoRA · cat",
    ]
    assert rendered.files is None


async def test_its_place_in_the_queue() -> None:
    card = JobCard(job(state=JobState.QUEUED))
    card.queued(job(state=JobState.QUEUED), Place(position=2, images_ahead=2, seconds=None))
    assert "number 2 in the queue" in (await render_live(card)).content


async def test_samples_are_sent_once_and_stay(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "preview.webp"
    Image.new("RGB", (64, 16), "teal").save(path)

    def progress(step: int, preview: Path | None, attempt: int = 1) -> Progress:
        return Progress(
            job="j",
            attempt=attempt,
            step=step,
            total_steps=20,
            seconds_per_step=1,
            phase=Phase.TRAINING,
            preview=None if preview is None else str(preview),
        )

    card = JobCard(job())
    card.progressed(job(), progress(5, path))
    first = await render_live(card)
    assert [file.description for file in first.files or []] == ["Samples of what <my-cat> looks like so far"]
    card.preview_shown = card.previews
    card.progressed(job(), progress(6, None))
    assert (await render_live(card)).files is None
    card.queued(job(), Place(position=1, images_ahead=0))  # its worker was lost
    assert (await render_live(card)).files is None, "they are as true as before"
    card.progressed(job(), progress(10, path))
    assert len((await render_live(card)).files or []) == 1


# ── its end ──


async def test_stopped_and_failed_are_one_sentence_without_another_try() -> None:
    stopped = JobCard(job())
    stopped.ended(job(state=JobState.CANCELLED), (), None)
    rendered = await render_end(stopped, VENUE)
    assert rendered.content.split("\n")[1:] == ["-# Stopped, and the photos are deleted."]
    assert [getattr(item, "action", None) for item in rendered.view.children] == ["delete"]
    failed = JobCard(job())
    failed.ended(job(state=JobState.FAILED), (), "It needs 24 GB and 8 are there.")
    rendered = await render_end(failed, VENUE)
    assert rendered.content.split("\n")[1:] == ["-# ⚠️ It needs 24 GB and 8 are there."]
    assert [getattr(item, "action", None) for item in rendered.view.children] == ["delete"]


async def test_without_samples_its_end_is_told_all_the_same() -> None:
    card = JobCard(job())
    card.ended(job(state=JobState.DONE), (), None)
    card.trained = trained()
    rendered = await render_end(card, VENUE)
    assert rendered.content.startswith("**\\<my-cat>** – <@1>\n✅ Learned: write \\<my-cat> in a prompt")
    assert "no samples could be drawn" in rendered.content


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict.LEARNED, r"✅ Learned: write \<my-cat> in a prompt"),
        (Verdict.PARTLY, r"🟡 Partly learned: \<my-cat> can be used"),
        (Verdict.NOT_LEARNED, r"❌ Not learned: pictures of \<my-cat> are not like the photos."),
    ],
)
def test_what_was_not_learned_is_not_called_learned(verdict: Verdict, said: str) -> None:
    assert training_job.finished(job(), trained(Card(verdict=verdict)), (), 0).split("\n")[1].startswith(said)


async def test_a_concept_that_was_deleted_meanwhile() -> None:
    card = JobCard(job())
    card.ended(job(state=JobState.DONE), (), None)
    assert "This concept was deleted." in (await render_end(card, VENUE)).content


def test_the_card_in_plain_words() -> None:
    assert training_job.card_lines(trained()) == [
        "alike: 82% as much as a photo that it never saw",
        "follows other words: 97% as well as without it",
        "300 steps · about 4 min",
    ]
    card = Card(verdict=Verdict.PARTLY, similarity=1.2, drift=0.9)
    assert training_job.card_lines(trained(card, stopped_early=True, full_weights=True)) == [
        "alike: 100% as much as the photos",
        "while it is in a prompt, other things of its class change with it",
        "300 steps, then it got no better · about 4 min · in weights of its own, "
        "so its pictures share no steps with others",
    ]
    assert training_job.card_lines(trained(Card(verdict=Verdict.LEARNED))) == [
        "nothing here can compare pictures of this kind, so only the error in training was looked at",
        "300 steps · about 4 min",
    ]


def test_what_learned_needs_no_advice() -> None:
    assert training_job.what_would_help(job(), LEARNED) == ""


@pytest.mark.parametrize(
    ("method", "card", "advice"),
    [
        (Method.LORA, Card(verdict=Verdict.NOT_LEARNED), "send 5 to 10 photos, from all sides"),
        (Method.LORA, Card(verdict=Verdict.NOT_LEARNED), "use the method DreamBooth"),
        (Method.TEXTUAL_INVERSION, Card(verdict=Verdict.PARTLY, held_out=True), "use the method LoRA"),
        (Method.DREAMBOOTH, Card(verdict=Verdict.PARTLY, held_out=True), "sharper photos"),
        (Method.LORA, Card(verdict=Verdict.LEARNED, prompt_fidelity=0.5), "before different backgrounds"),
    ],
)
def test_what_would_help(method: Method, card: Card, advice: str) -> None:
    said = training_job.what_would_help(job(method), card)
    assert said.startswith("What would help: ")
    assert advice in said


# ── in lists ──


def test_nobody_else_reads_its_name() -> None:
    lines = [QueueLine(job(), None), QueueLine(job(member=7), Place(position=1, images_ahead=1))]
    assert commands.queue(lines, None, member_id=7, guild_id=2).split("\n") == [
        "🎓 <@1> · a training",
        r"🎓 1. you: training \<my-cat>",
    ]
    assert commands.queue(lines[:1], None, member_id=7, guild_id=99) == "🎓 somebody elsewhere · a training"


def test_its_member_finds_it_in_the_list_to_cancel() -> None:
    assert commands.job_choice(job()) == "training <my-cat>"
    assert commands.job_choice(job(state=JobState.QUEUED)) == "waiting to train <my-cat>"
