"""/train in a channel: the form, what is said of the photos, the training, and how it ends."""

from __future__ import annotations

import dataclasses
import io
import logging
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from bot.chat.training_drafts import KEPT_SECONDS
from bot.chat.wording import training as words
from bot.errors import NotDownloaded, TrainingActive
from bot.job import Job, JobKind, JobState
from bot.outlook import WorkerStatus
from bot.worker.messages import Train
from generation import limits
from generation.request import InvalidRequest
from tests.bot.chat.pressing import finish, forge, press, said
from training.names import concept_name
from training.order import Card, Depicts, Method
from training.photos import PhotoStatus, PhotoVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conftest import World
    from simcord.results import InteractionResult

GOOD = ("one.png", "two.png", "three.png")


def png(colour: str = "blue") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 80), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def looked_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos are judged by their names, without the process that reads them; `real_photos` leaves that in place."""
    if "real_photos" in request.fixturenames:
        return

    async def check(files: Sequence[tuple[str, bytes]], folder: Path, *, side: int) -> list[PhotoVerdict]:
        return [_judged(name, folder / f"{index}.png", side) for index, (name, _) in enumerate(files)]

    monkeypatch.setattr("bot.chat.training.check_photos", check)


@pytest.fixture
def real_photos() -> None:
    """The test has photos read by the process that does it."""


def _judged(name: str, path: Path, side: int) -> PhotoVerdict:
    if name.startswith("bad"):
        return PhotoVerdict(name=name, status=PhotoStatus.REJECTED, sentence="Not used: it is no picture.")
    Image.new("RGB", (side, side), "red").save(path)
    if name.startswith("blurry"):
        return PhotoVerdict(name=name, status=PhotoStatus.WARNED, sentence="Used, but it is blurry.", path=path)
    return PhotoVerdict(name=name, status=PhotoStatus.ACCEPTED, sentence="Used.", path=path)


async def form(world: World, **options: str) -> InteractionResult:
    asked = {"name": "my-cat", "class": "cat"} | options
    return await world.alice.slash(world.channel, "train", **asked)


def filled(*photos: str, depicts: str = "thing") -> dict[str, Any]:
    return {"photos": [(name, png()) for name in photos or GOOD], "depicts": depicts, "agree": ["yes"]}


async def send(world: World, *photos: str, depicts: str = "thing", **options: str) -> InteractionResult:
    opened = await form(world, **options)
    return await world.alice.submit_modal(opened, filled(*photos, depicts=depicts))


async def training(world: World) -> tuple[Job, Train]:
    """What reached the worker just now."""
    await world.until(lambda: world.worker.training is not None, "no training reached the worker")
    train = world.worker.training
    assert train is not None
    return await world.studio.job(train.job), train


async def trained(world: World, card: Card | None = None) -> Job:
    """A training, to its end."""
    await send(world)
    job, _ = await training(world)
    world.worker.finish_training(card)
    return await world.wait_for_state(JobState.DELIVERED, job.id)


def waiting_photos(world: World) -> list[str]:
    return sorted(path.name for path in (world.folder / "drafts").rglob("*") if path.is_file())


def trainings(world: World) -> int:
    """How many reached the worker."""
    return sum(isinstance(message, Train) for message in world.worker.sent)


def no_training(world: World) -> bool:
    return trainings(world) == 0


def followed(result: InteractionResult) -> list[str]:
    """What was said beside the message whose button was pressed."""
    return [followup.content for followup in result.followups]


# ── before the form ──


@pytest.mark.parametrize("name", ["<|endoftext|>", "../../x", "a b", "\u202ecat", "ж", "<Cat>x", "-"])
def test_a_name_that_can_not_be(name: str) -> None:
    with pytest.raises(InvalidRequest):
        concept_name(name)


async def test_what_can_not_be_is_refused_before_there_is_a_form(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await form(world, name="<|endoftext|>")
    assert answer.modal is None
    assert said(answer).startswith("A concept's name has 1 to 32 letters")
    assert said(await form(world, **{"class": "little Girl"})) == words.NO_CHILDREN
    with monkeypatch.context() as patch:
        patch.setattr(world.bot.delivery, "may_send", lambda _: False)
        assert said(await form(world)) == words.CANNOT_POST
    loading = dataclasses.replace(world.studio.status(), worker=WorkerStatus())
    monkeypatch.setattr(world.studio, "status", lambda: loading)
    assert said(await form(world)) == words.LOADING


# ── the form and the photos ──


async def test_when_all_is_well_the_training_begins(world: World) -> None:
    opened = await form(world, name="<My-Cat>", method="textual_inversion")
    assert opened.modal is not None
    assert opened.modal["custom_id"] == f"atelier:train:{words.CONSENT_VERSION}:t:my-cat:cat"
    answer = await world.alice.submit_modal(opened, filled(*GOOD, depicts="self"))
    assert said(answer).split("\n") == [
        "✅ one.png: Used.",
        "✅ two.png: Used.",
        "✅ three.png: Used.",
        "Your training starts now. I show here how it goes and mention you at the end.",
    ]
    job, train = await training(world)
    assert (job.kind, job.member_id, job.consent) == (JobKind.TRAIN, world.alice.id, words.CONSENT_VERSION)
    assert job.of_person
    order = train.order
    assert (order.method, order.name, order.class_word) == (Method.TEXTUAL_INVERSION, "my-cat", "cat")
    assert order.depicts is Depicts.SELF
    assert len(train.photos) == 3
    assert waiting_photos(world) == []
    assert world.message.content.startswith(rf"**Training \<my-cat>** – <@{world.alice.id}>")


async def test_forms_that_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = [await form(world) for _ in range(3)]
    with world.bot.drafts.looking_at(world.alice.id):
        assert said(await world.alice.submit_modal(opened[0], filled())) == words.STILL_LOOKING
    with monkeypatch.context() as patch:
        patch.setattr("bot.chat.training.FORM_BYTES", 100)
        assert said(await world.alice.submit_modal(opened[1], filled())).startswith("Your photos have 0 MiB")
    monkeypatch.setattr(words, "CONSENT_VERSION", "2027-01-01")
    assert said(await world.alice.submit_modal(opened[2], filled())) == words.CONSENT_CHANGED
    assert waiting_photos(world) == []
    assert no_training(world)


async def test_the_process_that_reads_photos(world: World, real_photos: None) -> None:
    opened = await form(world)
    kinds = [("one.png", png("red")), ("a.pdf.png", b"%PDF-1.7 no picture"), ("c.png", png("green"))]
    answer = await world.alice.submit_modal(opened, filled() | {"photos": kinds})
    lines = said(answer).split("\n")
    assert len(lines) == 4
    assert lines[1].startswith("❌ a.pdf.png: Not used")
    assert lines[3].startswith("A training needs at least 3 different photos")
    assert waiting_photos(world) == []
    assert no_training(world)


async def test_a_form_that_was_opened_before_a_restart(world: World) -> None:
    opened = await form(world, method="dreambooth")
    await world.restart()
    await world.alice.submit_modal(opened, filled())
    _, train = await training(world)
    assert (train.order.method, train.order.name, train.order.class_word) == (Method.DREAMBOOTH, "my-cat", "cat")


async def test_what_is_too_large_is_not_downloaded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMAGE_BYTES", 10_000)
    opened = await form(world)
    photos = [(name, png()) for name in GOOD]
    photos.insert(1, ("big.png", bytes(20_000)))
    fetched: list[str] = []
    cdn, get = world.env.backend.cdn, world.env.backend.cdn.get
    monkeypatch.setattr(cdn, "get", lambda url: (fetched.append(url), get(url))[1])
    answer = await world.alice.submit_modal(opened, filled() | {"photos": photos})
    assert said(answer).split("\n")[1].startswith("❌ big.png: Not used: the file has")
    assert len(fetched) == 3
    assert not any("big.png" in url for url in fetched)
    assert len(waiting_photos(world)) == 4, "three photos, and what they are for"


async def test_photos_that_can_not_be_downloaded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(*_: Any) -> bytes:
        raise NotDownloaded

    monkeypatch.setattr("bot.chat.training.download", lost)
    assert said(await send(world)) == words.NOT_DOWNLOADED
    assert waiting_photos(world) == []


async def test_the_same_form_twice_is_one_training(world: World) -> None:
    opened = await form(world)
    caught: list[tuple[str, Any]] = []
    world.env.backend.subscribers.append(lambda event, payload: caught.append((event, payload)))
    await world.alice.submit_modal(opened, filled())
    ((event, payload),) = [entry for entry in caught if entry[0] == "INTERACTION_CREATE"]
    job, _ = await training(world)
    world.worker.finish_training()
    await world.wait_for_state(JobState.DELIVERED, job.id)
    world.env.backend.emit(event, payload)
    await world.settled()
    assert trainings(world) == 1
    assert len(world.messages()) == 1


# ── a question about the photos ──


async def asked_about(world: World) -> InteractionResult:
    """A form with a photo that is rejected and one that is warned of."""
    return await send(world, *GOOD, "bad.pdf", "blurry.png")


async def click(world: World, answer: InteractionResult, choice: str) -> InteractionResult:
    assert answer.response is not None
    return await world.alice.click(answer.response, custom_id=button(answer, choice))


def button(answer: InteractionResult, choice: str) -> str:
    assert answer.response is not None
    ids = [child["custom_id"] for row in answer.response.components for child in row["components"]]
    return next(custom_id for custom_id in ids if custom_id.startswith(f"atelier:train-{choice}:"))


async def test_what_is_rejected_or_warned_of_is_asked_about(world: World) -> None:
    answer = await asked_about(world)
    assert said(answer).split("\n")[3:] == [
        "❌ bad.pdf: Not used: it is no picture.",
        "⚠️ blurry.png: Used, but it is blurry.",
        r"Train \<my-cat> with the 4 that can be used?",
    ]
    await world.restart()
    assert no_training(world)
    assert world.messages() == []
    await click(world, answer, "start")
    assert said(answer).startswith("Your training starts now.")
    _, train = await training(world)
    assert len(train.photos) == 4
    assert waiting_photos(world) == []


async def test_photos_that_wait_go_with_a_no_with_time_and_with_forget_me(world: World) -> None:
    answer = await asked_about(world)
    await click(world, answer, "discard")
    assert said(answer) == "Nothing was trained, and the photos are deleted."
    assert waiting_photos(world) == []

    answer = await asked_about(world)
    for folder in (world.folder / "drafts").glob("*/*"):
        os.utime(folder, (0, time.time() - KEPT_SECONDS - 1))
    late = await click(world, answer, "start")
    assert followed(late) == [words.DRAFT_GONE]

    await asked_about(world)
    question = await world.alice.slash(world.channel, "forget-me")
    assert question.response is not None
    await world.alice.click(question.response, custom_id="atelier:forget-me:all")
    assert waiting_photos(world) == []
    assert no_training(world)


async def test_only_the_member_who_sent_them_says_yes_and_once(world: World) -> None:
    answer = await asked_about(world)
    start = button(answer, "start")
    await world.bob.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    assert followed(await forge(world, world.message, start, world.bob)) == [words.DRAFT_GONE]
    assert len(waiting_photos(world)) == 5, "four photos, and what they are for"
    await click(world, answer, "start")
    await training(world)
    assert followed(await forge(world, world.messages()[0], start, world.alice)) == [words.DRAFT_GONE]
    await world.settled()
    assert trainings(world) == 1


async def test_a_question_that_another_form_has_overtaken_is_about_nothing(world: World) -> None:
    old, new = await asked_about(world), await asked_about(world)
    assert followed(await click(world, old, "start")) == [words.DRAFT_GONE]
    await click(world, old, "discard")
    assert len(waiting_photos(world)) == 5, "those of the newer one, and what they are for"
    await click(world, new, "start")
    await training(world)
    assert waiting_photos(world) == []


async def test_a_yes_of_before_a_crash_is_the_same_training(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bot died between taking the training and forgetting the draft."""
    answer = await asked_about(world)
    start = button(answer, "start")

    async def died(*_: int) -> None: ...

    monkeypatch.setattr(world.bot.drafts, "drop", died)
    await click(world, answer, "start")
    job, _ = await training(world)
    world.worker.finish_training()
    await world.wait_for_state(JobState.DELIVERED, job.id)
    await forge(world, world.message, start, world.alice)
    await world.settled()
    assert trainings(world) == 1
    assert len(world.messages()) == 1


