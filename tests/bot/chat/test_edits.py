"""The edit scheduler on a clock that only the test moves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace

import aiohttp
import discord
import pytest

from bot.chat.edits import FINAL_ATTEMPTS, MINOR_PATIENCE_SECONDS, PREVIEW_SECONDS, EditScheduler
from bot.errors import DiskFull, RegistryBusy


class ManualClock:
    def __init__(self) -> None:
        self.now = 100.0
        self.sleeping: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self.sleeping.append((self.now + seconds, future))
        await future

    async def advance(self, seconds: float) -> None:
        until = self.now + seconds
        await settle()
        while due := [entry for entry in self.sleeping if entry[0] <= until and not entry[1].done()]:
            when, future = min(due, key=lambda entry: entry[0])
            self.now = max(self.now, when)
            future.set_result(None)
            await settle()
        self.now = until


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Owner:
    def __init__(self) -> None:
        self.gone: list[str] = []
        self.given_up: list[str] = []

    async def edit_gone(self, key: str, error: BaseException) -> None:
        self.gone.append(key)

    async def edit_given_up(self, key: str, error: BaseException) -> None:
        self.given_up.append(key)


class Desk:
    """A scheduler, and what it did: `done` holds (time, name)."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.clock = ManualClock()
        self.owner = Owner()
        self.done: list[tuple[float, str]] = []
        self.scheduler = EditScheduler(self.owner, spawn=tasks.create_task, clock=self.clock, sleep=self.clock.sleep)

    def edit(self, name: str, *errors: BaseException) -> Callable[[], Awaitable[None]]:
        left = list(errors)

        async def do() -> None:
            self.done.append((self.clock.now - 100, name))
            if left:
                raise left.pop(0)

        return do

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.done]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with asyncio.TaskGroup() as tasks:
        desk = Desk(tasks)
        yield desk
        await desk.clock.advance(10_000)


def http_error(status: int, code: int = 0) -> discord.HTTPException:
    response = SimpleNamespace(status=status, reason="")
    return discord.HTTPException(response, {"code": code, "message": "no"})  # pyright: ignore[reportArgumentType]


async def test_previews_of_a_channel_keep_their_distance(desk: Desk) -> None:
    for number in range(3):
        desk.scheduler.preview(f"job{number}", desk.edit(f"job{number}"))
    await desk.clock.advance(10)
    assert desk.done == [(0, "job0"), (PREVIEW_SECONDS, "job1"), (2 * PREVIEW_SECONDS, "job2")]


async def test_a_newer_preview_takes_the_place_of_a_stale_one(desk: Desk) -> None:
    for step in range(5):
        desk.scheduler.preview("job", desk.edit(f"step{step}"))
    await desk.clock.advance(0.5)
    for step in range(5, 9):
        desk.scheduler.preview("job", desk.edit(f"step{step}"))
    await desk.clock.advance(10)
    assert desk.names == ["step4", "step8"]


async def test_a_final_goes_first_and_at_once(desk: Desk) -> None:
    desk.scheduler.preview("other", desk.edit("other"))
    await desk.clock.advance(0.25)
    desk.scheduler.preview("job", desk.edit("preview of job"))
    desk.scheduler.preview("third", desk.edit("third"))
    await desk.clock.advance(0.25)
    desk.scheduler.final("job", desk.edit("final"))
    await desk.clock.advance(10)
    assert desk.done == [(0, "other"), (0.5, "final"), (PREVIEW_SECONDS, "third")]


async def test_previews_of_other_jobs_do_not_wait_for_a_final_that_waits_for_its_next_try(desk: Desk) -> None:
    desk.scheduler.final("job", desk.edit("final", *[http_error(503)] * 4))  # tried at 0, 0.5, 1.5, 3.5 and 7.5 s
    await desk.clock.advance(4)
    desk.scheduler.preview("other", desk.edit("preview"))
    await desk.clock.advance(10)
    assert desk.done[-2:] == [(4, "preview"), (7.5, "final")]


async def test_no_preview_comes_after_a_final_of_the_same_job(desk: Desk) -> None:
    desk.scheduler.final("job", desk.edit("final", aiohttp.ClientConnectionError()))
    await desk.clock.advance(0.1)
    desk.scheduler.preview("job", desk.edit("late preview"))
    await desk.clock.advance(10)
    assert desk.names == ["final", "final"]


