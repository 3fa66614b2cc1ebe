"""Concepts in the registry: who may do what, and what a race can't do."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest

from bot.concepts import NewVersion, Removed
from bot.errors import (
    ConceptGone,
    ConceptLimit,
    ConceptNameTaken,
    ConceptTakenDown,
    ConceptUnknown,
    DepictsSomethingElse,
    OwnNameTaken,
    TrainingActive,
)
from bot.job import Job, JobKind, JobState, Origin
from bot.registry.concept_rows import publish
from bot.registry.registry import Registry
from bot.registry.tables import MemberRow
from generation.request import ConceptUse
from training.order import Depicts, Method, TrainingOrder

Make = Callable[..., Job]


def version(owner: int, name: str, number: str = "1", **values: Any) -> NewVersion:
    key = f"{owner}{name}{number}"
    return NewVersion(**{
        "id": key, "owner_id": owner, "guild_id": 5, "name": name, "depicts": Depicts.THING, "consent": "1",
        "method": Method.LORA, "class_word": "cat", "trigger": "cat", "path": f"concepts/{key}/concept.safetensors",
        "sha256": key, "bytes": 10, "model_hash": "m", "model_name": "model", "trained": None,
        "created_at": values.pop("created_at"), **values,
    })  # fmt: skip


async def trained(registry: Registry, new: NewVersion) -> Removed:
    """As the end of a training does: a version of its own may take the place of an older one."""
    async with registry.concepts.database.write() as session:
        await session.merge(MemberRow(id=new.owner_id, created_at=new.created_at))
        return await publish(session, new)


def using(job: Job, owner: int, name: str, number: str = "1") -> Job:
    use = ConceptUse(name=name, path=f"concepts/{owner}{name}{number}/concept.safetensors")
    return dataclasses.replace(job, request=msgspec.structs.replace(job.request, concepts=[use]))


async def test_private_until_shared_and_own_names_first(registry: Registry, now: datetime) -> None:
    concepts = registry.concepts
    for owner, name in ((1, "cat"), (1, "dog"), (2, "cat")):
        await concepts.add(version(owner, name, created_at=now), concepts_at_most=5)
    assert [one.name for one in await concepts.usable(2, 5)] == ["cat"]
    await concepts.share(1, 5, "cat", now)
    await concepts.share(1, 5, "dog", now)
    seen = await concepts.usable(2, 5)
    assert [(one.name, one.owner_id) for one in seen] == [("cat", 2), ("dog", 1)]
    assert [(one.name, one.owner_id) for one in await concepts.usable(3, 5)] == [("cat", 1), ("dog", 1)]
    assert await concepts.usable(3, 6) == []
    assert [one.name for one in await concepts.usable(2, None)] == ["cat"]
    with pytest.raises(ConceptNameTaken):
        await concepts.share(2, 5, "cat", now)
    await concepts.share(2, 6, "cat", now)
    await concepts.share(2, 6, "cat", now)  # again changes nothing
    assert (await concepts.own(2))[0].shared_in == {6}
    assert [one.owner_id for one in await concepts.shared(5)] == [1, 1]
    with pytest.raises(ConceptUnknown):
        await concepts.unshare(2, 5, "cat", now)
    with pytest.raises(ConceptUnknown):
        await concepts.take_down(5, "fox", now)
    assert (await concepts.take_down(5, "cat", now)).concept.owner_id == 1
    await concepts.share(2, 5, "cat", now)


async def test_what_was_taken_down_is_not_shared_there_again(registry: Registry, now: datetime) -> None:
    concepts = registry.concepts
    await concepts.add(version(1, "cat", created_at=now), concepts_at_most=5)
    await concepts.share(1, 5, "cat", now)
    await concepts.take_down(5, "cat", now)
    await concepts.rename(1, "cat", "kitten")
    await trained(registry, version(1, "kitten", "2", created_at=now))
    for _ in range(2):
        with pytest.raises(ConceptTakenDown, match="<kitten>"):
            await concepts.share(1, 5, "kitten", now)
    await concepts.share(1, 6, "kitten", now)
    assert (await concepts.own(1))[0].shared_in == {6}
    # One that is deleted leaves nothing behind.
    await concepts.delete(1, "kitten", now)
    await concepts.add(version(1, "kitten", "3", created_at=now), concepts_at_most=5)
    await concepts.share(1, 5, "kitten", now)


async def test_of_many_who_share_one_name_at_once_one_has_it(registry: Registry, now: datetime) -> None:
    members = range(1, 9)
    for owner in members:
        await registry.concepts.add(version(owner, "cat", created_at=now), concepts_at_most=5)
    results = await asyncio.gather(
        *(registry.concepts.share(owner, 5, "cat", now) for owner in members), return_exceptions=True
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert {type(result) for result in results if isinstance(result, BaseException)} == {ConceptNameTaken}


@pytest.mark.parametrize("rename_first", [True, False])
async def test_rename_against_share(registry: Registry, now: datetime, rename_first: bool) -> None:
    """One renames a shared concept to the name that the other is about to share: the later one is refused."""
    concepts = registry.concepts
    for owner, name in ((1, "old"), (2, "new")):
        await concepts.add(version(owner, name, created_at=now), concepts_at_most=5)
    await concepts.share(1, 5, "old", now)
    both = [concepts.rename(1, "old", "new"), concepts.share(2, 5, "new", now)]
    results = await asyncio.gather(*(both if rename_first else both[::-1]), return_exceptions=True)
    assert [type(result) for result in results if isinstance(result, BaseException)] == [ConceptNameTaken]
    assert [one.owner_id for one in await concepts.shared(5) if one.name == "new"] == [1 if rename_first else 2]


async def test_rename(registry: Registry, now: datetime, make_job: Make) -> None:
    concepts = registry.concepts
    for name in ("cat", "dog"):
        await concepts.add(version(1, name, created_at=now), concepts_at_most=5)
    with pytest.raises(OwnNameTaken):
        await concepts.rename(1, "cat", "dog")
    with pytest.raises(ConceptUnknown):
        await concepts.rename(2, "cat", "fox")
    before = (await concepts.own(1))[0]
    after = await concepts.rename(1, "cat", "fox")
    assert (after.id, after.name, after.versions) == (before.id, "fox", before.versions)
    assert (await concepts.rename(1, "fox", "fox")).name == "fox"
    await registry.jobs.add(training(make_job, "fox"), images_at_most=20)
    for old, new in (("fox", "cat"), ("dog", "fox")):
        with pytest.raises((TrainingActive, OwnNameTaken)):
            await concepts.rename(1, old, new)
    await concepts.rename(1, "dog", "cat")


def training(make_job: Make, name: str, member: int = 1) -> Job:
    order = TrainingOrder(job="x", method=Method.LORA, name=name, class_word="cat")
    return dataclasses.replace(make_job(member=member), kind=JobKind.TRAIN, training=order, consent="1")


async def test_versions_and_limits(registry: Registry, now: datetime, make_job: Make) -> None:
    concepts = registry.concepts
    for number in "1234":
        removed = await trained(registry, version(1, "cat", number, created_at=now))
    assert [one.number for one in (await concepts.own(1))[0].versions] == [4, 3, 2]
    assert (removed.versions, removed.files) == (("1cat1",), ("1cat1",))
    with pytest.raises(DepictsSomethingElse):
        await trained(registry, version(1, "cat", "5", depicts=Depicts.SELF, created_at=now))
    with pytest.raises(OwnNameTaken):  # a file that may not fit the model takes no good one's place
        await concepts.add(version(1, "cat", "5", created_at=now), concepts_at_most=2)
    await registry.jobs.add(training(make_job, "dog"), images_at_most=20)
    with pytest.raises(ConceptLimit):  # what is being trained counts
        await concepts.add(version(1, "fox", created_at=now), concepts_at_most=2)
    with pytest.raises(TrainingActive):
        await concepts.add(version(1, "dog", created_at=now), concepts_at_most=2)
    assert len(await concepts.own(1)) == 1


async def test_the_same_file_again_keeps_its_slot(registry: Registry, now: datetime) -> None:
    for number in "1234":
        removed = await trained(registry, version(1, "cat", number, sha256="same", created_at=now))
    assert (removed.versions, removed.files) == (("1cat1",), ())


async def test_deleting_fails_what_waits_for_it(registry: Registry, now: datetime, make_job: Make) -> None:
    concepts, jobs = registry.concepts, registry.jobs
    for name in ("cat", "dog"):
        await concepts.add(version(1, name, created_at=now), concepts_at_most=5)
        await concepts.share(1, 5, name, now)
    own, _ = await jobs.add(using(make_job(), 1, "cat"), images_at_most=20)
    others, _ = await jobs.add(using(make_job(member=2), 1, "cat"), images_at_most=20)
    dogs, _ = await jobs.add(using(make_job(member=2), 1, "dog"), images_at_most=20)
    trained, _ = await jobs.add(training(make_job, "cat"), images_at_most=20)
    withdrawn = await concepts.delete(1, "cat", now)
    assert {job.id for job in withdrawn.failed} == {own.id, others.id}
    assert [job.id for job in withdrawn.cancelled] == [trained.id]
    assert (withdrawn.removed.versions, withdrawn.removed.files) == (("1cat1",), ("1cat1",))
    for job_id, state in ((own.id, JobState.FAILED), (others.id, JobState.FAILED), (trained.id, JobState.CANCELLED)):
        after = await jobs.get(job_id)
        assert after is not None
        assert after.state is state
    assert "<cat> was deleted" in ((await jobs.get(own.id)) or own).error  # type: ignore[operator]
    assert ((await jobs.get(dogs.id)) or own).state is JobState.QUEUED
    assert await concepts.files() == {"1dog1": "concepts/1dog1/concept.safetensors"}
    assert [one.name for one in await concepts.shared(5)] == ["dog"]
    # Nothing can be asked for with it any more, even by who looked its name up before.
    with pytest.raises(ConceptGone):
        await jobs.add(using(make_job(), 1, "cat"), images_at_most=20)


async def test_unsharing_fails_others_jobs_there_only(registry: Registry, now: datetime, make_job: Make) -> None:
    concepts, jobs = registry.concepts, registry.jobs
    await concepts.add(version(1, "cat", created_at=now), concepts_at_most=5)
    with pytest.raises(ConceptGone):  # private
        await jobs.add(using(make_job(member=2), 1, "cat"), images_at_most=20)
    for guild in (5, 6):
        await concepts.share(1, guild, "cat", now)
    own, _ = await jobs.add(using(make_job(), 1, "cat"), images_at_most=20)
    there, _ = await jobs.add(using(make_job(member=2), 1, "cat"), images_at_most=20)
    elsewhere = dataclasses.replace(using(make_job(member=2), 1, "cat"), guild_id=6)
    await jobs.add(elsewhere, images_at_most=20)
    withdrawn = await concepts.unshare(1, 5, "cat", now)
    assert [job.id for job in withdrawn.failed] == [there.id]
    assert withdrawn.concept.shared_in == {6}
    assert {job.id for job in await jobs.live()} == {own.id, elsewhere.id}


async def test_a_person_in_a_picture_is_remembered_down_the_line(
    registry: Registry, now: datetime, make_job: Make
) -> None:
    await registry.concepts.add(version(1, "me", depicts=Depicts.SELF, created_at=now), concepts_at_most=5)
    first, _ = await registry.jobs.add(using(make_job(), 1, "me"), images_at_most=20)
    assert first.of_person
    made = dataclasses.replace(make_job(member=2), origin=Origin(job_id=first.id))
    second, _ = await registry.jobs.add(made, images_at_most=20)
    assert second.of_person
    third, _ = await registry.jobs.add(
        dataclasses.replace(make_job(member=3), origin=Origin(job_id=second.id)), images_at_most=20
    )
    assert third.of_person
    assert ((await registry.jobs.get(third.id)) or make_job()).of_person
    plain, _ = await registry.jobs.add(make_job(), images_at_most=20)
    assert not plain.of_person


async def test_a_training_is_no_picture_in_a_members_queue(registry: Registry, make_job: Make) -> None:
    job = training(make_job, "cat")
    assert job.images == 1
    await registry.jobs.add(job, images_at_most=20)
    await registry.jobs.add(make_job(count=4), images_at_most=4)