async def test_a_yes_while_another_training_runs_can_be_said_again(world: World) -> None:
    first = await asked_about(world)
    opened = await form(world, name="another")
    assert opened.modal is not None, "none runs yet"

    async def busy(**_: Any) -> Any:
        raise TrainingActive

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.studio, "train", busy)
        pressed = await click(world, first, "start")
    assert followed(pressed) == [str(TrainingActive())]
    await click(world, first, "start")
    assert (await training(world))[1].order.name == "my-cat"


# ── while it is trained ──


async def test_progress_and_samples_are_shown_without_flooding_the_channel(world: World) -> None:
    await send(world)
    job, _ = await training(world)

    async def after(steps: int, seconds: float) -> str:
        world.worker.train(steps)
        await world.settled()
        await world.env.advance_time(seconds)
        return world.message.content

    assert "learning · step 2/8" in await after(7, 3)  # three photos, two class pictures, two steps of training
    (samples,) = world.message.attachments
    assert samples.description == "Samples of what <my-cat> looks like so far"
    assert world.buttons() == {"cancel": f"atelier:cancel:{job.id}"}
    assert "learning · step 2/8" in await after(1, 1), "the third says nothing new, so soon"
    assert "learning · step 4/8" in await after(1, 6), "there are new samples"
    (newer,) = world.message.attachments
    assert newer.id != samples.id
    assert "learning · step 5/8" in await after(1, 2), "some seconds later"
    assert [kept.id for kept in world.message.attachments] == [newer.id], "and they are not sent again"


