"""What the tests of the buttons share: a finished picture, and who presses what under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from bot.job import Job, JobImage, JobState
from bot.worker.messages import Draw

if TYPE_CHECKING:
    import pytest
    from conftest import World
    from simcord.actors import MemberActor
    from simcord.results import InteractionResult


async def finish(world: World, job_id: str) -> Job:
    """Lets the worker draw a job that was asked for, and waits until it is posted."""
    await world.until(lambda: world.worker.current is not None and world.worker.current.job == job_id)
    world.worker.finish()
    return await world.wait_for_state(JobState.DELIVERED, job_id)


async def drawn(world: World, who: MemberActor | None = None, **options: object) -> Job:
    """A picture of `/imagine`, posted."""
    await (who or world.alice).slash(world.channel, "imagine", **{"prompt": "a red apple", "seed": 5} | options)
    await world.drawing()
    assert world.worker.current is not None
    return await finish(world, world.worker.current.job)


async def images(world: World, job: Job) -> list[JobImage]:
    return list(await world.studio.images(job.id))


def message_of(world: World, job: Job) -> discord.Message:
    return next(message for message in world.messages() if message.id == job.message_id)


def button(message: discord.Message, action: str, index: int | None = None) -> str:
    """The custom id of a button."""
    ids = [
        child.custom_id or ""
        for row in message.components
        if isinstance(row, discord.ActionRow)
        for child in row.children
    ]
    parts = [custom_id.split(":") for custom_id in ids]
    found = [
        custom_id
        for custom_id, part in zip(ids, parts, strict=True)
        if part[1] == action and (index is None or part[3] == str(index))
    ]
    assert len(found) == 1, ids
    return found[0]


async def press(
    world: World, action: str, job: Job, index: int | None = None, *, by: MemberActor | None = None
) -> InteractionResult:
    message = message_of(world, job)
    return await (by or world.alice).click(message, custom_id=button(message, action, index))


async def forge(world: World, message: discord.Message, custom_id: str, by: MemberActor) -> InteractionResult:
    """Press a button that the bot never put there."""
    stored = world.env.backend.get_message(message.channel.id, message.id)
    assert stored.components is not None
    stored.components[0]["components"][0]["custom_id"] = custom_id
    return await by.click(message, custom_id=custom_id)


def said(result: InteractionResult) -> str:
    """The one answer, which nobody else sees."""
    assert result.ephemeral
    assert result.response is not None
    return result.response.content


async def asked(world: World) -> tuple[Job, Draw]:
    """The job that reached the worker just now."""
    await world.drawing()
    draw = world.worker.current
    assert draw is not None
    return await world.studio.job(draw.job), draw


async def later(world: World, monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    """The clock moves. Delivery's own looking around is made rarer for it: a test has no days."""
    monkeypatch.setattr("bot.chat.delivery.REMIND_SECONDS", 6 * 60 * 60.0)
    while hours > 0:  # in steps, since each has simcord's own limit of real time
        await world.env.advance_time(min(hours, 4.0) * 60 * 60)
        hours -= 4
