"""Apps → Remix on messages of all kinds, up to the job that comes of it. (The form itself: test_remix_form.)"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import discord
from PIL import Image
from simcord.backend.serializers import channel_payload

from bot.job import JobKind, Origin

if TYPE_CHECKING:
    from conftest import World
    from simcord.actors import MemberActor
    from simcord.results import InteractionResult

    from generation.request import ImageRequest


def png(colour: str = "teal") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (80, 60), colour).save(out, "PNG")
    return out.getvalue()


async def picture(world: World, **options: Any) -> discord.Message:
    await world.alice.slash(world.channel, "imagine", **{"prompt": "a red apple", **options})
    await world.drawing()
    world.worker.finish()
    await world.until(lambda: world.messages()[-1].attachments)
    await world.settled()
    return world.messages()[-1]


async def opened(world: World, who: MemberActor, message: discord.Message) -> InteractionResult:
    return await who.context_menu(world.channel, "Remix", message)


async def refused(world: World, who: MemberActor, message: discord.Message) -> str:
    result = await opened(world, who, message)
    assert result.modal is None
    assert result.ephemeral
    assert result.response is not None
    return result.response.content


async def request_drawn(world: World) -> ImageRequest:
    await world.drawing()
    assert world.worker.current is not None
    return world.worker.current.request


def colour_of(path: str | None) -> object:
    assert path is not None
    with Image.open(path) as image:
        return image.convert("RGB").getpixel((0, 0))


async def test_a_picture_of_ours_with_its_recipe(world: World) -> None:
    apple = await picture(world, negative_prompt="blur", guidance=3, seed=41)
    form = await opened(world, world.bob, apple)
    await world.bob.submit_modal(form, {"prompt": "a green apple", "negative prompt": "blur"})
    request = await request_drawn(world)
    assert (request.prompt, request.negative_prompt, request.guidance_scale) == ("a green apple", "blur", 3)
    found = await world.studio.of_message(world.messages()[-1].id)
    assert found is not None
    job = found[0]
    assert (job.kind, job.member_id, job.foreign_start) == (JobKind.REMIX, world.bob.id, False)
    assert job.origin is not None
    assert job.origin.message_id == apple.id


async def test_somebodys_picture_without_the_intent(world: World) -> None:
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png("navy"))])
    form = await opened(world, world.bob, photo)
    await world.bob.submit_modal(form, {"prompt": "a knitted cat"})
    request = await request_drawn(world)
    assert (request.prompt, colour_of(request.init_image)) == ("a knitted cat", (0, 0, 128))
    found = await world.studio.of_message(world.messages()[-1].id)
    assert found is not None
    assert found[0].foreign_start
    assert found[0].origin == Origin(None, 0, world.env.guild.id, world.channel.id, photo.id)


async def test_a_forwarded_picture(world: World) -> None:
    lounge = world.env.guild.create_text_channel("lounge")
    photo = await world.alice.send(lounge, "my cat", attachments=[("cat.png", png("navy"))])
    forwarded = await world.alice.forward(photo, world.channel)
    form = await opened(world, world.bob, forwarded)
    await world.bob.submit_modal(form, {"prompt": "a knitted cat"})
    assert colour_of((await request_drawn(world)).init_image) == (0, 0, 128)


async def test_a_forwarded_picture_of_ours_shows_its_recipe(world: World) -> None:
    """The job is of another channel: who sees the forwarded message may use it all the same."""
    apple = await picture(world, negative_prompt="blur", guidance=3, count=2)
    world.channel = world.env.guild.create_text_channel("lounge")
    forwarded = await world.alice.forward(apple, world.channel)
    form = await opened(world, world.bob, forwarded)
    values = {label["component"]["custom_id"]: label["component"].get("value") for label in form.modal["components"]}  # pyright: ignore[reportOptionalSubscript]
    assert values == {
        "picture": None,
        "prompt": "a red apple",
        "negative prompt": "blur",
        "guidance": "3",
        "strength": "0.6",
    }
    await world.bob.submit_modal(form, {"prompt": "a green apple", "negative prompt": "fog", "picture": ["1"]})
    request = await request_drawn(world)
    assert (request.prompt, request.negative_prompt, request.guidance_scale) == ("a green apple", "fog", 3)
    job = await world.studio.job(world.worker.current.job)  # pyright: ignore[reportOptionalMemberAccess]
    assert not job.foreign_start
    assert job.origin is not None
    assert (job.origin.message_id, job.origin.index) == (apple.id, 1)


async def test_what_is_withheld_here_is_not_reached_by_forwarding_it(world: World) -> None:
    """From an age-restricted channel, which simcord does not know: the gateway's event says it."""
    backend = world.env.backend
    payload = dict(channel_payload(backend, backend.get_channel(world.channel.id)))
    backend.emit("CHANNEL_UPDATE", {**payload, "nsfw": True})
    world.worker.nsfw = 0.9
    hidden = await picture(world)
    assert (await opened(world, world.bob, hidden)).modal is not None
    world.channel = world.env.guild.create_text_channel("lounge")
    forwarded = await world.alice.forward(hidden, world.channel)
    assert "no picture" in await refused(world, world.bob, forwarded)


async def test_a_message_without_a_picture_is_one_sentence(world: World) -> None:
    words = await world.alice.send(world.channel, "hello")
    text = await world.alice.send(world.channel, "notes", attachments=[("notes.txt", b"hello")])
    for message in (words, text):
        said = await refused(world, world.bob, message)
        assert "no picture" in said
        assert "\n" not in said


async def test_the_servers_switch_counts_here_too(world: World) -> None:
    apple = await picture(world)
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png())])
    await world.studio.guilds.set_remix_others(world.env.guild.id, False)
    for message in (apple, photo):
        assert "only the person who made a picture" in await refused(world, world.bob, message)
        assert (await opened(world, world.alice, message)).modal is not None


async def test_a_switch_that_is_turned_while_the_form_is_open_counts(world: World) -> None:
    apple = await picture(world)
    form = await opened(world, world.bob, apple)
    await world.studio.guilds.set_remix_others(world.env.guild.id, False)
    result = await world.bob.submit_modal(form, {"prompt": "a green apple"})
    assert result.response is not None
    assert result.response.content.startswith("In this server only the person who made")
    assert world.studio.status().running == 0


async def test_it_counts_for_somebodys_own_picture_too(world: World) -> None:
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png())])
    form = await opened(world, world.bob, photo)
    await world.studio.guilds.set_remix_others(world.env.guild.id, False)
    result = await world.bob.submit_modal(form, {"prompt": "a knitted cat"})
    assert result.response is not None
    assert result.response.content.startswith("In this server only the person who made")
    assert world.studio.status().running == 0


async def test_it_works_wherever_a_member_has_installed_it(world: World) -> None:
    """Contexts 0-2: servers, the bot's direct messages, others' messages. Installs 0-1: a server's, a member's."""
    registered = world.env.backend.find_command("Remix", None, type=discord.AppCommandType.message.value)
    assert registered is not None
    assert sorted(registered["contexts"]) == [0, 1, 2]
    assert sorted(registered["integration_types"]) == [0, 1]
