"""Remix: the form is opened from a button or a message, and what comes back becomes a job."""

from __future__ import annotations

import asyncio
import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bot.chat.remixing import SeenMessages
from bot.chat.requests import MEDIUM_STRENGTH
from bot.errors import RegistryBusy
from bot.job import JobKind, Origin
from bot.worker.messages import Draw
from tests.bot.chat.pressing import asked, drawn, finish, images, later, message_of, press, said

if TYPE_CHECKING:
    import discord
    from conftest import World
    from simcord.results import InteractionResult


def fields(result: InteractionResult) -> dict[str, Any]:
    """Custom id → what the form shows there: a text, or the values that can be chosen."""
    assert result.modal is not None
    shown: dict[str, Any] = {}
    for label in result.modal["components"]:
        field = label["component"]
        shown[field["custom_id"]] = field.get("value") or [option["value"] for option in field.get("options", [])]
    return shown


def changed(result: InteractionResult, **values: str | list[str]) -> dict[str, Any]:
    """The form as it is sent: everything that was filled in, with some of it changed."""
    texts = {name: value for name, value in fields(result).items() if isinstance(value, str)}
    return texts | {name.replace("_", " "): value for name, value in values.items()}


def png(colour: str = "blue") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 80), colour).save(buffer, "PNG")
    return buffer.getvalue()


def draws(world: World) -> int:
    return len([message for message in world.worker.sent if isinstance(message, Draw)])


async def test_the_form_shows_the_recipe_and_draws_what_comes_back(world: World) -> None:
    job = await drawn(world, negative_prompt="blue", guidance=3)
    form = await press(world, "remix", job, by=world.bob)
    assert form.modal is not None
    assert form.modal["custom_id"] == f"atelier:remix:{job.id}:0"
    assert fields(form) == {
        "prompt": "a red apple",
        "negative prompt": "blue",
        "guidance": "3",
        "strength": f"{MEDIUM_STRENGTH:g}",
    }
    result = await world.bob.submit_modal(form, changed(form, prompt="a green apple --seed 9", strength="0.4"))
    assert said(result).startswith("Your picture is next")
    remix, draw = await asked(world)
    assert (draw.request.prompt, draw.request.negative_prompt) == ("a green apple", "blue")
    assert (draw.request.guidance_scale, draw.request.strength, draw.request.seed) == (3, 0.4, 9)
    assert (draw.request.width, draw.request.num_inference_steps) == (64, 4)
    assert (remix.kind, remix.member_id) == (JobKind.REMIX, world.bob.id)
    assert remix.origin == Origin(job.id, 0, world.env.guild.id, world.channel.id, job.message_id)
    (image,) = await images(world, job)
    assert (world.folder / (remix.request.init_image or "")).read_bytes() == image.path.read_bytes()


async def test_one_of_several_is_chosen(world: World) -> None:
    job = await drawn(world, prompt="a {red, green, blue} apple")
    form = await press(world, "remix", job)
    shown = fields(form)
    assert shown["picture"] == ["0", "1", "2"]
    assert shown["prompt"] == "a red apple"
    await world.alice.submit_modal(form, changed(form, picture=["2"], prompt="a pear"))
    remix, draw = await asked(world)
    assert draw.request.prompt == "a pear"
    assert remix.origin is not None
    assert remix.origin.index == 2
    third = (await images(world, job))[2]
    assert (world.folder / (remix.request.init_image or "")).read_bytes() == third.path.read_bytes()


async def test_what_was_left_out_of_the_message_is_not_offered(world: World) -> None:
    job = await drawn(world, count=3)
    stored = world.env.backend.get_message(world.channel.id, job.message_id or 0)
    del stored.attachments[1]
    assert fields(await press(world, "remix", job))["picture"] == ["0", "2"]


@pytest.mark.parametrize("hours", [1 / 3, 48])
async def test_a_form_that_was_opened_before_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job)
    await world.restart()
    await later(world, monkeypatch, hours)
    await world.alice.submit_modal(form, changed(form, prompt="a pear"))
    _, draw = await asked(world)
    assert draw.request.prompt == "a pear"


async def test_a_form_is_opened_and_sent_any_number_of_times(world: World) -> None:
    """discord.py keeps forms by their custom id: two members with the same one must not meet."""
    job = await drawn(world)
    first = await press(world, "remix", job, by=world.alice)
    second = await press(world, "remix", job, by=world.bob)
    await world.bob.submit_modal(second, changed(second, prompt="bob's"))
    await world.alice.submit_modal(first, changed(first, prompt="alice's"))
    for member, prompt in ((world.bob, "bob's"), (world.alice, "alice's")):
        remix, draw = await asked(world)
        assert (draw.request.prompt, remix.member_id) == (prompt, member.id)
        await finish(world, remix.id)
    assert draws(world) == 3


