"""Where pictures go: threads, forum posts, direct messages; which are age-restricted; how large files may be."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from simcord.backend.serializers import channel_payload
from simcord.builders import ChannelHandle

from bot.chat.attachments import DEFAULT_FILE_LIMIT
from bot.chat.messages import Messages
from bot.job import JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World

    from bot.job import Job

EDITS = "/channels/*/messages/*"


def restrict_by_age(world: World, channel_id: int) -> None:
    """simcord knows no age-restricted channels, so the gateway's event says it."""
    backend = world.env.backend
    payload = dict(channel_payload(backend, backend.get_channel(channel_id)))
    backend.emit("CHANNEL_UPDATE", {**payload, "nsfw": True})


def make_thread(world: World, parent: ChannelHandle) -> ChannelHandle:
    thread = world.env.backend.create_thread(parent.id, "a thread", world.alice.id)
    return ChannelHandle(world.env, world.env.guild, thread)


async def deliver(world: World, *, nsfw: float = 0.0) -> None:
    world.worker.nsfw = nsfw
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    job_id = world.job_id()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)


async def test_a_thread_gets_its_picture(world: World) -> None:
    world.channel = make_thread(world, world.channel)
    await deliver(world)
    assert len(world.message.attachments) == 1


@pytest.mark.parametrize(("nsfw_channel", "shown"), [(True, 1), (False, 0)])
async def test_a_thread_is_as_restricted_as_its_channel(world: World, nsfw_channel: bool, shown: int) -> None:
    if nsfw_channel:
        restrict_by_age(world, world.channel.id)
    world.channel = make_thread(world, world.channel)
    await deliver(world, nsfw=0.9)
    assert [a.is_spoiler() for a in world.message.attachments] == [True] * shown


async def test_a_post_of_a_restricted_forum_is_restricted(world: World) -> None:
    forum = world.env.guild.create_forum_channel("forum")
    restrict_by_age(world, forum.id)
    world.channel = make_thread(world, forum)
    await deliver(world, nsfw=0.9)
    assert [a.is_spoiler() for a in world.message.attachments] == [True]


async def test_a_thread_that_the_bot_does_not_know_shows_nothing_explicit(world: World) -> None:
    restrict_by_age(world, world.channel.id)
    world.channel = make_thread(world, world.channel)
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    guild = world.bot.guilds[0]
    guild._remove_thread(guild.get_thread(world.channel.id))  # pyright: ignore  as discord.py does for an archived one
    world.worker.nsfw = 0.9
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    assert world.message.attachments == []
    assert "not shown here" in world.message.content


async def test_in_direct_messages_nothing_explicit_is_shown(world: World) -> None:
    dana = world.env.create_user("dana")
    world.worker.nsfw = 0.9
    await dana.slash("imagine", prompt="a red apple")
    await world.drawing()
    world.channel = dana.dm_channel
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    assert world.message.attachments == []


async def test_a_thread_that_was_archived_meanwhile_is_opened_again(world: World) -> None:
    world.channel = make_thread(world, world.channel)
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    world.env.inject_error("PATCH", EDITS, status=400, code=50083, times=1)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    assert len(world.message.attachments) == 1
    (opened,) = [r for r in world.env.http_requests if r.method == "PATCH" and r.path.endswith(str(world.channel.id))]
    assert opened.json == {"archived": False}


async def test_a_thread_that_is_locked_is_gone(world: World) -> None:
    world.channel = make_thread(world, world.channel)
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    job_id = world.job_id()
    world.env.inject_error("PATCH", EDITS, status=400, code=50083, times=None)
    world.worker.finish()
    job = await world.wait_for_state(JobState.FAILED, job_id)
    assert job.error == "It could not be posted: its thread was closed."


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (None, DEFAULT_FILE_LIMIT),
        (50 * 2**20, 50 * 2**20),
        (8 * 2**20, DEFAULT_FILE_LIMIT),  # Discord's limit for everybody
    ],
)
async def test_files_may_be_as_large_as_where_it_was_asked_for(
    world: World, make_job: Callable[..., Job], said: int | None, limit: int
) -> None:
    job = dataclasses.replace(make_job(), file_limit=said)
    assert Messages(world.bot, nsfw_threshold=0.7).venue(job).file_limit == limit


async def test_what_discord_said_about_files_is_kept_with_the_job(world: World) -> None:
    await deliver(world)
    assert (await world.job()).file_limit == 25 * 2**20, "what simcord says"