@pytest.mark.parametrize(
    "error", [aiohttp.ClientOSError(104, "reset"), http_error(503), http_error(500), TimeoutError()]
)
async def test_a_final_is_tried_again_with_growing_pauses(desk: Desk, error: BaseException) -> None:
    desk.scheduler.final("job", desk.edit("final", error, error, error))
    await desk.clock.advance(60)
    assert [time for time, _ in desk.done] == [0, 0.5, 1.5, 3.5]
    assert desk.owner.given_up == []


async def test_a_final_is_given_up_after_a_bound(desk: Desk) -> None:
    desk.scheduler.final("job", desk.edit("final", *[http_error(503)] * 100))
    await desk.clock.advance(3600)
    assert len(desk.done) == FINAL_ATTEMPTS
    assert desk.owner.given_up == ["job"]


async def test_a_final_that_waits_for_its_next_try_holds_nobody_up(desk: Desk) -> None:
    desk.scheduler.final("bad", desk.edit("bad", *[http_error(503)] * 3))
    await desk.clock.advance(2)
    desk.scheduler.final("good", desk.edit("good"))
    desk.scheduler.preview("third", desk.edit("third"))
    await desk.clock.advance(0)
    assert desk.names == ["bad", "bad", "bad", "good", "third"]


@pytest.mark.parametrize("code", [10003, 10008, 50001, 50013, 50027])
async def test_a_message_that_is_gone_is_not_tried_again(desk: Desk, code: int) -> None:
    desk.scheduler.final("final", desk.edit("final", http_error(403, code)))
    desk.scheduler.preview("preview", desk.edit("preview", http_error(404, code)))
    await desk.clock.advance(600)
    assert desk.names == ["final", "preview"]
    assert desk.owner.gone == ["final", "preview"]
    assert desk.owner.given_up == []


async def test_an_error_in_one_job_does_not_stop_the_channel(desk: Desk) -> None:
    desk.scheduler.final("broken", desk.edit("broken", KeyError("a bug")))
    desk.scheduler.final("fine", desk.edit("fine"))
    await desk.clock.advance(1)
    assert desk.names == ["broken", "fine"]
    assert desk.owner.given_up == ["broken"]


async def test_a_final_that_the_registry_keeps_from_its_work_is_tried_again(desk: Desk) -> None:
    desk.scheduler.final("job", desk.edit("final", RegistryBusy(), DiskFull()))
    await desk.clock.advance(2)
    assert desk.names == ["final"] * 3
    assert desk.owner.given_up == []


async def test_a_preview_that_fails_in_passing_is_dropped(desk: Desk) -> None:
    desk.scheduler.preview("job", desk.edit("preview", http_error(503)))
    await desk.clock.advance(60)
    assert desk.names == ["preview"]


async def test_a_preview_that_hangs_is_cut_off(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.chat.edits.PREVIEW_TIMEOUT_SECONDS", 0.01)
    desk.scheduler.preview("slow", asyncio.Event().wait)
    desk.scheduler.final("job", desk.edit("final"))
    await asyncio.sleep(0.05)
    assert desk.names == ["final"]


async def test_a_dropped_job_is_not_edited(desk: Desk) -> None:
    desk.scheduler.preview("other", desk.edit("other"))
    await desk.clock.advance(0.1)
    desk.scheduler.preview("job", desk.edit("preview"))
    desk.scheduler.drop("job")
    await desk.clock.advance(60)
    assert desk.names == ["other"]


async def test_places_in_the_queue_let_progress_go_first_but_are_not_starved(desk: Desk) -> None:
    for number in range(3):
        desk.scheduler.preview(f"waiting{number}", desk.edit("place"), minor=True)
    for _ in range(round(4 * MINOR_PATIENCE_SECONDS)):
        desk.scheduler.preview("running", desk.edit("progress"))
        await desk.clock.advance(0.5)
    early = [name for time, name in desk.done if time < MINOR_PATIENCE_SECONDS]
    assert set(early) == {"progress"}
    assert desk.names.count("place") == 3
    first = desk.names.index("place")
    assert desk.names[first : first + 5] == ["place", "progress", "place", "progress", "place"]


async def test_the_task_ends_when_there_is_nothing_to_do(desk: Desk) -> None:
    desk.scheduler.preview("job", desk.edit("preview"))
    await desk.clock.advance(0)
    assert desk.scheduler.idle
    desk.scheduler.preview("job", desk.edit("next"))
    await desk.clock.advance(PREVIEW_SECONDS)
    assert desk.names == ["preview", "next"]