async def test_others_go_on_meanwhile_and_can_not_stop_it(world: World) -> None:
    await send(world)
    await training(world)
    (message,) = world.messages()
    refused = await world.bob.click(message, custom_id=world.buttons(message)["cancel"])
    assert said(refused).startswith("Only the person who asked")
    answer = await form(world, name="another")
    assert answer.modal is None
    assert said(answer) == str(TrainingActive())
    await world.bob.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    world.worker.finish()
    await world.until(lambda: any(len(message.attachments) == 1 for message in world.messages()))
    assert world.worker.training is not None


async def test_it_is_stopped_by_its_button(world: World) -> None:
    await send(world)
    job, _ = await training(world)
    stopped = await world.alice.click(world.message, custom_id=world.buttons()["cancel"])
    assert said(stopped).startswith("Stop")
    await world.until(lambda: "Stopped, and the photos are deleted." in world.message.content)
    assert (await world.studio.job(job.id)).state is JobState.CANCELLED
    assert not list((world.folder / "trainings").rglob("*.png"))


async def test_a_failure_is_one_sentence(world: World) -> None:
    await send(world)
    job, _ = await training(world)
    world.worker.fail_training("This needs 24 GB and 8 are there.")
    await world.wait_for_state(JobState.FAILED, job.id)
    await world.until(lambda: "24 GB" in world.message.content)
    assert world.message.content.split("\n")[1:] == ["-# ⚠️ This needs 24 GB and 8 are there."]
    assert set(world.buttons()) == {"delete"}


