"""What members may do with concepts, in a studio with the shipped fake worker."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load, save

from bot.concepts import NewVersion
from bot.errors import (
    ConceptFileGone,
    ConceptFileRefused,
    ConceptGone,
    ConceptLimit,
    ConceptTakenDown,
    ConceptUnknown,
    DiskFull,
    NotShareable,
    OwnNameTaken,
    WrongModel,
)
from bot.job import Job, JobKind, JobState
from bot.outlook import WorkerState
from bot.registry.concept_rows import publish
from bot.registry.registry import Registry
from bot.settings import Settings
from bot.studio import Studio
from bot.worker import messages
from bot.worker.fake import FAKE_MODEL, FakeWorker
from generation.recipe import ConceptUsed, Recipe
from generation.request import ConceptUse, ImageRequest, InvalidRequest
from training.order import Depicts, Method

Until = Callable[..., Awaitable[None]]
WORDS = save({"<x>": np.full((2, 4), 0.5, np.float32)})
HERE = {"member_id": 1, "guild_id": 5}


async def bring(studio: Studio, name: str, *, member: int = 1, data: bytes = WORDS, **values: Any) -> Any:
    """By import, as a member would."""
    said: dict[str, Any] = {"class_word": "cat", "depicts": Depicts.THING, "consent": "1", "guild_id": 5, **values}
    return await studio.concepts.import_file(member_id=member, name=name, data=data, **said)


async def taught_again(registry: Registry, settings: Settings, concept: Any) -> None:
    """A second version, as a training publishes one."""
    old = dataclasses.asdict(concept.version)
    del old["number"]
    new = {**old, "id": "second", "path": "concepts/second/concept.safetensors", "sha256": "b" * 64}
    async with registry.concepts.database.write() as session:
        said = {"owner_id": 1, "guild_id": 5, "name": concept.name, "depicts": concept.depicts, "consent": "1"}
        await publish(session, NewVersion(**{**new, **said}))
    path = settings.data_dir / new["path"]
    path.parent.mkdir()
    path.write_bytes(WORDS)


async def draw(studio: Studio, prompt: str, *, member: int = 1, message: int | None = 99, **more: Any) -> Job:
    request = ImageRequest(prompt=prompt, seed=7)
    submitted = await studio.submit(request, member_id=member, guild_id=5, channel_id=6, **more)
    if message is not None:
        await studio.attach_message(submitted.job.id, message)
    return submitted.job


async def test_what_names_in_prompts_stand_for(studio: Studio) -> None:
    care = studio.concepts
    cat, dog = await bring(studio, "cat"), await bring(studio, "dog", member=2)
    assert await care.resolve(["a <3 <|endoftext|> apple"], **HERE) == []
    (use,) = await care.resolve(["<CAT> and ＜cat＞", "no <cat>"], **HERE)
    assert use == ConceptUse(name="cat", path=cat.version.path, trigger="")
    with pytest.raises(ConceptUnknown) as private:
        await care.resolve(["<cat> and <dog>"], **HERE)
    with pytest.raises(ConceptUnknown) as nobodys:
        await care.resolve(["<cat> and <fox>"], **HERE)
    assert str(private.value).replace("dog", "fox") == str(nobodys.value), "private ones are as unknown as others"
    assert await care.may_use_all(["<cat>", "x"], **HERE)
    assert not await care.may_use_all(["<cat> <dog>"], **HERE)
    assert await care.strip_unusable("a <Dog> on <cat>, by <fox>", **HERE) == "a on <cat>, by"
    await care.share(2, 5, "<Dog>")
    assert len(await care.resolve(["<cat> and <dog>"], **HERE)) == 2
    with pytest.raises(ConceptUnknown):  # shared in that server, not everywhere
        await care.resolve(["<dog>"], member_id=1, guild_id=None)
    assert (await care.get(1, 5, "DOG")).id == dog.id
    for name in ("fox", "../../x", "", "\u202ecat", "<|endoftext|>"):
        with pytest.raises(ConceptUnknown):
            await care.get(1, 5, name)
    with pytest.raises(NotShareable):
        await care.share(1, None, "cat")
    with pytest.raises(InvalidRequest):
        await care.rename(1, "cat", "../cat")


async def test_the_very_file_of_a_picture(studio: Studio, settings: Settings, registry: Registry) -> None:
    cat = await bring(studio, "cat")
    first = cat.version
    await taught_again(registry, settings, cat)
    assert (await studio.concepts.own(1))[0].version.number == 2
    used = ConceptUsed(name="tom", weight=0.5, sha256=first.sha256)  # its name of then
    (use,) = await studio.concepts.exactly([used], **HERE)
    assert use == ConceptUse(name="tom", path=first.path, weight=0.5)
    with pytest.raises(ConceptUnknown):
        await studio.concepts.exactly([used], member_id=2, guild_id=5)
    with pytest.raises(ConceptUnknown):
        await studio.concepts.exactly([msgspec.structs.replace(used, sha256="0")], **HERE)


async def test_a_redraw_keeps_its_own_and_a_resample_needs_none(
    studio: Studio, worker: FakeWorker, until: Until, settings: Settings, registry: Registry
) -> None:
    cat = await bring(studio, "cat")
    old = cat.version
    await taught_again(registry, settings, cat)
    uses = await studio.concepts.exactly([ConceptUsed(name="cat", weight=1, sha256=old.sha256)], **HERE)
    redraw = ImageRequest(prompt="<cat>", seed=3, concepts=uses)
    request = ImageRequest(prompt="<cat>", seed=7, init_image="gone", strength=0.5)
    submitted = await studio.submit(request, member_id=1, guild_id=5, channel_id=6, kind=JobKind.VARY, redraw=redraw)
    await studio.attach_message(submitted.job.id, 99)
    await until(lambda: worker.current, "the picture")
    assert worker.current is not None
    assert worker.current.redraw is not None
    data = settings.data_dir.absolute()
    assert worker.current.redraw.concepts[0].path == str(data / old.path)
    assert worker.current.request.concepts[0].path != str(data / old.path)
    worker.finish()
    recipe = Recipe(
        prompt="<gone>", guidance_scale=7, num_inference_steps=4, seed=1, width=64, height=64, scheduler="ddim",
        model_name="fake", model_hash="0",
    )  # fmt: skip
    enlarged = await studio.submit(
        ImageRequest(prompt="<gone>", seed=7, init_image="gone"), member_id=1, guild_id=5, channel_id=6,
        kind=JobKind.RESAMPLE, redraw=ImageRequest(prompt="an apple", seed=1), recipe=recipe,
    )  # fmt: skip
    assert enlarged.job.request.concepts == []


async def test_deleting_while_it_waits_and_while_it_is_drawn(
    studio: Studio, worker: FakeWorker, recorder: Any, until: Until, settings: Settings
) -> None:
    cat = await bring(studio, "cat")
    running = await draw(studio, "<cat>")
    await until(lambda: worker.current, "the picture")
    waiting = await draw(studio, "<cat> again")
    await studio.concepts.delete(1, "cat")
    for job in (running, waiting):
        assert recorder.last("failed", job.id) == str(ConceptGone(name="cat"))
        assert (await studio.job(job.id)).state is JobState.FAILED
    assert messages.Cancel(job=running.id) in worker.sent
    assert messages.Forget(sha256=cat.version.sha256) in worker.sent
    assert not (settings.data_dir / "concepts" / cat.version.id).exists()
    await until(lambda: not studio.status().running, "the worker to be free")
    assert cat.version.sha256.encode() not in (settings.data_dir / "atelier.db-wal").read_bytes()
    with pytest.raises(ConceptUnknown):
        await draw(studio, "<cat>")


async def test_deleting_against_submitting(studio: Studio, recorder: Any, until: Until) -> None:
    """Whatever comes first: no job waits for a concept that is gone."""
    for _ in range(5):
        await bring(studio, "cat")
        results = await asyncio.gather(
            draw(studio, "<cat>", message=None),
            studio.concepts.delete(1, "cat"),
            draw(studio, "<cat>", message=None),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, Job):
                await until(lambda job=result: recorder.count("failed", job.id), "its end")
            elif isinstance(result, BaseException):
                assert isinstance(result, ConceptUnknown | ConceptGone)
    assert await studio.open_jobs(1) == []


async def test_made_for_another_model(
    settings: Settings, registry: Registry, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    async with Studio(settings, registry, worker) as studio:
        await until(lambda: studio.status().worker.state is WorkerState.READY, "the fake worker")
        await bring(studio, "cat")
        waiting = await draw(studio, "<cat>", message=None)
    other = FakeWorker(model=msgspec.structs.replace(FAKE_MODEL, name="other", hash="1" * 10))
    async with Studio(settings, registry, other) as studio:
        studio.subscribe(recorder)
        await until(lambda: studio.status().worker.state is WorkerState.READY, "the other model")
        said = str(WrongModel(name="cat", made_for="fake", here="other"))
        with pytest.raises(WrongModel) as refused:
            await draw(studio, "<cat>")
        assert str(refused.value) == said
        await studio.attach_message(waiting.id, 99)
        await until(lambda: recorder.count("failed", waiting.id), "the end of what waited")
        assert recorder.last("failed", waiting.id) == said
        assert not any(isinstance(sent, messages.Draw) for sent in other.sent)
        await draw(studio, "an apple")


async def test_import_and_export(studio: Studio, settings: Settings, registry: Registry, now: datetime) -> None:
    cat = await bring(studio, "<Cat>", class_word="  Tabby  cat ")
    path = await studio.concepts.export(1, "cat")
    assert {name: values.tolist() for name, values in load(path.read_bytes()).items()} == {"<x>": [[0.5] * 4] * 2}
    assert (cat.version.class_word, cat.version.method) == ("tabby cat", Method.TEXTUAL_INVERSION)
    assert cat.version.model_hash == FAKE_MODEL.hash
    for data in (b"\x80\x02}q\x00.", b"garbage", save({"<x>": np.array([[np.nan]], np.float32)})):
        with pytest.raises(ConceptFileRefused):
            await bring(studio, "cat", data=data)
    with pytest.raises(OwnNameTaken):
        await bring(studio, "cat")
    with pytest.raises(OwnNameTaken):
        await studio.concepts.may_import(1, "<Cat>")
    await studio.concepts.may_import(2, "cat")
    assert (await studio.concepts.own(1))[0].version == cat.version, "what was there stays"
    assert len(list((settings.data_dir / "concepts").iterdir())) == 1
    with pytest.raises(ConceptUnknown):
        await studio.concepts.export(2, "cat")
    await studio.concepts.share(1, 5, "cat")
    with pytest.raises(ConceptUnknown):  # to be used by others, not to be taken home
        await studio.concepts.export(2, "cat")
    (settings.data_dir / cat.version.path).unlink()
    with pytest.raises(ConceptFileGone):
        await studio.concepts.export(1, "cat")
    for number in range(4):  # a fifth is too many
        await bring(studio, f"more-{number}")
    with pytest.raises(ConceptLimit):
        await bring(studio, "too-many")
    assert len(list((settings.data_dir / "concepts").iterdir())) == 5, "nothing of what was refused"


async def test_a_full_disk(
    settings: Settings, registry: Registry, worker: FakeWorker, recorder: Any, until: Until
) -> None:
    async with Studio(settings, registry, worker, free=lambda _: 1_000_000) as studio:
        with pytest.raises(DiskFull):
            await bring(studio, "cat")
        with pytest.raises(DiskFull):
            await studio.train(
                method=Method.LORA, name="cat", class_word="cat", depicts=Depicts.THING, photos=[b"p"] * 3,
                consent="1", member_id=1, guild_id=5, channel_id=6,
            )  # fmt: skip
        assert not await studio.concepts.own(1)
        assert not await studio.open_jobs(1)


async def test_a_moderator_takes_one_down(studio: Studio, recorder: Any, until: Until) -> None:
    await bring(studio, "cat")
    await studio.concepts.share(1, 5, "cat")
    others = await draw(studio, "<cat>", member=2, message=None)
    taken = await studio.concepts.take_down(5, "<cat>", by=9)
    assert (taken.owner_id, taken.shared_in) == (1, frozenset())
    assert recorder.count("failed", others.id) == 1
    assert len(await studio.concepts.own(1)) == 1, "it is their own as before"
    with pytest.raises(ConceptUnknown):
        await studio.concepts.take_down(5, "cat", by=9)
    with pytest.raises(ConceptTakenDown):
        await studio.concepts.share(1, 5, "cat")


async def test_a_model_that_is_not_known_fits(registry: Registry, now: datetime) -> None:
    new = NewVersion(
        id="v", owner_id=1, guild_id=None, name="cat", depicts=Depicts.THING, consent="1", method=Method.LORA,
        class_word="cat", trigger="cat", path="concepts/v/concept.safetensors", sha256="a", bytes=1, model_hash="",
        model_name="", trained=None, created_at=now,
    )  # fmt: skip
    await registry.concepts.add(new, concepts_at_most=5)
    use = ConceptUse(name="cat", path=new.path)
    assert await registry.concepts.trouble([use], FAKE_MODEL) is None
    await registry.concepts.add(
        dataclasses.replace(new, id="w", name="dog", path="concepts/w/concept.safetensors", model_hash="m"),
        concepts_at_most=5,
    )
    use = ConceptUse(name="dog", path="concepts/w/concept.safetensors")
    assert await registry.concepts.trouble([use], None) is None
    assert isinstance(await registry.concepts.trouble([use], FAKE_MODEL), WrongModel)


async def test_what_is_exported_is_imported_as_the_same(studio: Studio) -> None:
    """The words that it was trained with are in the file, and which model it is for."""
    lora = save({"lora_unet_x.lora_down.weight": np.ones((2, 4), np.float16)})
    await bring(studio, "cat", data=lora, class_word="tabby cat")
    exported = (await studio.concepts.export(1, "cat")).read_bytes()
    again = await bring(studio, "tom", data=exported, member=2, class_word="animal")
    assert (again.version.trigger, again.version.class_word) == ("tabby cat", "animal")
    other = exported.replace(FAKE_MODEL.hash.encode(), b"1" * len(FAKE_MODEL.hash))
    elsewhere = await bring(studio, "fox", data=other, member=2)
    assert not elsewhere.version.fits(FAKE_MODEL.hash)
    with pytest.raises(WrongModel):
        await studio.concepts.resolve(["<fox>"], member_id=2, guild_id=5)
