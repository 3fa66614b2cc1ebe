"""/forget-me: what goes, what remains, and that it can be trusted."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from bot.chat.wording.members import forgotten
from bot.errors import NotFound
from bot.job import JobState
from bot.registry.registry import DATABASE
from bot.registry.removals import Forgotten

if TYPE_CHECKING:
    from conftest import World
    from simcord.actors import MemberActor
    from simcord.results import ResponseMessage

START_DELETED = "The member whose picture this starts from has deleted it."


async def ask(world: World, who: MemberActor, prompt: str = "a red apple") -> str:
    await who.slash(world.channel, "imagine", prompt=prompt)
    await world.settled()
    return (await world.studio.open_jobs(who.id))[-1].id


async def done(world: World, who: MemberActor, prompt: str = "a red apple") -> str:
    job_id = await ask(world, who, prompt)
    await finish(world, job_id)
    return job_id


async def finish(world: World, job_id: str) -> None:
    await world.drawing()
    assert world.worker.current is not None
    assert world.worker.current.job == job_id
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    await world.settled()


async def question(world: World, who: MemberActor) -> ResponseMessage:
    asked = await who.slash(world.channel, "forget-me")
    assert asked.ephemeral
    assert asked.response is not None
    return asked.response


async def forget(world: World, who: MemberActor, choice: str = "all") -> str:
    asked = await question(world, who)
    await who.click(asked, custom_id=f"atelier:forget-me:{choice}")
    assert asked.components == []
    return asked.content


def folders(world: World) -> set[str]:
    images = world.folder / "images"
    return {path.name for path in images.iterdir()} if images.exists() else set()


async def test_it_says_first_what_goes_and_what_remains(world: World) -> None:
    asked = await question(world, world.alice)
    for word in ("prompts", "start images", "others made from yours", "moderator's block", "backups", "30 days"):
        assert word in asked.content
    labels = [item["label"] for row in asked.components for item in row["components"]]
    assert labels == ["Forget me and delete my posted pictures", "Forget me, leave the messages", "Keep everything"]


async def test_keeping_keeps(world: World) -> None:
    job_id = await done(world, world.alice)
    assert await forget(world, world.alice, "keep") == "Nothing was deleted."
    assert (await world.studio.job(job_id)).state is JobState.DELIVERED


async def test_everything_goes_and_the_messages_too(world: World) -> None:
    mine = await done(world, world.alice)
    theirs = await done(world, world.bob)
    assert await forget(world, world.alice) == (
        "You are forgotten. Removed: 1 picture, with all words and settings. "
        "1 message will be deleted within the next minutes."
    )
    with pytest.raises(NotFound):
        await world.studio.job(mine)
    assert folders(world) == {theirs}
    await world.until(lambda: len(world.messages()) == 1, "the message was not deleted")
    assert world.bob.mention in world.message.content


async def test_the_messages_may_stay(world: World) -> None:
    await done(world, world.alice)
    text = await forget(world, world.alice, "rows")
    assert text.endswith("with all words and settings. The messages stay.")
    await world.settled()
    assert len(world.messages()) == 1
    assert list(await world.studio.doomed()) == []
    again = await world.alice.click(world.message, custom_id=world.buttons()["again"])
    assert again.response is not None
    assert again.response.content == "This picture is not known here any more."


async def test_what_waits_and_what_is_drawn_is_stopped(world: World) -> None:
    running = await ask(world, world.alice, "one")
    await world.drawing()
    world.worker.step()
    waiting = await ask(world, world.alice, "two")
    last = await ask(world, world.bob, "three")
    text = await forget(world, world.alice)
    assert "Removed: 0 pictures, 2 requests waiting or being drawn" in text
    await world.until(lambda: world.worker.current is not None and world.worker.current.job == last, "bob's turn")
    await world.until(lambda: not folders(world) & {running, waiting}, "files stay")
    await finish(world, last)
    await world.env.advance_time(5)  # a second lies between two deletions
    await world.until(lambda: len(world.messages()) == 1)
    assert world.bob.mention in world.message.content


async def test_copies_at_other_members_go_and_their_pictures_stay(world: World) -> None:
    original = await done(world, world.alice)
    message = world.message
    await world.bob.click(message, custom_id=f"atelier:vary:{original}:0")
    await world.settled()
    (child,) = await world.studio.open_jobs(world.bob.id)
    await finish(world, child.id)
    assert (world.folder / "images" / child.id / "start.png").exists()
    await forget(world, world.alice)
    assert folders(world) == {child.id}
    assert not (world.folder / "images" / child.id / "start.png").exists()
    kept = await world.studio.job(child.id)
    assert (kept.state, kept.origin) == (JobState.DELIVERED, None)
    assert (await world.studio.images(child.id))[0].path.exists()
    await world.until(lambda: len(world.messages()) == 1, "the message stays")


async def test_what_would_start_from_it_fails_and_its_member_is_told(world: World) -> None:
    original = await done(world, world.alice)
    message = world.message
    await ask(world, world.bob, "in front")
    await world.drawing()
    await world.bob.click(message, custom_id=f"atelier:vary:{original}:0")
    await world.settled()
    child = (await world.studio.open_jobs(world.bob.id))[-1]
    await forget(world, world.alice)
    await world.until(lambda: any(START_DELETED in text for text in world.texts()), "bob was not told")
    assert (await world.studio.job(child.id)).state is JobState.FAILED
    assert child.id not in folders(world)


async def test_it_can_be_done_again_and_after_a_restart(world: World) -> None:
    await done(world, world.alice)
    first, second = await question(world, world.alice), await question(world, world.alice)
    await world.restart()
    await world.alice.click(first, custom_id="atelier:forget-me:all")
    assert first.content.startswith("You are forgotten.")
    await world.alice.click(second, custom_id="atelier:forget-me:all")
    assert second.content == "Nothing is kept about you any more."


def test_concepts_are_named_among_what_went() -> None:
    went = Forgotten(pictures=0, jobs=0, messages=0, reports=0, cancelled=(), failed=(), concepts=2)
    said = forgotten(went, messages=False)
    assert said.startswith("You are forgotten. Removed: 0 pictures, 2 concepts, with all words and settings.")


async def test_whoever_presses_is_meant(world: World) -> None:
    mine = await done(world, world.alice)
    theirs = await done(world, world.bob)
    await forget(world, world.bob, "rows")
    assert (await world.studio.job(mine)).state is JobState.DELIVERED
    with pytest.raises(NotFound):
        await world.studio.job(theirs)


async def test_nothing_is_left_in_the_database(world: World) -> None:
    secret = "an-unmistakable-walrus"
    await done(world, world.alice, secret)
    await done(world, world.bob)
    files = [world.folder / (DATABASE + ending) for ending in ("", "-wal")]
    assert any(secret.encode() in file.read_bytes() for file in files)
    await forget(world, world.alice)
    await world.settled()
    assert not any(secret.encode() in file.read_bytes() for file in files)
    for who, found in ((world.alice, False), (world.bob, True)):  # SQLite keeps such numbers in eight bytes
        assert any(who.id.to_bytes(8, "big") in file.read_bytes() for file in files) is found


async def test_locked_records_change_nothing(world: World) -> None:
    job_id = await done(world, world.alice)
    asked = await question(world, world.alice)
    lock = sqlite3.connect(world.folder / DATABASE, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        result = await world.alice.click(asked, custom_id="atelier:forget-me:all")
    finally:
        lock.close()
    assert "locked by another program" in result.followups[-1].content
    assert (await world.studio.images(job_id))[0].path.exists()
    await world.alice.click(asked, custom_id="atelier:forget-me:all")
    assert asked.content.startswith("You are forgotten.")
    assert folders(world) == set()


async def test_killed_after_the_rows_went_the_next_start_removes_the_files(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await done(world, world.alice)
    theirs = await done(world, world.bob)

    async def killed(self: object, job_ids: object) -> None:
        raise NotFound  # whatever comes after the transaction does not happen

    monkeypatch.setattr("bot.removal.Removal._clear_away", killed)
    asked = await question(world, world.alice)
    await world.alice.click(asked, custom_id="atelier:forget-me:rows")
    assert folders(world) == {mine, theirs}
    await world.restart()
    assert folders(world) == {theirs}


async def test_killed_before_the_rows_went_it_is_repeated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = await done(world, world.alice)

    async def killed(self: object, member_id: int, **_: object) -> None:
        raise NotFound

    with monkeypatch.context() as patch:
        patch.setattr("bot.registry.removals.Removals.forget", killed)
        asked = await question(world, world.alice)
        await world.alice.click(asked, custom_id="atelier:forget-me:all")
    await world.restart()
    assert folders(world) == {mine}
    assert (await world.studio.images(mine))[0].path.exists()
    assert (await forget(world, world.alice)).startswith("You are forgotten.")
    assert folders(world) == set()


async def test_messages_that_could_not_be_deleted_are_deleted_after_a_restart(world: World) -> None:
    await done(world, world.alice)
    world.env.inject_error("DELETE", "/channels/*/messages/*", status=503, times=None)
    await forget(world, world.alice)
    await world.settled()
    assert len(world.messages()) == 1
    assert len(await world.studio.doomed()) == 1
    world.env.backend.faults.clear()
    await world.restart()
    await world.until(lambda: world.messages() == [], "the message stays")