async def test_a_restart_in_the_middle_is_one_training_in_one_message(world: World) -> None:
    await send(world)
    job, first = await training(world)
    await world.restart()
    _, again = await training(world)
    assert (again.job, again.work_dir) == (job.id, first.work_dir)
    assert again.attempt > first.attempt
    world.worker.finish_training()
    await world.wait_for_state(JobState.DELIVERED, job.id)
    assert len(world.messages()) == 1


# ── how it ends ──


async def test_the_end_says_what_was_learned_shows_it_and_mentions_its_member(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await send(world)
    job, _ = await training(world)
    world.sql("UPDATE jobs SET created_at = datetime(created_at, '-61 seconds') WHERE id = ?", job.id)
    await world.env.advance_time(61)
    world.worker.finish_training()
    await world.wait_for_state(JobState.DELIVERED, job.id)
    message, ping = world.messages()
    assert message.content.startswith(
        f"**\\<my-cat>** – <@{world.alice.id}>\n"
        "✅ Learned: write \\<my-cat> in a prompt, such as “a photo of \\<my-cat> on a beach”.\n"
        "-# alike: 90% as much as a photo that it never saw\n"
    )
    assert len(message.attachments) == 4
    assert {"vary", "upscale", "again", "remix", "recipe", "delete"} == set(world.buttons(message))
    assert ping.content.startswith(rf"{world.alice.mention} the training of \<my-cat> has ended.")
    assert ping.reference is not None
    said_in_log = [record.getMessage() for record in caplog.records]
    assert not any("my-cat" in line or "one.png" in line for line in said_in_log)


async def test_its_name_is_used_in_the_next_prompt_and_under_the_samples(world: World) -> None:
    job = await trained(world)
    await world.alice.slash(world.channel, "imagine", prompt="<my-cat> on a blue background")
    await world.drawing()
    assert world.worker.current is not None
    (use,) = world.worker.current.request.concepts
    assert use.name == "my-cat"
    assert job.id in use.path
    await finish(world, world.worker.current.job)
    await press(world, "again", job, 0)
    await world.drawing()
    again = await world.studio.job(world.worker.current.job)
    assert (again.kind, again.images) == (JobKind.IMAGINE, 4)
    assert [use.name for use in world.worker.current.request.concepts] == ["my-cat"]


async def test_a_restart_before_its_end_was_told(world: World) -> None:
    job = await trained(world)
    await world.restart(meanwhile=lambda: world.sql("UPDATE jobs SET delivered_at = NULL, state = 'done'"))
    await world.wait_for_state(JobState.DELIVERED, job.id)
    assert len(world.messages()) == 1
    assert "✅ Learned" in world.message.content
