"""Photos that wait for a yes: they outlive a restart, not 15 minutes, and never somebody else's button."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bot.chat.training_drafts import KEPT_SECONDS, Draft, Drafts
from training.order import Depicts, Method

if TYPE_CHECKING:
    from pathlib import Path

DRAFT = Draft(
    form=77,
    member_id=5,
    method=Method.LORA,
    name="my-cat",
    class_word="cat",
    depicts=Depicts.THING,
    consent="2026-11-23",
    photos=["0.png", "2.png"],
)


async def kept(drafts: Drafts, draft: Draft = DRAFT) -> Path:
    folder = await drafts.open(draft.member_id, draft.form)
    for name in draft.photos:
        (folder / name).write_bytes(name.encode())
    await drafts.keep(draft)
    return folder


def age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder, (then, then))


async def test_they_are_there_for_another_life_of_the_bot(tmp_path: Path) -> None:
    await kept(Drafts(tmp_path))
    assert await Drafts(tmp_path).read(5, 77) == (DRAFT, [b"0.png", b"2.png"])


async def test_only_for_their_member_and_their_form(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    await kept(drafts)
    assert await drafts.read(6, 77) is None
    assert await drafts.read(5, 78) is None


async def test_a_later_form_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    first = await kept(drafts)
    await drafts.open(5, 78)
    assert not first.exists()


async def test_they_go_after_a_quarter_of_an_hour(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    old, young = await kept(drafts), await kept(drafts, msgspec.structs.replace(DRAFT, member_id=6))
    age(old, KEPT_SECONDS + 1)
    age(young, KEPT_SECONDS - 5)
    assert await drafts.read(5, 77) is None
    assert drafts.expire() is True
    assert [path.name for path in tmp_path.iterdir()] == ["6"]
    await drafts.drop(6, 76)
    assert drafts.expire() is True, "that is another form's"
    await drafts.drop(6, 77)
    assert drafts.expire() is False


async def test_what_a_killed_bot_left_goes_too(tmp_path: Path) -> None:
    folder = await Drafts(tmp_path).open(5, 77)  # never kept: the bot died while the photos were looked at
    age(folder, KEPT_SECONDS + 1)
    asleep = asyncio.Event()

    async def wait(awaitable: Any, *, reason: str) -> None:
        asleep.set()
        await awaitable

    tidying = asyncio.create_task(Drafts(tmp_path).tidy(wait, asyncio.sleep))
    await asyncio.wait_for(asleep.wait(), 5)
    tidying.cancel()
    assert list(tmp_path.iterdir()) == []


async def test_what_is_written_while_nothing_waits_is_looked_after(tmp_path: Path) -> None:
    drafts, naps = Drafts(tmp_path), asyncio.Queue[float]()

    async def wait(awaitable: Any, *, reason: str) -> None:
        await awaitable

    async def sleep(seconds: float) -> None:
        naps.put_nowait(seconds)
        await asyncio.Event().wait()

    tidying = asyncio.create_task(drafts.tidy(wait, sleep))
    await asyncio.sleep(0)
    assert naps.empty()
    await kept(drafts)
    assert await asyncio.wait_for(naps.get(), 5) == 60
    tidying.cancel()


@pytest.mark.parametrize("content", [b"", b"{", b'{"form": 77}'])
async def test_a_damaged_one_is_none(tmp_path: Path, content: bytes) -> None:
    drafts = Drafts(tmp_path)
    (await kept(drafts) / "draft.json").write_bytes(content)
    assert await drafts.read(5, 77) is None


async def test_no_file_outside_its_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    drafts = Drafts(tmp_path / "drafts")
    folder = await kept(drafts)
    forged = msgspec.structs.replace(DRAFT, photos=["../../../secret.png"])
    (folder / "draft.json").write_bytes(msgspec.json.encode(forged))
    assert await drafts.read(5, 77) is None


def test_one_form_of_a_member_at_a_time(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    with drafts.looking_at(5) as first, drafts.looking_at(5) as second, drafts.looking_at(6) as other:
        assert (first, second, other) == (True, False, True)
    with drafts.looking_at(5) as again:
        assert again


async def test_a_form_is_opened_while_others_are_tidied_away(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    ended = False

    def tidy() -> None:
        while not ended:
            drafts.expire()

    tidying = asyncio.create_task(asyncio.to_thread(tidy))
    try:
        for form in range(60):
            assert (await drafts.open(5, form)).is_dir()
            await drafts.drop(5, form)
    finally:
        ended = True
        await tidying