async def test_discord_py_keeps_no_form_and_misses_none(world: World, caplog: pytest.LogCaptureFixture) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job)
    store = world.bot._connection._view_store  # pyright: ignore[reportPrivateUsage]
    assert store._modals == {}  # pyright: ignore[reportPrivateUsage]
    caplog.clear()
    await world.alice.submit_modal(form, changed(form))
    await asked(world)
    assert [record for record in caplog.records if record.name.startswith("discord") and record.levelno > 10] == []


async def test_the_same_form_twice_is_one_job(world: World) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job)
    caught: list[tuple[str, Any]] = []
    world.env.backend.subscribers.append(lambda event, payload: caught.append((event, payload)))
    await world.alice.submit_modal(form, changed(form))
    ((event, payload),) = [entry for entry in caught if entry[0] == "INTERACTION_CREATE"]
    world.env.backend.emit(event, payload)
    await world.env.settle()
    remix, _ = await asked(world)
    await finish(world, remix.id)
    await world.settled()
    assert draws(world) == 2


# ── refused: one sentence, and the words come back ──


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"guidance": "much"}, "guidance must be a number from 1 to 30, not “much”."),
        ({"guidance": "a_b"}, r"guidance must be a number from 1 to 30, not “a\_b”."),
        ({"strength": "2"}, "strength must be a number from 0.05 to 1, not 2."),
        ({"prompt": "a long tale --cfg 2", "guidance": "9"}, "guidance is 9 in its field and 2 after --cfg"),
        ({"prompt": "a long tale --stpes 9"}, "--steps"),
        ({"prompt": "a long tale --steps 1", "strength": "0.3"}, "steps"),
    ],
)
async def test_what_is_wrong_is_named_and_the_text_comes_back(
    world: World, values: dict[str, str], sentence: str
) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job)
    values = {"prompt": "a long tale"} | values
    answer = said(await world.alice.submit_modal(form, changed(form, **values)))
    first = answer.split("\n")[0]
    assert sentence in first.replace("\\", "") or sentence == first
    block = answer.split("```")[1]
    assert f"prompt: {values['prompt']}\n" in block
    await world.settled()
    assert draws(world) == 1


async def test_a_long_text_comes_back_as_a_file(world: World) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job)
    tale = "word " * 700 + "```"
    result = await world.alice.submit_modal(form, changed(form, prompt=tale))
    assert "at most 2,000 characters" in said(result)
    assert result.response is not None
    (file,) = result.response.attachments
    assert f"prompt: {tale}" in (await file.read()).decode()


async def test_hostile_text_stays_in_its_block(world: World) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job)
    answer = said(
        await world.alice.submit_modal(form, changed(form, prompt="```@everyone --cfg x", guidance="@here`"))
    )
    assert answer.count("```") == 2
    assert "@here" not in answer.split("```")[0]


async def test_a_full_queue_gives_the_words_back(world: World) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job, by=world.bob)
    for _ in range(5):
        await world.bob.slash(world.channel, "imagine", prompt="more", count=4)
    answer = said(await world.bob.submit_modal(form, changed(form, prompt="a long tale")))
    assert "already have 20 pictures waiting" in answer
    assert "prompt: a long tale" in answer


async def test_a_picture_that_was_deleted_meanwhile(world: World) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job)

    def forget() -> None:
        world.sql("DELETE FROM images")
        world.sql("DELETE FROM jobs")

    await world.restart(meanwhile=forget)
    answer = said(await world.alice.submit_modal(form, changed(form, prompt="a long tale")))
    assert "not known here any more" in answer
    assert "prompt: a long tale" in answer


async def test_a_server_that_forbade_it_meanwhile(world: World) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job, by=world.bob)
    await world.studio.guilds.set_remix_others(world.env.guild.id, False)
    assert "only the person who made" in said(await world.bob.submit_modal(form, changed(form)))
    await world.settled()
    assert draws(world) == 1


async def test_slow_records_are_said_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await drawn(world)

    async def slow(job_id: str) -> Any:
        await asyncio.sleep(30)

    monkeypatch.setattr(world.studio, "job", slow)
    monkeypatch.setattr("bot.chat.remixing.OPEN_SECONDS", 0.05)
    assert said(await press(world, "remix", job)) == "The form could not be opened in time: press again."


async def test_records_in_trouble_are_one_sentence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await drawn(world)

    async def locked(job_id: str) -> Any:
        raise RegistryBusy

    monkeypatch.setattr(world.studio, "job", locked)
    assert "try again in a minute" in said(await press(world, "remix", job))


async def test_too_late_for_discord_is_no_error(world: World, caplog: pytest.LogCaptureFixture) -> None:
    job = await drawn(world)
    world.env.inject_error("POST", "/interactions/*/*/callback", status=404, code=10062)
    result = await press(world, "remix", job)
    assert result.modal is None
    assert "could not be opened" in caplog.text


