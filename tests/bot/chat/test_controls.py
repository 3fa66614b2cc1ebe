"""Which buttons a message has, and that they outlive everything."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import discord
import pytest

from bot.chat.buttons import end_controls, parse_custom_id, result_controls
from bot.chat.cards import Card
from bot.chat.rendering import Venue, render_end
from bot.job import JobKind, JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import World

    from bot.job import Job, JobImage


def rows(view: discord.ui.View) -> list[list[str]]:
    """What the buttons of each row say and do."""
    return [
        [
            f"{button['label']} {button['custom_id'].split(':', 1)[1].replace(JOB, 'JOB')}"
            for button in row["components"]
        ]
        for row in view.to_components()
    ]


JOB = "1m83pg1anb3s16swk"


@pytest.fixture
def pictures(
    make_job: Callable[..., Job], make_images: Callable[..., list[JobImage]]
) -> Callable[..., tuple[Job, list[JobImage]]]:
    def make(count: int, kind: JobKind = JobKind.IMAGINE) -> tuple[Job, list[JobImage]]:
        job = dataclasses.replace(make_job(id=JOB), kind=kind)
        return job, make_images(job, count)

    return make


async def test_one_picture(pictures: Callable[..., tuple[Job, list[JobImage]]]) -> None:
    assert rows(result_controls(*pictures(1))) == [
        ["Vary vary:JOB:0", "Upscale upscale:JOB:0", "Again again:JOB:0", "Remix remix:JOB:0", "Recipe recipe:JOB:0"],
        ["Delete delete:JOB:0"],
    ]


@pytest.mark.parametrize("count", [2, 3, 4])
async def test_several_pictures(pictures: Callable[..., tuple[Job, list[JobImage]]], count: int) -> None:
    assert rows(result_controls(*pictures(count))) == [
        [f"Vary {k + 1} vary:JOB:{k}" for k in range(count)],
        [f"Upscale {k + 1} upscale:JOB:{k}" for k in range(count)],
        ["Again again:JOB:0", "Remix remix:JOB:0", "Recipe recipe:JOB:0", "Delete delete:JOB:0"],
    ]


async def test_the_second_message_of_a_job(pictures: Callable[..., tuple[Job, list[JobImage]]]) -> None:
    job, images = pictures(6)
    assert rows(result_controls(job, images[4:])) == [
        ["Vary 5 vary:JOB:4", "Vary 6 vary:JOB:5"],
        ["Upscale 5 upscale:JOB:4", "Upscale 6 upscale:JOB:5"],
        ["Again again:JOB:4", "Remix remix:JOB:4", "Recipe recipe:JOB:4", "Delete delete:JOB:4"],
    ]


async def test_nothing_can_be_made_of_what_is_not_shown(
    pictures: Callable[..., tuple[Job, list[JobImage]]],
) -> None:
    assert rows(result_controls(*pictures(3), withheld={0, 2})) == [
        ["Vary 2 vary:JOB:1"],
        ["Upscale 2 upscale:JOB:1"],
        ["Again again:JOB:0", "Remix remix:JOB:1", "Recipe recipe:JOB:0", "Delete delete:JOB:0"],
    ]
    assert rows(result_controls(*pictures(1), withheld={0})) == [
        ["Again again:JOB:0", "Recipe recipe:JOB:0"],
        ["Delete delete:JOB:0"],
    ]


async def test_what_no_model_drew(pictures: Callable[..., tuple[Job, list[JobImage]]]) -> None:
    """The same again would be the same, and a variation needs what the model can't draw."""
    job, images = pictures(1, JobKind.RESAMPLE)
    assert rows(result_controls(job, images)) == [
        ["Upscale upscale:JOB:0", "Remix remix:JOB:0", "Recipe recipe:JOB:0"],
        ["Delete delete:JOB:0"],
    ]
    assert rows(end_controls(job)) == [["Delete delete:JOB"]]
    assert rows(end_controls(pictures(1)[0])) == [["Again again:JOB", "Delete delete:JOB"]]


