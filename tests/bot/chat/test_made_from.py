"""A result says what it was made from, with a link only where it leads somewhere for those who see it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from bot.chat import wording
from bot.job import JobKind, JobState, Origin
from generation.request import ImageRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World

    from bot.job import Job, JobImage
    from bot.outlook import Submitted

REQUEST = ImageRequest(prompt="a red apple", seed=1)


async def deliver(world: World, kind: JobKind, origin: Origin | None, *, foreign: bool = False) -> str:
    """A job made from something. Returns the text of its message."""
    submitted = await world.studio.submit(
        REQUEST,
        member_id=world.alice.id,
        guild_id=world.env.guild.id,
        channel_id=world.channel.id,
        interaction_id=world.env.backend.snowflake(),
        kind=kind,
        origin=origin,
        foreign_start=foreign,
    )
    await publish(world, submitted)
    world.worker.finish()
    job = await world.wait_for_state(JobState.DELIVERED, submitted.job.id)
    return next(message.content for message in world.messages() if message.id == job.message_id)


async def publish(world: World, submitted: Submitted) -> None:
    with world.env._bot_scope():  # pyright: ignore[reportPrivateUsage]  as the handler of a message would be
        await world.bot.delivery.publish(submitted.job, submitted.place, None)
    await world.drawing()


async def first_picture(world: World) -> Origin:
    await deliver(world, JobKind.IMAGINE, None)
    job = await world.job()
    return Origin(job.id, 0, job.guild_id, job.channel_id, job.message_id)


@pytest.mark.parametrize(
    ("kind", "words"),
    [(JobKind.VARY, "variation of"), (JobKind.REMIX, "remix of"), (JobKind.UPSCALE, "enlarged from")],
)
async def test_it_links_to_the_picture(world: World, kind: JobKind, words: str) -> None:
    origin = await first_picture(world)
    text = await deliver(world, kind, origin)
    link = f"https://discord.com/channels/{world.env.guild.id}/{world.channel.id}/{origin.message_id}"
    assert text.splitlines()[-1] == f"-# {words} [this picture]({link})"


async def test_a_resampled_picture_says_what_it_is(world: World) -> None:
    origin = await first_picture(world)
    lines = (await deliver(world, JobKind.RESAMPLE, origin)).splitlines()
    assert lines[-1].startswith("-# enlarged from [this picture](https://discord.com/channels/")
    assert lines[-1].endswith(") to 64×64 by resampling, as this model draws no larger"), "what the fake drew"
    assert "steps" not in "".join(lines)


async def test_somebodys_own_picture_is_linked_too(world: World) -> None:
    origin = Origin(None, 0, world.env.guild.id, world.channel.id, 77)
    text = await deliver(world, JobKind.REMIX, origin, foreign=True)
    assert text.endswith(
        f"remix of [this picture](https://discord.com/channels/{world.env.guild.id}/{world.channel.id}/77)"
    )


async def test_what_was_deleted_is_not_linked(world: World) -> None:
    origin = await first_picture(world)
    assert origin.job_id is not None
    submitted = await world.studio.submit(
        REQUEST,
        member_id=world.bob.id,
        guild_id=world.env.guild.id,
        channel_id=world.channel.id,
        interaction_id=world.env.backend.snowflake(),
        kind=JobKind.VARY,
        origin=origin,
    )
    await publish(world, submitted)
    await world.studio.delete(origin.job_id, by=world.alice.id)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, submitted.job.id)
    assert world.texts()[-1].splitlines()[-1] == "-# variation of an earlier picture"


@pytest.mark.parametrize("guild_id", [None, 12345])
async def test_nothing_leads_to_where_others_may_not_go(world: World, guild_id: int | None) -> None:
    """Direct messages, or another server."""
    origin = dataclasses.replace(await first_picture(world), guild_id=guild_id, channel_id=99)
    text = await deliver(world, JobKind.REMIX, origin)
    assert text.splitlines()[-1] == "-# remix of an earlier picture"


def test_in_direct_messages_the_link_says_me() -> None:
    assert wording.jump_link(None, 2, 3) == "https://discord.com/channels/@me/2/3"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (JobKind.IMAGINE, "A generated picture: a red apple"),
        (JobKind.VARY, "A generated picture, a variation of another: a red apple"),
        (JobKind.REMIX, "A generated picture, remixed from another picture: a red apple"),
        (JobKind.UPSCALE, "A generated picture, enlarged from a smaller one: a red apple"),
        (JobKind.RESAMPLE, "A generated picture, enlarged from a smaller one by resampling: a red apple"),
    ],
)
def test_the_alt_text_says_it_too(
    make_job: Callable[..., Job], make_images: Callable[..., list[JobImage]], kind: JobKind, said: str
) -> None:
    job = dataclasses.replace(make_job(), kind=kind)
    assert wording.alt_text(job, make_images(job)[0], 1) == said