# ── any message's pictures ──


async def send(world: World, *files: tuple[str, bytes], by: Any = None) -> discord.Message:
    sent = await (by or world.bob).send(world.channel, "look", attachments=files)
    return next(m for m in world.channel.history() if m.id == sent.id)


async def test_somebody_elses_picture(world: World) -> None:
    message = await send(world, ("../../cat \u202egnp.exe", b"MZ"), ("notes.txt", b"x"), ("cat.png", png()))
    form = await world.alice.context_menu(world.channel, "Remix", message)
    assert form.modal is not None
    assert form.modal["custom_id"] == f"atelier:remix-of:{world.channel.id}:{message.id}"
    await world.alice.submit_modal(form, changed(form, prompt="a dog"))
    remix, draw = await asked(world)
    assert (draw.request.prompt, draw.request.strength) == ("a dog", MEDIUM_STRENGTH)
    assert (remix.kind, remix.foreign_start) == (JobKind.REMIX, True)
    assert remix.origin == Origin(None, 0, world.env.guild.id, world.channel.id, message.id)
    with Image.open(world.folder / (remix.request.init_image or "")) as start:
        assert start.size == (80, 80)


async def test_somebody_elses_picture_keeps_its_shape_and_its_words(world: World) -> None:
    """As in a reply. The words are in a PNG that a program of this kind made."""
    buffer = io.BytesIO()
    info = PngInfo()
    info.add_text("parameters", "a lighthouse\nSteps: 20, Sampler: DDIM, CFG scale: 7, Seed: 1, Size: 64x128")
    Image.new("RGB", (64, 128), "blue").save(buffer, "PNG", pnginfo=info)
    message = await send(world, ("light.png", buffer.getvalue()))
    form = await world.alice.context_menu(world.channel, "Remix", message)
    await world.alice.submit_modal(form, changed(form, prompt=""))
    _, draw = await asked(world)
    assert draw.request.prompt == "a lighthouse"
    assert draw.request.width is not None
    assert draw.request.height is not None
    assert draw.request.width < draw.request.height


async def test_one_of_somebody_elses_pictures(world: World) -> None:
    message = await send(world, ("a.png", png("red")), ("b.png", png("blue")))
    form = await world.alice.context_menu(world.channel, "Remix", message)
    assert fields(form)["picture"] == ["0", "1"]
    await world.alice.submit_modal(form, changed(form, prompt="a dog", picture=["1"]))
    remix, _ = await asked(world)
    with Image.open(world.folder / (remix.request.init_image or "")) as start:
        assert start.convert("RGB").getpixel((0, 0)) == (0, 0, 255)


async def test_our_own_message_shows_its_recipe(world: World) -> None:
    job = await drawn(world)
    form = await world.bob.context_menu(world.channel, "Remix", message_of(world, job))
    assert form.modal is not None
    assert form.modal["custom_id"] == f"atelier:remix:{job.id}:0"
    assert fields(form)["prompt"] == "a red apple"


async def test_of_our_own_message_what_it_shows_is_offered(world: World) -> None:
    job = await drawn(world, count=3)
    stored = world.env.backend.get_message(world.channel.id, job.message_id or 0)
    del stored.attachments[0]
    form = await world.bob.context_menu(world.channel, "Remix", message_of(world, job))
    assert form.modal is not None
    assert form.modal["custom_id"] == f"atelier:remix:{job.id}:1"
    assert fields(form)["picture"] == ["1", "2"]