async def test_a_lost_file_names_only_buttons_that_there_are(
    pictures: Callable[..., tuple[Job, list[JobImage]]],
) -> None:
    """The fixture's pictures have no files."""
    venue = Venue(file_limit=10_000, age_restricted=False, nsfw_threshold=0.7)
    for kind, button in ((JobKind.VARY, "“Again” for a new one"), (JobKind.RESAMPLE, "“Upscale” under the smaller")):
        job, images = pictures(1, kind)
        card = Card(job)
        card.ended(job, images, None)
        rendered = await render_end(card, venue)
        assert button in rendered.content
        labels = [label for row in rows(rendered.view) for label in row]
        assert any(label.startswith("Again") for label in labels) == (kind is JobKind.VARY)


@pytest.mark.parametrize(
    ("custom_id", "said"),
    [
        ("atelier:again:1m83pg1anb3s16swk", ("again", JOB, None)),  # of the first version
        ("atelier:vary:1m83pg1anb3s16swk:3", ("vary", JOB, 3)),
        ("atelier:vary:1m83pg1anb3s16swk:300", None),
        ("atelier:sell:1m83pg1anb3s16swk", None),
        ("atelier:vary:../../x:1", None),
    ],
)
def test_custom_ids(custom_id: str, said: object) -> None:
    assert parse_custom_id(custom_id) == said


async def done(world: World, **options: object) -> discord.Message:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple", **options)
    await world.drawing()
    job_id = world.job_id()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    return world.message


async def send_old(world: World, message: discord.Message, *actions: str) -> discord.Message:
    """The message with buttons as another version of the bot made them."""
    job_id = world.job_id(message)
    old = discord.ui.View(timeout=None)
    for action in actions:
        old.add_item(discord.ui.Button(label=action, custom_id=f"atelier:{action}:{job_id}"))
    with world.env._bot_scope():  # pyright: ignore[reportPrivateUsage]
        await world.bot.get_partial_messageable(world.channel.id).get_partial_message(message.id).edit(view=old)
    return world.message


async def test_buttons_of_the_first_version_work(world: World) -> None:
    message = await send_old(world, await done(world), "again", "recipe")
    await world.restart()
    recipe = await world.alice.click(message, custom_id=world.buttons(message)["recipe"])
    assert recipe.response is not None
    assert "a red apple" in recipe.response.content
    await world.alice.click(message, custom_id=world.buttons(message)["again"])
    await world.drawing()


async def test_a_button_that_does_nothing_any_more_says_so(world: World) -> None:
    message = await send_old(world, await done(world), "sell")
    await world.restart()
    result = await world.alice.click(message, custom_id=world.buttons(message)["sell"])
    assert result.ephemeral
    assert result.response is not None
    assert result.response.content == "This button is of another version of me and does nothing any more."


async def test_after_two_days_and_a_restart_every_button_works(world: World) -> None:
    message = await done(world, count=2)
    world.env._move_clock(world.env._virtual_time + timedelta(days=2).total_seconds())  # pyright: ignore
    await world.restart()
    for action in ("recipe", "delete"):
        result = await world.alice.click(message, custom_id=world.buttons(message)[action])
        assert result.ephemeral, action
    for action in ("again", "vary", "upscale"):
        await world.alice.click(message, custom_id=world.buttons(message)[action])
        await world.drawing()
        world.worker.finish()
        await world.settled()
    assert len(world.messages()) == 4
    result = await world.alice.click(message, custom_id=world.buttons(message)["remix"])
    assert result.modal is not None


async def test_after_twenty_minutes_of_drawing_the_picture_comes(world: World) -> None:
    """The interaction's token is dead after 15."""
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    job_id = world.job_id()
    await world.env.advance_time(20 * 60)
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    assert len(world.messages()[0].attachments) == 1
    assert world.calls("PATCH", "/webhooks/") == 0
