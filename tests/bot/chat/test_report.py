"""Reports: by the message command's form, by a link; kept, limited, and told to the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simcord.enums import ComponentType

from bot.chat.wording.members import parse_link, report_for_operator
from bot.job import JobState
from bot.registry.reports import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    import discord
    from conftest import World
    from simcord.actors import MemberActor
    from simcord.builders import UserHandle

THANKS = "Thank you: the operator of this bot has been told."


async def done(world: World) -> str:
    await world.alice.slash(world.channel, "imagine", prompt="a walrus")
    await world.drawing()
    assert world.worker.current is not None
    job_id = world.worker.current.job
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    await world.settled()
    return job_id


def link(world: World, message: discord.Message) -> str:
    return f"https://discord.com/channels/{world.env.guild.id}/{message.channel.id}/{message.id}"


async def kept(world: World) -> Sequence[Report]:
    return await world.studio.members._reports.latest(100)  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
async def operator(world: World) -> UserHandle:
    made = world.env.create_user("operator")
    world.bot.settings = world.settings.with_changes(operator_id=made.id)
    return made


def told(operator: UserHandle) -> list[str]:
    return [message.content for message in operator.dm_channel.history()]


async def report(world: World, who: MemberActor, reason: str = "rude") -> str:
    shown = await who.context_menu(world.channel, "Report to the operator", world.message)
    sent = await who.submit_modal(shown, {"reason": reason})
    assert sent.ephemeral
    assert sent.response is not None
    return sent.response.content


async def test_the_form_reaches_the_operator(world: World, operator: UserHandle) -> None:
    job_id = await done(world)
    shown = await world.bob.context_menu(world.channel, "Report to the operator", world.message)
    assert shown.modal is not None
    assert shown.modal["custom_id"] == f"atelier:report:{world.channel.id}:{world.message.id}"
    (label,) = shown.modal["components"]
    assert label["component"]["type"] == ComponentType.TEXT_INPUT
    sent = await world.bob.submit_modal(shown, {"reason": "rude, @everyone"})
    assert sent.response is not None
    assert sent.response.content == THANKS
    (text,) = told(operator)
    assert text.split("\n") == [
        f"**Report** from {world.bob.mention} ({world.bob.id}) about a picture by "
        f"{world.alice.mention} ({world.alice.id})",
        link(world, world.message),
        f"-# job {job_id}",
        "“rude, @\u200beveryone”",
    ]
    assert "walrus" not in text
    (found,) = await kept(world)
    assert (found.reporter_id, found.member_id, found.job_id) == (world.bob.id, world.alice.id, job_id)
    assert (found.message_id, found.reason) == (world.message.id, "rude, @everyone")


async def test_a_form_that_was_open_during_a_restart(world: World) -> None:
    job_id = await done(world)
    shown = await world.bob.context_menu(world.channel, "Report to the operator", world.message)
    await world.restart()
    sent = await world.bob.submit_modal(shown, {"reason": "rude"})
    assert sent.response is not None
    assert sent.response.content == THANKS
    assert [found.job_id for found in await kept(world)] == [job_id]


async def test_by_a_link(world: World, operator: UserHandle) -> None:
    await done(world)
    result = await world.bob.slash(world.channel, "report", link=link(world, world.message), reason="rude")
    assert result.ephemeral
    assert result.response is not None
    assert result.response.content == THANKS
    assert link(world, world.message) in told(operator)[0]


async def test_a_link_that_names_another_channel_leads_to_the_picture_all_the_same(
    world: World, operator: UserHandle
) -> None:
    await done(world)
    await world.bob.slash(world.channel, "report", link=f"https://discord.com/channels/1/2/{world.message.id}")
    assert link(world, world.message) in told(operator)[0]


@pytest.mark.parametrize(
    "text", ["hello", "https://evil.example/channels/1/2/3", "https://discord.com/channels/1/2", "1/2/3"]
)
async def test_what_is_no_link(world: World, text: str) -> None:
    result = await world.bob.slash(world.channel, "report", link=text)
    assert result.response is not None
    assert result.response.content.startswith("This is no link to one of my pictures")
    assert list(await kept(world)) == []


async def test_a_link_to_another_message(world: World) -> None:
    other = await world.bob.send(world.channel, "nice!")
    result = await world.bob.slash(world.channel, "report", link=link(world, other))
    assert result.response is not None
    assert result.response.content.startswith("This is no link to one of my pictures")


async def test_the_message_command_on_another_message(world: World) -> None:
    other = await world.bob.send(world.channel, "nice!")
    result = await world.alice.context_menu(world.channel, "Report to the operator", other)
    assert result.modal is None
    assert result.response is not None
    assert result.response.content == "I can report my own pictures only: for anything else use Discord's own report."


async def test_a_picture_that_is_not_known_any_more_is_reported_all_the_same(world: World) -> None:
    job_id = await done(world)
    message = world.message
    shown = await world.bob.context_menu(world.channel, "Report to the operator", message)
    await world.studio.delete(job_id, by=world.alice.id)
    sent = await world.bob.submit_modal(shown, {"reason": ""})
    assert sent.response is not None
    assert sent.response.content == THANKS
    (found,) = await kept(world)
    assert (found.job_id, found.member_id, found.reason) == (None, None, "")


@pytest.mark.parametrize("team", [False, True])
async def test_the_operator_is_the_owner_of_the_application_by_default(
    world: World, monkeypatch: pytest.MonkeyPatch, team: bool
) -> None:
    """For simcord the bot owns itself: here it is a user, or a user's team, as in Discord's Application object."""
    owner = world.env.create_user("owner")
    plain = await world.bot.http.application_info()
    user = {"id": str(owner.id), "username": "owner", "discriminator": "0", "avatar": None}
    a_team = {"id": "9", "name": "t", "icon": None, "owner_user_id": str(owner.id), "members": []}
    # A team's application names a made-up user that stands for the team as its owner.
    said = {**plain, "owner": {**user, "id": "9"}, "team": a_team} if team else {**plain, "owner": user, "team": None}

    async def application_info() -> object:
        return said

    monkeypatch.setattr(world.bot.http, "application_info", application_info)
    await done(world)
    assert await report(world, world.bob) == THANKS
    assert len(told(owner)) == 1


@pytest.mark.parametrize("status", [403, 404, 503])
async def test_an_operator_who_cannot_be_told_is_logged(
    world: World, operator: UserHandle, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    await done(world)
    world.env.inject_error("POST", "/users/@me/channels", status=status, code=50007, times=None)
    assert await report(world, world.bob, "a secret reason") == THANKS
    assert told(operator) == []
    assert len(await kept(world)) == 1
    assert "the operator could not be told" in caplog.text
    assert "a secret reason" not in caplog.text


async def test_five_an_hour(world: World, operator: UserHandle) -> None:
    await done(world)
    for _ in range(5):
        assert await report(world, world.bob) == THANKS
    assert await report(world, world.bob) == (
        "You have sent several reports within this hour, and they are with the operator: try again later."
    )
    assert len(told(operator)) == len(await kept(world)) == 5
    assert await report(world, world.alice) == THANKS


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("https://discord.com/channels/1/2/3", (1, 2, 3)),
        ("  <https://ptb.discord.com/channels/1/2/3/>  ", (1, 2, 3)),
        ("https://discordapp.com/channels/@me/2/3", (None, 2, 3)),
        ("https://discord.com.evil.example/channels/1/2/3", None),
        ("https://discord.com/channels/1/2/" + "3" * 30, None),
        ("", None),
    ],
)
def test_links(text: str, place: tuple[int | None, int, int] | None) -> None:
    assert parse_link(text) == place


def test_a_long_hostile_reason_fits_and_pings_nobody(now: object) -> None:
    reason = "<@1> @everyone ||x|| [a](https://evil.example) \u202e" + "*" * 1000
    text = report_for_operator(Report(1, None, 2, 3, "j", 4, reason, now))  # pyright: ignore[reportArgumentType]
    assert len(text) <= 2000
    assert "@everyone" not in text
    assert "\u202e" not in text
    assert "https://discord.com/channels/@me/2/3" in text


@pytest.mark.parametrize("ids", ["1/2/99999999999999999999", "1/9223372036854775808/3", "9223372036854775808/2/3"])
def test_ids_that_nothing_can_have_are_no_link(ids: str) -> None:
    assert parse_link(f"https://discord.com/channels/{ids}") is None
    assert parse_link("https://discord.com/channels/@me/2/9223372036854775807") == (None, 2, 2**63 - 1)