async def test_a_preview_is_no_picture_yet(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple", steps=50)
    await world.drawing()
    world.worker.step()
    await world.settled()
    await world.env.advance_time(10)
    await world.until(lambda: bool(world.message.attachments))
    assert "has no picture" in said(await world.alice.context_menu(world.channel, "Remix", world.message))


async def test_a_message_without_pictures(world: World) -> None:
    message = await send(world, ("notes.txt", b"x"))
    assert said(await world.alice.context_menu(world.channel, "Remix", message)) == (
        "That message has no picture: use Apps → Remix on one that has."
    )


async def test_a_file_that_is_no_picture_gives_the_words_back(world: World) -> None:
    message = await send(world, ("cat.png", b"MZ not a picture"))
    form = await world.alice.context_menu(world.channel, "Remix", message)
    answer = said(await world.alice.submit_modal(form, changed(form, prompt="a long tale")))
    assert "prompt: a long tale" in answer
    await world.settled()
    assert draws(world) == 0


async def test_somebody_elses_picture_where_that_is_forbidden(world: World) -> None:
    await world.studio.guilds.set_remix_others(world.env.guild.id, False)
    message = await send(world, ("cat.png", png()))
    assert "only the person who made" in said(await world.alice.context_menu(world.channel, "Remix", message))
    assert (await world.bob.context_menu(world.channel, "Remix", message)).modal is not None


def censor(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the message-content intent Discord empties other people's messages in REST answers too.

    https://docs.discord.com/developers/events/gateway#message-content-intent; simcord does so at the gateway only.
    """
    plain = world.bot.http.get_message

    async def get_message(channel_id: int, message_id: int) -> Any:
        return {
            **await plain(channel_id, message_id),
            "content": "",
            "attachments": [],
            "embeds": [],
            "components": [],
        }

    monkeypatch.setattr(world.bot.http, "get_message", get_message)


@pytest.mark.parametrize("intent", ["on", "off"])
async def test_after_a_restart_the_message_is_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch, intent: str
) -> None:
    message = await send(world, ("cat.png", png()))
    form = await world.alice.context_menu(world.channel, "Remix", message)
    await world.restart()
    if intent == "off":
        censor(world, monkeypatch)
    before = world.calls("GET", rf"/messages/{message.id}$")
    answer = said(await world.alice.submit_modal(form, changed(form, prompt="a dog")))
    assert world.calls("GET", rf"/messages/{message.id}$") == before + 1
    if intent == "on":
        await asked(world)
    else:  # Discord leaves its files out
        assert "use Apps → Remix on its message again" in answer


async def test_a_message_that_is_gone_after_a_restart(world: World) -> None:
    message = await send(world, ("cat.png", png()))
    form = await world.alice.context_menu(world.channel, "Remix", message)
    await world.restart()
    world.env.inject_error("GET", f"/channels/*/messages/{message.id}", status=404, code=10008)
    answer = said(await world.alice.submit_modal(form, changed(form, prompt="a long tale")))
    assert answer.startswith("I can't see that picture any more: use Apps → Remix on its message again.")
    assert "prompt: a long tale" in answer


@pytest.mark.parametrize("intent", ["on", "off"])
async def test_an_expired_link_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch, intent: str) -> None:
    if intent == "off":
        censor(world, monkeypatch)
    message = await send(world, ("cat.png", png()))
    form = await world.alice.context_menu(world.channel, "Remix", message)
    await later(world, monkeypatch, 48)
    cdn, before = world.env.backend.cdn.get, world.calls("GET", rf"/messages/{message.id}$")

    def get(url: str) -> bytes | None:
        return cdn(url) if world.calls("GET", rf"/messages/{message.id}$") > before else None

    monkeypatch.setattr(world.env.backend.cdn, "get", get)
    answer = said(await world.alice.submit_modal(form, changed(form, prompt="a dog")))
    assert world.calls("GET", rf"/messages/{message.id}$") == before + 1
    if intent == "on":
        await asked(world)
    else:
        assert "use Apps → Remix on its message again" in answer
        assert "prompt: a dog" in answer


@pytest.mark.parametrize("remembered", [True, False])
async def test_a_message_of_another_channel_is_not_reached_by_its_id(world: World, remembered: bool) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job, by=world.bob)
    secret = world.env.guild.create_text_channel("secret")
    shown, world.channel = world.channel, secret
    message = await send(world, ("cat.png", png()), by=world.alice)
    world.channel = shown
    if remembered:
        world.bot.seen_messages.keep(message)
    form._interaction.modal["custom_id"] = f"atelier:remix-of:{secret.id}:{message.id}"  # type: ignore
    assert "I can't see that picture" in said(await world.bob.submit_modal(form, changed(form)))
    await world.settled()
    assert draws(world) == 1


async def test_a_forged_form_reaches_no_job_elsewhere(world: World) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job, by=world.bob)
    shown, world.channel = world.channel, world.env.guild.create_text_channel("secret")
    private = await drawn(world, prompt="a secret")
    world.channel = shown
    form._interaction.modal["custom_id"] = f"atelier:remix:{private.id}:0"  # type: ignore
    assert "not known here any more" in said(await world.bob.submit_modal(form, changed(form)))


async def test_forms_of_others_are_left_alone(world: World) -> None:
    job = await drawn(world)
    form = await press(world, "remix", job)
    form._interaction.modal["custom_id"] = "atelier:else:1"  # type: ignore
    result = await world.alice.submit_modal(form, changed(form))
    assert not result.acknowledged


def test_only_the_latest_messages_are_remembered() -> None:
    seen = SeenMessages()

    def message(message_id: int) -> discord.Message:
        return cast("discord.Message", SimpleNamespace(id=message_id, channel=SimpleNamespace(id=1)))

    for message_id in range(700):
        seen.keep(message(message_id))
    seen.keep(message(250))  # looked at once more
    for message_id in range(700, 1100):
        seen.keep(message(message_id))
    remembered = [message_id for message_id in range(1100) if seen.get(1, message_id)]
    assert len(remembered) == 500
    assert 250 in remembered
    assert 1099 in remembered
