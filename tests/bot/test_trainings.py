"""Trainings in the studio: with a real registry, real files and the shipped fake worker."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.errors import (
    TRAINING_CRASHED_TOO_OFTEN,
    ConceptLimit,
    DepictsSomethingElse,
    NoTrainings,
    TrainingActive,
    TrainingLimit,
)
from bot.job import Job, JobKind, JobState
from bot.outlook import Submitted
from bot.registry.registry import Registry
from bot.settings import Settings
from bot.studio import Studio
from bot.worker import messages
from bot.worker.fake import FAKE_MODEL, FakeWorker
from bot.worker.fake_training import finished_concept
from generation.request import ImageRequest, InvalidRequest
from training.order import Depicts, Method, TrainingOrder

Until = Callable[..., Awaitable[None]]
PHOTOS = [b"photo one", b"photo two", b"photo three"]


async def train(studio: Studio, *, member: int = 1, name: str = "cat", **more: Any) -> Job:
    submitted = await submit(studio, member=member, name=name, **more)
    await studio.attach_message(submitted.job.id, 99)
    return submitted.job


async def submit(studio: Studio, *, member: int = 1, name: str = "cat", **more: Any) -> Submitted:
    values: dict[str, Any] = {
        "method": Method.LORA, "class_word": "cat", "depicts": Depicts.THING, "photos": PHOTOS, "consent": "1",
        "member_id": member, "guild_id": 5, "channel_id": 6,
    }  # fmt: skip
    return await studio.train(name=name, **{**values, **more})


async def draw(studio: Studio, *, member: int = 2, prompt: str = "an apple", count: int = 1) -> Job:
    request = ImageRequest(prompt=prompt, seed=7, count=count)
    submitted = await studio.submit(request, member_id=member, guild_id=5, channel_id=6)
    await studio.attach_message(submitted.job.id, 98)
    return submitted.job


async def learned(studio: Studio, worker: FakeWorker, recorder: Any, until: Until, **values: Any) -> Job:
    """A training from start to end."""
    job = await train(studio, **values)
    await until(lambda: worker.training is not None and worker.training.job == job.id, "the training")
    worker.finish_training()
    await until(lambda: recorder.count("done", job.id), "its end")
    return job


def write_checkpoint(folder: Path, step: int) -> None:
    """As `training.checkpoint` does: what a checkpoint says of itself is JSON inside of the file's JSON header."""
    header = json.dumps({"__metadata__": {"notes": json.dumps({"fingerprint": "f", "step": step})}}).encode()
    (folder / "checkpoint.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


async def test_from_photos_to_a_concept_in_a_prompt(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until, settings: Settings
) -> None:
    data = settings.data_dir.absolute()
    job = await train(studio, name="<Cat>", depicts=Depicts.SELF, consent="2030-01")
    await until(lambda: worker.training is not None, "the training")
    sent = worker.training
    assert sent is not None
    assert sent.order.name == "cat"
    assert [Path(path).read_bytes() for path in sent.photos] == PHOTOS
    assert Path(sent.work_dir) == data / "trainings" / job.id
    assert Path(sent.concept_dir) == data / "concepts" / job.id
    assert not await studio.concepts.own(1), "not before it is there"

    seen_at_done: list[bool] = []
    recorder.on_done = lambda done, images: (
        seen_at_done.append((data / "trainings" / job.id).exists()), recorder.told.append(("done", done.id, images))
    )  # fmt: skip
    worker.finish_training()
    await until(lambda: recorder.count("done", job.id), "the end")
    assert seen_at_done == [False], "photos are gone before anybody is told"
    (concept,) = await studio.concepts.own(1)
    assert (concept.name, concept.depicts, concept.consent, concept.owner_id) == ("cat", Depicts.SELF, "2030-01", 1)
    version = concept.version
    assert (version.id, version.number, version.method) == (job.id, 1, Method.LORA)
    assert (version.model_hash, version.model_name) == (FAKE_MODEL.hash, "fake")
    assert (data / version.path).stat().st_size == version.bytes
    assert studio.concepts.strip(concept).is_file()
    assert await studio.concepts.trained(job.id) == version.trained
    assert [one.id for one in await studio.undelivered()] == [job.id]
    assert len(await studio.images(job.id)) == 4
    assert (await studio.job(job.id)).of_person

    picture = await draw(studio, member=1, prompt="a photo of <CAT> on the moon")
    await until(lambda: worker.current is not None, "the picture")
    assert worker.current is not None
    (use,) = worker.current.request.concepts
    assert (use.name, use.path, use.trigger) == ("cat", str(data / version.path), "cat")
    kept = await studio.job(picture.id)
    assert kept.request.concepts[0].path == version.path, "relative, so that the folder can be moved"
    assert kept.of_person


async def test_pictures_and_trainings_wait_beside_each_other(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    """One training at a time, fair between members; pictures neither wait for them nor count them."""
    first = await train(studio, member=1)
    await until(lambda: recorder.count("started", first.id), "the first training")
    second = await train(studio, member=2)
    picture = await draw(studio, member=3, count=3)
    await until(lambda: recorder.count("started", picture.id), "the picture beside it")
    waiting = await draw(studio, member=4)
    assert not recorder.count("started", second.id)
    view = studio.queue_view()
    assert [line.job.id for line in view.lines] == [picture.id, waiting.id, first.id, second.id]
    assert [line.place and line.place.images_ahead for line in view.lines] == [None, 3, None, 1]
    assert view.images == 4
    status = studio.status()
    assert (status.queued, status.running, status.images_waiting) == (1, 1, 1)
    assert (status.trainings_queued, status.trainings_running) == (1, 1)
    worker.finish_training()
    await until(lambda: recorder.count("started", second.id), "the second training")
    assert studio.queue_view().seconds is None, "a training's time says nothing about pictures'"


async def test_limits(
    settings: Settings, registry: Registry, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    few = settings.with_changes(trainings_per_day=3, concepts_per_member=2)
    async with Studio(few, registry, worker) as studio:
        studio.subscribe(recorder)
        with pytest.raises(InvalidRequest, match="3 to 10"):
            await submit(studio, photos=PHOTOS[:2])
        with pytest.raises(InvalidRequest, match="concept's name"):
            await submit(studio, name="../../x")
        waiting = await submit(studio, name="cat")  # without its message it does not start
        with pytest.raises(TrainingActive):
            await studio.may_train("dog", member_id=1, guild_id=5)
        await studio.may_train("cat", member_id=2, guild_id=5)
        await studio.cancel(waiting.job.id, by=1)
        assert not (settings.data_dir / "trainings" / waiting.job.id).exists()
        await learned(studio, worker, recorder, until, name="cat")
        with pytest.raises(DepictsSomethingElse):
            await submit(studio, name="cat", depicts=Depicts.ADULT)
        await learned(studio, worker, recorder, until, name="dog")
        with pytest.raises(ConceptLimit, match="You have 2 concepts and 2 is the most"):
            await studio.may_train("fox", member_id=1, guild_id=5)
        last = await learned(studio, worker, recorder, until, name="cat")
        with pytest.raises(TrainingLimit, match="You have begun 3 trainings"):  # one that never began is none
            await submit(studio, name="cat")
        await studio.delete(last.id, by=1)
        with pytest.raises(TrainingLimit):  # deleting its message gives none back
            await studio.may_train("cat", member_id=1, guild_id=5)
        assert [version.number for version in (await studio.concepts.own(1))[0].versions] == [2, 1]
    assert not any((settings.data_dir / "trainings").iterdir())


async def test_no_trainings_where_the_operator_wants_none(
    settings: Settings, registry: Registry, worker: FakeWorker
) -> None:
    async with Studio(settings.with_changes(trainings_per_day=0), registry, worker) as studio:
        with pytest.raises(NoTrainings):
            await studio.may_train("cat", member_id=1, guild_id=5)


async def test_the_same_interaction_twice_is_one_training(studio: Studio, settings: Settings) -> None:
    results = await asyncio.gather(*(submit(studio, interaction_id=42) for _ in range(4)))
    assert len({one.job.id for one in results}) == 1
    assert [one.created for one in results].count(True) == 1
    folders = [folder.name for folder in (settings.data_dir / "trainings").iterdir()]
    assert folders == [results[0].job.id]


async def test_only_the_newest_versions_are_kept(
    settings: Settings, registry: Registry, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    async with Studio(settings.with_changes(trainings_per_day=9), registry, worker) as studio:
        studio.subscribe(recorder)
        jobs = [await learned(studio, worker, recorder, until) for _ in range(4)]
        (concept,) = await studio.concepts.own(1)
        assert [(version.id, version.number) for version in concept.versions] == [
            (job.id, number) for job, number in zip(jobs[:0:-1], (4, 3, 2), strict=True)
        ]
        assert not (settings.data_dir / "concepts" / jobs[0].id).exists()
        assert len(worker.forgotten) == 1


async def test_a_training_that_gets_further_may_crash_more_often(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until, settings: Settings
) -> None:
    job = await train(studio)
    work = settings.data_dir / "trainings" / job.id
    crashes: list[int] = []
    # Further (1), a first one without (2), the same step written again is not further (3, the third in a row).
    for attempt, step in enumerate((None, 50, 100, None, 100), start=1):
        await until(lambda a=attempt: worker.training and worker.training.attempt == a, f"attempt {attempt}")
        if step is not None:
            write_checkpoint(work, step)
        worker.die()
        await until(lambda: not worker.training, "the loss")
        await until(
            lambda a=attempt: recorder.count("started", job.id) > a or recorder.count("failed", job.id), "more"
        )
        crashes.append((await studio.job(job.id)).crashes)
    assert crashes == [1, 1, 1, 2, 3]
    assert recorder.last("failed", job.id) == TRAINING_CRASHED_TOO_OFTEN
    assert not work.exists()
    assert not (settings.data_dir / "concepts" / job.id).exists()


async def test_pictures_do_not_wait_for_a_training_whose_worker_died(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    """But it waits for a picture that was there when the worker died: that one is drawn alone."""
    training = await train(studio, member=1)
    picture = await draw(studio, member=2)
    await until(lambda: worker.training and worker.current, "both")
    worker.die()
    await until(lambda: worker.current and worker.current.attempt == 2, "the picture again")
    await asyncio.sleep(0.05)
    assert worker.training is None
    assert recorder.events(training.id)[-1] == "queued"
    worker.finish()
    await until(lambda: recorder.count("done", picture.id), "the picture")
    await until(lambda: worker.training and worker.training.attempt == 2, "the training again")
    later = await draw(studio, member=2)
    await until(lambda: recorder.count("started", later.id), "a picture beside it")
    assert (await studio.job(training.id)).crashes == 1


async def test_a_training_goes_on_after_a_restart(
    settings: Settings, registry: Registry, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    async with Studio(settings, registry, worker) as studio:
        job = await train(studio)
        await until(lambda: worker.training, "the training")
        work = settings.data_dir / "trainings" / job.id
        write_checkpoint(work, 50)
    assert (await registry.jobs.get(job.id) or job).state is JobState.QUEUED
    assert (work / "checkpoint.safetensors").is_file(), "a shutdown keeps what was reached"
    other = FakeWorker(model=FAKE_MODEL)
    other.hold()
    async with Studio(settings, registry, other) as studio:
        studio.subscribe(recorder)
        await until(lambda: other.training and other.training.attempt == 2, "the training again")
        assert (work / "checkpoint.safetensors").is_file()
        assert (await studio.job(job.id)).crashes == 0
    third = FakeWorker(model=msgspec.structs.replace(FAKE_MODEL, hash="1" * 10))
    third.hold()
    async with Studio(settings, registry, third) as studio:
        await until(lambda: third.training, "the training again")
        assert not (work / "checkpoint.safetensors").exists(), "another model's means nothing to this one"
        assert len(list((work / "photos").iterdir())) == 3


async def test_a_killed_bot_leaves_nothing_and_its_training_goes_on(
    settings: Settings, registry: Registry, worker: FakeWorker, make_job: Any, now: Any, until: Until
) -> None:
    data = settings.data_dir
    order = TrainingOrder(job="x", method=Method.LORA, name="cat", class_word="cat")
    live = replace(make_job(), kind=JobKind.TRAIN, training=order, consent="1", message_id=99)
    ended = replace(make_job(member=2), kind=JobKind.TRAIN, training=order, consent="1")
    for job in (live, ended):
        await registry.jobs.add(job, images_at_most=20)
        assert await registry.jobs.claim(job.id, now, timedelta(seconds=60))
    await registry.jobs.cancel(ended.id, now)
    for name in (live.id, ended.id, "never-a-job"):
        (data / "trainings" / name / "photos").mkdir(parents=True)
        (data / "trainings" / name / "photos" / "0.png").write_bytes(b"photo")
        (data / "concepts" / name).mkdir(parents=True)
    elsewhere = data.parent / "elsewhere"
    elsewhere.mkdir()
    (data / "concepts" / "link").symlink_to(elsewhere)
    async with Studio(settings, registry, worker):
        assert [folder.name for folder in (data / "trainings").iterdir()] == [live.id]
        assert sorted(folder.name for folder in (data / "concepts").iterdir()) == [live.id, "link"]
        await until(lambda: worker.training and worker.training.attempt == 2, "the training again")


@pytest.mark.parametrize("how", ["failed", "nothing trained", "file elsewhere", "photos gone"])
async def test_of_a_training_that_fails_nothing_is_left(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until, settings: Settings, how: str
) -> None:
    data = settings.data_dir.absolute()
    if how == "photos gone":
        submitted = await submit(studio)
        job = submitted.job
        for photo in (data / "trainings" / job.id / "photos").iterdir():
            photo.unlink()
        await studio.attach_message(job.id, 99)
    else:
        job = await train(studio)
        await until(lambda: worker.training, "the training")
        worker.train(3)
        if how == "failed":
            worker.fail_training("There is too little memory: 3 GB are needed and 2 GB are there.")
        elif how == "nothing trained":
            worker.say(messages.Done(job=job.id, attempt=1, images=[]))
        else:
            assert worker.training is not None
            trained = finished_concept(worker.training)
            wrong = msgspec.structs.replace(trained, file=str(data / "atelier.db"))
            worker.say(messages.Done(job=job.id, attempt=1, images=[], trained=wrong))
    await until(lambda: recorder.count("failed", job.id), "the end")
    assert (await studio.job(job.id)).state is JobState.FAILED
    assert str(data) not in recorder.last("failed", job.id)
    assert not (data / "trainings" / job.id).exists()
    assert not (data / "concepts" / job.id).exists()
    assert not await studio.concepts.own(1)
    assert not studio.status().trainings_running


async def test_cancelling_a_running_training(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until, settings: Settings
) -> None:
    job = await train(studio)
    await until(lambda: worker.training, "the training")
    worker.train(3)
    await studio.cancel(job.id, by=1)
    await until(lambda: not studio.status().trainings_running, "the worker to let go")
    assert recorder.count("cancelled", job.id) == 1
    for folder in ("trainings", "concepts", "images"):
        assert not (settings.data_dir / folder / job.id).exists()


async def test_forgetting_a_member_whose_training_runs(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until, settings: Settings
) -> None:
    """Photos go at once, even where the worker takes its time; concepts, rows and slots go; others' jobs fail."""
    data = settings.data_dir
    await learned(studio, worker, recorder, until, name="cat")
    (concept,) = await studio.concepts.own(1)
    await studio.concepts.share(1, 5, "cat")
    others = await draw(studio, member=2, prompt="<cat>")
    await until(lambda: worker.current, "the other's picture")
    running = await train(studio, name="dog")
    await until(lambda: worker.training, "the training")
    (data / "drafts" / "1").mkdir(parents=True)
    held, worker.training = worker.training, None  # deaf: it does not hear the cancel
    assert held is not None
    forgotten = await studio.members.forget(1, delete_messages=False)
    assert (forgotten.concepts, [job.id for job in forgotten.failed]) == (1, [others.id])
    assert not any((data / "trainings").iterdir())
    assert not (data / "drafts" / "1").exists()
    assert not (data / "concepts" / concept.version.id).exists()
    assert messages.Forget(sha256=concept.version.sha256) in worker.sent
    assert messages.Cancel(job=running.id) in worker.sent
    assert recorder.last("failed", others.id).startswith("The concept <cat> was deleted")
    assert await studio.concepts.usable(2, 5) == []
    # The worker was about to hand it over: it is nobody's any more.
    worker.training = held
    worker.finish_training()
    await until(lambda: not studio.status().trainings_running, "the late end")
    assert not (data / "concepts" / running.id).exists()
    assert not (data / "images" / running.id).exists()
    assert not await studio.concepts.own(1)


async def test_who_cannot_be_told_keeps_the_concept(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until, settings: Settings
) -> None:
    """None of its pictures may be shown, and its channel is gone: the concept is there all the same."""
    job = await train(studio)
    await until(lambda: worker.training, "the training")
    assert worker.training is not None
    worker.say(messages.Done(job=job.id, attempt=1, images=[], trained=finished_concept(worker.training)))
    await until(lambda: recorder.count("done", job.id), "the end")
    await studio.mark_undeliverable(job.id, "the channel is gone")
    (concept,) = await studio.concepts.own(1)
    assert (settings.data_dir / concept.version.path).is_file()


async def test_a_bot_that_is_killed_while_it_forgets_its_only_member(
    settings: Settings, registry: Registry, worker: FakeWorker, recorder: Any, until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The database knows nothing any more, and is not taken for a new one that somebody has put there."""
    data = settings.data_dir
    async with Studio(settings, registry, worker) as studio:
        studio.subscribe(recorder)
        done = await learned(studio, worker, recorder, until)
        running = await train(studio, name="dog")
        await until(lambda: worker.training, "the training")
        (data / "concepts" / running.id).mkdir(exist_ok=True)
        with monkeypatch.context() as killed:
            killed.setattr("bot.removal.Removal._remove_photos", lambda *_: None)
            killed.setattr("bot.concept_folders.ConceptFolders.remove", lambda *_: None)
            await studio.members.forget(1, delete_messages=False)
            await until(lambda: not studio.status().trainings_running, "the worker to let go")
        assert {done.id, running.id} == {folder.name for folder in (data / "concepts").iterdir()}
    async with Studio(settings, registry, FakeWorker()):
        assert not any((data / "concepts").iterdir())


async def test_a_late_result_of_an_older_attempt_changes_nothing(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    job = await train(studio)
    await until(lambda: worker.training, "the training")
    worker.die()
    await until(lambda: worker.training and worker.training.attempt == 2, "the second attempt")
    worker.say(messages.Done(job=job.id, attempt=1, images=[]))
    worker.finish_training()
    await until(lambda: recorder.count("done", job.id), "the end")
    assert len(await studio.concepts.own(1)) == 1
    assert not recorder.count("failed", job.id)
