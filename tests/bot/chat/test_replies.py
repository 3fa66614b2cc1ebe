"""Remix by replying: what is one, what never is, what it is made from, and what can go wrong."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import discord
import msgspec
import pytest
from PIL import Image
from simcord.backend.models import AllowedMentions, Overwrite
from simcord.enums import OverwriteType

from bot.chat.replies import HINT_SECONDS
from bot.chat.requests import MEDIUM_STRENGTH
from bot.errors import RegistryBusy
from bot.job import Job, JobKind, JobState, Origin
from generation.recipe import Recipe, save_png
from generation.request import ImageRequest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import World
    from simcord.actors import MemberActor
    from simcord.builders import ChannelHandle

SENDS = "/channels/*/messages"


def png(colour: str = "teal", size: tuple[int, int] = (80, 60)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def me(world: World) -> str:
    """A mention of the bot in a text."""
    return f"<@{world.env.backend.bot_user.id}>"


async def picture(world: World, prompt: str = "a red apple", **options: Any) -> discord.Message:
    """One of Alice's, drawn and posted."""
    await world.alice.slash(world.channel, "imagine", prompt=prompt, **options)
    await world.drawing()
    world.worker.finish()
    await world.until(lambda: world.messages()[-1].attachments)
    await world.settled()
    return world.messages()[-1]


async def reply(
    world: World,
    who: MemberActor,
    text: str,
    to: discord.Message,
    *files: bytes,
    channel: ChannelHandle | None = None,
) -> list[discord.Message]:
    """What the bot says to it in the channel."""
    before = {message.id for message in world.messages()}
    attachments = [(f"mine-{number}.png", data) for number, data in enumerate(files, 1)]
    await who.send(channel or world.channel, text, reply_to=to, attachments=attachments)
    await world.settled()
    return [message for message in world.messages() if message.id not in before]


async def request_drawn(world: World) -> ImageRequest:
    await world.drawing()
    assert world.worker.current is not None
    return world.worker.current.request


async def job_of(world: World, message: discord.Message) -> Job:
    found = await world.studio.of_message(message.id)
    assert found is not None
    return found[0]


def colour_of(path: str | None) -> tuple[int, ...]:
    assert path is not None
    with Image.open(path) as image:
        pixel = image.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


def nothing_asked(world: World) -> bool:
    status = world.studio.status()
    return status.queued == 0 and status.running == 0


async def read_everything(world: World) -> None:
    """The operator has switched on the message-content intent."""
    world.settings = world.settings.with_changes(message_content="on")
    await world.restart()


async def mark_studio(world: World) -> None:
    await world.studio.guilds.set_studio_channel(world.env.guild.id, world.channel.id, True)


# ── what is a remix, and what it is made from ──


async def test_a_mention_and_words_redraw_the_picture_with_its_own_settings(world: World) -> None:
    apple = await picture(
        world, "a red apple", negative_prompt="blur", guidance=3, steps=7, size="64x96", seed=41, count=1
    )
    (answer,) = await reply(world, world.bob, f"{me(world)} a green apple", apple)

    request = await request_drawn(world)
    assert request.prompt == "a green apple"
    assert (request.negative_prompt, request.guidance_scale, request.num_inference_steps) == ("blur", 3, 7)
    assert (request.width, request.height, request.count) == (64, 96, 1)
    assert request.strength == MEDIUM_STRENGTH
    assert request.seed != 41
    drawn = (await world.studio.of_message(apple.id) or (None, []))[1][0]
    assert colour_of(request.init_image) == colour_of(str(drawn.path))
    job = await job_of(world, answer)
    assert (job.kind, job.member_id, job.foreign_start) == (JobKind.REMIX, world.bob.id, False)
    assert job.origin == Origin(drawn.job_id, 0, world.env.guild.id, world.channel.id, apple.id)


async def test_the_answer_is_a_reply_that_pings_nobody(world: World) -> None:
    apple = await picture(world)
    (answer,) = await reply(world, world.bob, f"{me(world)} green", apple)
    asked = next(m for m in world.channel.history() if m.author.id == world.bob.id)
    assert answer.reference is not None
    assert answer.reference.message_id == asked.id
    assert "⏳ next in the queue" in answer.content
    stored = world.env.backend.get_message(world.channel.id, answer.id)
    assert not stored.ping_user_ids
    await world.drawing()
    world.worker.finish()
    job = await job_of(world, answer)
    await world.wait_for_state(JobState.DELIVERED, job.id)
    assert world.messages()[-1].attachments


async def test_no_words_are_the_same_words_with_a_new_seed(world: World) -> None:
    apple = await picture(world, "a red apple", seed=41)
    await reply(world, world.bob, f"  {me(world)} ", apple)
    request = await request_drawn(world)
    assert request.prompt == "a red apple"
    assert request.seed != 41


async def test_flags_and_choices_work_in_a_reply(world: World) -> None:
    apple = await picture(world, "a red apple", negative_prompt="blur")
    text = "a {green, blue} apple --no text --cfg 5 --seed 9 --steps 6 --strength 0.5 --size 64x128 --count 2"
    await reply(world, world.bob, f"{text} {me(world)}", apple)
    request = await request_drawn(world)
    assert request.prompt == ["a green apple", "a blue apple"]
    assert (request.negative_prompt, request.guidance_scale, request.seed) == ("text", 5, 9)
    assert (request.num_inference_steps, request.strength, request.count) == (6, 0.5, 2)
    assert (request.width, request.height) == (64, 128)


async def test_only_flags_keep_the_words(world: World) -> None:
    apple = await picture(world, "a red apple")
    await reply(world, world.bob, f"{me(world)} --cfg 5", apple)
    request = await request_drawn(world)
    assert (request.prompt, request.guidance_scale) == ("a red apple", 5)


async def test_a_picture_in_the_reply_is_the_start_and_needs_no_mention(world: World) -> None:
    apple = await picture(world, "a red apple", negative_prompt="blur", size="64x96")
    (answer,) = await reply(world, world.bob, "", apple, png("navy", (90, 60)))
    request = await request_drawn(world)
    assert colour_of(request.init_image) == (0, 0, 128)
    assert (request.prompt, request.negative_prompt) == ("a red apple", "blur")
    assert (request.width, request.height) == (96, 64), "of its own shape"
    job = await job_of(world, answer)
    asked = next(m for m in world.channel.history() if m.author.id == world.bob.id)
    assert job.foreign_start
    assert job.origin == Origin(None, 0, world.env.guild.id, world.channel.id, asked.id)


async def test_what_began_as_somebodys_picture_stays_so(world: World) -> None:
    apple = await picture(world)
    (second,) = await reply(world, world.bob, "", apple, png())
    await world.drawing()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, (await job_of(world, second)).id)
    await world.settled()
    (third,) = await reply(world, world.bob, f"{me(world)} blue", world.messages()[-1])
    assert (await job_of(world, third)).foreign_start


async def test_of_several_pictures_in_a_reply_the_first_or_the_numbered_one(world: World) -> None:
    apple = await picture(world)
    await reply(world, world.bob, "", apple, png("navy"), png("maroon"))
    assert colour_of((await request_drawn(world)).init_image) == (0, 0, 128)
    world.worker.finish()
    await world.settled()
    await reply(world, world.bob, "#2 in the rain", apple, png("navy"), png("maroon"))
    request = await request_drawn(world)
    assert colour_of(request.init_image) == (128, 0, 0)
    assert request.prompt == "in the rain"


async def test_a_number_chooses_one_of_our_pictures(world: World) -> None:
    three = await picture(world, "{a cat, a dog, a cow}", seed=7)
    (answer,) = await reply(world, world.bob, f"{me(world)} #2 --cfg 4", three)
    request = await request_drawn(world)
    assert (request.prompt, request.guidance_scale) == ("a dog", 4)
    job = await job_of(world, answer)
    assert job.origin is not None
    assert job.origin.index == 1
    (refusal,) = await reply(world, world.bob, f"{me(world)} #4 blue", three)
    assert refusal.content == "There is no picture #4 in that message: say one of #1, #2, #3."


async def test_a_number_under_a_single_picture_is_text(world: World) -> None:
    apple = await picture(world)
    await reply(world, world.bob, f"{me(world)} #2 pencil", apple)
    assert (await request_drawn(world)).prompt == "#2 pencil"


# ── what never is ──


@pytest.mark.parametrize("text", ["nice!", "a blue one would be great --cfg 7", "#2"])
async def test_words_under_a_picture_cost_nobody_anything(world: World, text: str) -> None:
    apple = await picture(world)
    assert await reply(world, world.bob, text, apple) == []
    assert nothing_asked(world)


async def test_the_ping_of_a_reply_is_no_mention(world: World) -> None:
    apple = await picture(world)
    await world.bob.send(world.channel, "lovely", reply_to=apple)
    last = world.channel.last_message
    assert last is not None
    assert [user.id for user in last.mentions] == [world.env.backend.bot_user.id]
    await world.settled()
    assert nothing_asked(world)


async def test_messages_that_are_no_replies(world: World) -> None:
    await world.bob.send(world.channel, f"{me(world)} a cat", attachments=[("a.png", png())])
    await world.settled()
    assert world.messages() == []


async def test_bots_and_webhooks_are_not_answered(world: World) -> None:
    apple = await picture(world)
    robot = world.env.guild.add_member(world.env.create_user("robot", bot=True))
    assert await reply(world, robot, f"{me(world)} again", apple) == []
    hook = world.env.guild.create_webhook(world.channel)
    await hook.send(f"{me(world)} again", attachments=[("a.png", png())])
    await world.settled()
    assert nothing_asked(world)


@pytest.mark.parametrize("reads_everything", [False, True])
async def test_a_picture_between_members_needs_a_mention(world: World, reads_everything: bool) -> None:
    if reads_everything:
        await read_everything(world)
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png())])
    assert await reply(world, world.bob, "so cute", photo) == []
    assert await reply(world, world.bob, "look at mine", photo, png()) == []
    assert nothing_asked(world)


async def test_talking_about_the_bot_is_not_answered(world: World) -> None:
    await read_everything(world)
    words = await world.alice.send(world.channel, "which bot is this?")
    assert await reply(world, world.bob, f"it is {me(world)}, ask it", words) == []
    assert nothing_asked(world)


async def test_a_file_that_is_no_picture_is_none(world: World) -> None:
    apple = await picture(world)
    await world.bob.send(world.channel, "notes", reply_to=apple, attachments=[("notes.txt", b"hello")])
    await world.settled()
    assert nothing_asked(world)


async def test_a_message_of_ours_without_a_picture_is_none(world: World) -> None:
    apple = await picture(world)
    (refusal,) = await reply(world, world.bob, f"{me(world)} --wat 3", apple)
    assert await reply(world, world.bob, "sorry", refusal, png()) == []
    assert nothing_asked(world)


# ── somebody else's picture ──


async def test_somebody_elses_picture_by_a_mention(world: World) -> None:
    await read_everything(world)
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png("navy", (90, 60)))])
    (answer,) = await reply(world, world.bob, f"{me(world)} a knitted cat", photo)
    request = await request_drawn(world)
    assert colour_of(request.init_image) == (0, 0, 128)
    assert (request.prompt, request.guidance_scale, request.num_inference_steps) == ("a knitted cat", 7.5, None)
    assert (request.width, request.height) == (96, 64)
    job = await job_of(world, answer)
    assert job.foreign_start
    assert job.origin == Origin(None, 0, world.env.guild.id, world.channel.id, photo.id)


async def test_without_words_only_the_picture_counts(world: World) -> None:
    await read_everything(world)
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png())])
    await reply(world, world.bob, me(world), photo)
    assert (await request_drawn(world)).prompt == ""


RECIPE = Recipe(
    prompt="a lighthouse",
    negative_prompt="fog",
    guidance_scale=4.0,
    num_inference_steps=9,
    seed=5,
    width=64,
    height=64,
    scheduler="euler_a",
    model_name="fake",
    model_hash="0" * 10,
)


async def test_a_recipe_in_the_file_is_used(world: World, tmp_path: Path) -> None:
    await read_everything(world)
    file = tmp_path / "lighthouse.png"
    save_png(Image.new("RGB", (64, 64), "navy"), file, RECIPE)
    photo = await world.alice.send(world.channel, "", attachments=[("l.png", file.read_bytes())])
    (answer,) = await reply(world, world.bob, me(world), photo)
    request = await request_drawn(world)
    assert (request.prompt, request.negative_prompt) == ("a lighthouse", "fog")
    assert (request.guidance_scale, request.num_inference_steps, request.scheduler) == (4, 9, "euler_a")
    assert request.seed != 5
    assert (await job_of(world, answer)).foreign_start


async def test_words_without_a_picture_of_another_model_lend_no_numbers(world: World, tmp_path: Path) -> None:
    await read_everything(world)
    file = tmp_path / "lighthouse.png"
    other = msgspec.structs.replace(RECIPE, model_hash="f" * 10, num_inference_steps=900, guidance_scale=float("nan"))
    save_png(Image.new("RGB", (64, 64), "navy"), file, other)
    photo = await world.alice.send(world.channel, "", attachments=[("l.png", file.read_bytes())])
    await reply(world, world.bob, me(world), photo)
    request = await request_drawn(world)
    assert (request.prompt, request.guidance_scale, request.num_inference_steps) == ("a lighthouse", 7.5, None)


async def test_a_forwarded_picture_of_ours_keeps_its_recipe(world: World) -> None:
    apple = await picture(world, "a red apple", negative_prompt="blur")
    lounge = world.env.guild.create_text_channel("lounge")
    forwarded = await world.alice.forward(apple, lounge)
    await world.bob.send(lounge, f"{me(world)} --cfg 4", reply_to=forwarded)
    request = await request_drawn(world)
    assert (request.prompt, request.negative_prompt, request.guidance_scale) == ("a red apple", "blur", 4)
    job = await world.studio.job(world.worker.current.job)  # pyright: ignore[reportOptionalMemberAccess]
    assert not job.foreign_start
    assert job.channel_id == lounge.id


async def test_a_forwarded_picture_of_somebody_that_is_hidden_is_shown_the_way(world: World) -> None:
    lounge = world.env.guild.create_text_channel("lounge")
    photo = await world.alice.send(lounge, "my cat", attachments=[("cat.png", png("navy"))])
    forwarded = await world.alice.forward(photo, world.channel)
    (hint,) = await reply(world, world.bob, f"{me(world)} knitted", forwarded)
    assert "Apps → Remix" in hint.content


async def test_a_forwarded_picture_of_somebody(world: World) -> None:
    await read_everything(world)
    lounge = world.env.guild.create_text_channel("lounge")
    photo = await world.alice.send(lounge, "my cat", attachments=[("cat.png", png("navy"))])
    forwarded = await world.alice.forward(photo, world.channel)
    (answer,) = await reply(world, world.bob, f"{me(world)} knitted", forwarded)
    assert colour_of((await request_drawn(world)).init_image) == (0, 0, 128)
    assert (await job_of(world, answer)).foreign_start


# ── studio channels, threads, direct messages ──


async def test_in_a_studio_every_reply_to_a_picture_is_a_remix(world: World) -> None:
    await mark_studio(world)
    apple = await picture(world)
    await reply(world, world.bob, "in green", apple)
    assert (await request_drawn(world)).prompt == "in green"


async def test_in_a_studio_words_under_words_are_only_words(world: World) -> None:
    await read_everything(world)
    await mark_studio(world)
    said = await world.alice.send(world.channel, "hello")
    assert await reply(world, world.bob, "hi", said) == []
    assert nothing_asked(world)


async def test_in_a_studio_somebodys_picture_needs_no_mention(world: World) -> None:
    await read_everything(world)
    await mark_studio(world)
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png("navy"))])
    await reply(world, world.bob, "knitted", photo)
    request = await request_drawn(world)
    assert (request.prompt, colour_of(request.init_image)) == ("knitted", (0, 0, 128))


async def test_a_thread_in_a_studio_is_studio(world: World) -> None:
    await mark_studio(world)
    world.env.backend.create_thread(world.channel.id, "apples", world.alice.id)
    (thread,) = world.channel.threads
    world.channel, parent = thread, world.channel
    apple = await picture(world)
    assert apple.channel.id != parent.id
    (answer,) = await reply(world, world.bob, "in green", apple)
    assert (await request_drawn(world)).prompt == "in green"
    assert answer.channel.id == thread.id


async def test_direct_messages_are_a_studio(world: World) -> None:
    user = world.alice.user
    await user.slash("imagine", prompt="a red apple")
    await world.drawing()
    world.worker.finish()
    await world.settled()
    world.channel = user.dm_channel
    apple = world.messages()[-1]
    assert apple.attachments
    reference = {"channel_id": str(user.dm_channel.id), "message_id": str(apple.id)}
    await user.send_dm("in green", reference=reference)
    request = await request_drawn(world)
    assert request.prompt == "in green"
    job = await job_of(world, world.messages()[-1])
    assert (job.guild_id, job.channel_id, job.member_id) == (None, user.dm_channel.id, user.id)


# ── what Discord hides ──


async def test_an_unread_reply_in_a_studio_is_explained_once_an_hour(world: World) -> None:
    await mark_studio(world)
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png())])
    (hint,) = await reply(world, world.bob, "knitted", photo)
    assert "Apps → Remix" in hint.content
    assert "CENSORED" in world.env.transcript()
    assert await reply(world, world.bob, "knitted!", photo) == []
    (other,) = await reply(world, world.alice, "knitted!", photo)
    assert other.content == hint.content
    await world.env.advance_time(HINT_SECONDS + 1)
    assert len(await reply(world, world.bob, "knitted?", photo)) == 1
    assert nothing_asked(world)


async def test_outside_of_a_studio_an_unread_reply_is_left_alone(world: World) -> None:
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png())])
    assert await reply(world, world.bob, "knitted", photo) == []


async def test_who_mentions_the_bot_under_a_hidden_picture_is_shown_the_way(world: World) -> None:
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png())])
    (hint,) = await reply(world, world.bob, f"{me(world)} knitted", photo)
    assert "Apps → Remix" in hint.content
    assert nothing_asked(world)


async def test_a_reply_without_ping_to_ours_in_a_studio_is_not_taken_for_an_empty_one(world: World) -> None:
    await mark_studio(world)
    apple = await picture(world)
    reference = {"channel_id": str(world.channel.id), "message_id": str(apple.id)}
    before = len(world.messages())
    world.env.backend.create_message(
        world.channel.id,
        world.bob.id,
        "in green",
        reference=reference,
        allowed_mentions=AllowedMentions(replied_user=False),  # the composer's "@ off"
    )
    await world.settled()
    (hint,) = world.messages()[before:]
    assert "doesn't ping me" in hint.content
    assert nothing_asked(world)


# ── who may ──


async def test_the_servers_switch_is_for_the_pictures_of_others(world: World) -> None:
    apple = await picture(world)
    await world.studio.guilds.set_remix_others(world.env.guild.id, False)
    (refusal,) = await reply(world, world.bob, f"{me(world)} green", apple)
    assert refusal.content == "In this server only the person who made a picture can make something of it."
    assert nothing_asked(world)
    await reply(world, world.alice, f"{me(world)} green", apple)
    assert (await request_drawn(world)).prompt == "green"


async def test_the_servers_switch_is_for_the_files_of_others_too(world: World) -> None:
    await read_everything(world)
    await world.studio.guilds.set_remix_others(world.env.guild.id, False)
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png())])
    (refusal,) = await reply(world, world.bob, f"{me(world)} green", photo)
    assert "only the person who made" in refusal.content
    await reply(world, world.bob, f"{me(world)} green", photo, png())
    assert (await request_drawn(world)).prompt == "green"


async def test_a_full_queue_is_said_as_by_the_command(world: World) -> None:
    apple = await picture(world)
    for _ in range(5):
        await world.bob.slash(world.channel, "imagine", prompt="many", count=4)
    (refusal,) = await reply(world, world.bob, f"{me(world)} green", apple)
    command = await world.bob.slash(world.channel, "imagine", prompt="more")
    assert command.response is not None
    assert refusal.content == command.response.content
    assert "/cancel" in refusal.content


async def test_blocked_members_are_told_as_by_the_command(world: World) -> None:
    apple = await picture(world)
    await world.studio.members.block(world.env.guild.id, world.bob.id, by=world.alice.id, reason="rude")
    (refusal,) = await reply(world, world.bob, f"{me(world)} green", apple)
    command = await world.bob.slash(world.channel, "imagine", prompt="more")
    assert command.response is not None
    assert refusal.content == command.response.content
    assert "blocked" in refusal.content
    assert nothing_asked(world)


async def test_where_the_bot_may_not_write_it_is_silent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    apple = await picture(world)
    backend = world.env.backend
    deny = discord.Permissions(send_messages=True).value
    backend.set_overwrite(world.channel.id, Overwrite(backend.bot_user.id, OverwriteType.MEMBER, deny=deny))
    caplog.set_level("INFO")
    assert await reply(world, world.bob, f"{me(world)} green", apple) == []
    assert nothing_asked(world)
    assert caplog.text.count("can't post there") == 1
    assert await reply(world, world.bob, "nice", apple) == []
    assert caplog.text.count("can't post there") == 1


async def test_permission_lost_on_the_way_ends_the_job_without_a_loop(world: World) -> None:
    apple = await picture(world)
    world.env.inject_error("POST", SENDS, status=403, code=50013, times=None)
    before = world.calls("POST", "/messages")
    await reply(world, world.bob, f"{me(world)} green", apple)
    await world.until(lambda: nothing_asked(world))
    await world.env.advance_time(60)
    assert world.calls("POST", "/messages") - before <= 2


# ── what can go wrong ──


async def test_an_unknown_flag_is_answered_with_the_nearest_one(world: World) -> None:
    apple = await picture(world)
    (refusal,) = await reply(world, world.bob, f"{me(world)} green --stpes 9", apple)
    assert "--stpes" in refusal.content
    assert "--steps?" in refusal.content
    assert refusal.reference is not None
    assert not world.env.backend.get_message(world.channel.id, refusal.id).ping_user_ids


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"I am a text file.", "This file is not a PNG, JPEG, WebP or GIF picture."),
        (png()[:-30], "This picture is damaged or cut off."),
        (b"", "This file is empty."),
    ],
    ids=["text", "truncated", "empty"],
)
async def test_a_file_that_only_says_it_is_a_picture(world: World, data: bytes, sentence: str) -> None:
    apple = await picture(world)
    (refusal,) = await reply(world, world.bob, "", apple, data)
    assert refusal.content == sentence
    assert nothing_asked(world)


async def test_a_file_that_is_too_large_is_not_downloaded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    apple = await picture(world)
    monkeypatch.setattr("generation.limits.IMAGE_BYTES", 100)
    fetched: list[str] = []
    monkeypatch.setattr(world.env.backend.cdn, "get", fetched.append)
    (refusal,) = await reply(world, world.bob, "", apple, bytes(101))
    assert refusal.content.startswith("Your picture is ")
    assert fetched == []


async def test_a_link_that_has_expired_is_one_sentence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    apple = await picture(world)
    monkeypatch.setattr(world.env.backend.cdn, "get", lambda _url: None)
    (refusal,) = await reply(world, world.bob, "", apple, png())
    assert refusal.content == "I could not download your picture from Discord: attach it again, please."
    assert nothing_asked(world)


async def test_a_link_that_has_expired_is_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discord signs links anew whenever a message is read."""
    await read_everything(world)
    photo = await world.alice.send(world.channel, "my cat", attachments=[("cat.png", png("navy"))])
    get = world.env.backend.cdn.get
    tried: list[str] = []

    def expired_at_first(url: str) -> bytes | None:
        tried.append(url)
        return None if len(tried) == 1 else get(url)

    monkeypatch.setattr(world.env.backend.cdn, "get", expired_at_first)
    before = world.calls("GET", f"/messages/{photo.id}")
    await reply(world, world.bob, f"{me(world)} knitted", photo)
    assert colour_of((await request_drawn(world)).init_image) == (0, 0, 128)
    assert world.calls("GET", f"/messages/{photo.id}") - before == 1


async def test_an_unfinished_picture_has_to_be_waited_for(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    (refusal,) = await reply(world, world.bob, f"{me(world)} green", world.message)
    assert refusal.content == "That picture isn't finished yet: reply to it when it is."
    assert await reply(world, world.bob, "nice", world.messages()[0]) == []


async def test_a_picture_can_be_remixed_as_soon_as_it_is_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = asyncio.Event()
    mark = world.studio.mark_delivered

    async def slowly(*args: Any, **options: Any) -> bool:
        await world.env.external_wait(stored.wait(), reason="a slow disk")
        return await mark(*args, **options)

    monkeypatch.setattr(world.studio, "mark_delivered", slowly)
    apple = await picture(world)
    await reply(world, world.bob, f"{me(world)} green", apple)
    assert (await request_drawn(world)).prompt == "green"
    stored.set()
    await world.settled()


async def test_a_picture_that_was_withheld_is_no_picture(world: World) -> None:
    world.worker.nsfw = 0.9
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    world.worker.finish()
    await world.until(lambda: "not shown" in world.message.content)
    await world.settled()
    (refusal,) = await reply(world, world.bob, f"{me(world)} green", world.message)
    assert refusal.content == "That message has no picture that I could start from."
    assert nothing_asked(world)


async def test_a_withheld_picture_is_not_reached_by_forwarding_it(world: World) -> None:
    """The forwarded message shows no files, as one does whose files Discord hides."""
    world.worker.nsfw = 0.9
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    world.worker.finish()
    await world.until(lambda: "not shown" in world.message.content)
    await world.settled()
    hidden = world.message
    world.channel = world.env.guild.create_text_channel("lounge")
    forwarded = await world.alice.forward(hidden, world.channel)
    (refusal,) = await reply(world, world.bob, f"{me(world)} green", forwarded)
    assert refusal.content == "That message has no picture that I could start from."
    assert nothing_asked(world)


async def test_hostile_text_pings_nobody_and_breaks_nothing(world: World) -> None:
    apple = await picture(world)
    text = f"{me(world)} @everyone **x** <@{world.alice.id}> ||y|| \u202e\u0000 [a](https://evil.example) ```z``` <b>"
    (answer,) = await reply(world, world.bob, text, apple)
    assert "@everyone" not in answer.content
    assert f"<@{world.alice.id}>" not in answer.content
    assert "https://" not in answer.content
    assert "\u202e" not in answer.content
    assert not world.env.backend.get_message(world.channel.id, answer.id).ping_user_ids


async def test_a_very_long_text_is_refused_in_one_sentence(world: World) -> None:
    """Members with Nitro may write 4,000 characters; simcord's may not, so the gateway's event says it."""
    apple = await picture(world)
    caught: list[tuple[str, Any]] = []
    world.env.backend.subscribers.append(lambda event, payload: caught.append((event, payload)))
    await reply(world, world.bob, "nice", apple)
    event, payload = next(one for one in caught if one[0] == "MESSAGE_CREATE")
    before = len(world.messages())
    world.env.backend.emit(event, {**payload, "content": f"{me(world)} {'é' * 3900}"})
    await world.settled()
    (refusal,) = world.messages()[before:]
    assert "3,900" in refusal.content
    assert len(refusal.content) < 300
    assert nothing_asked(world)


async def test_the_same_message_twice_is_one_job(world: World) -> None:
    apple = await picture(world)
    caught: list[tuple[str, Any]] = []
    world.env.backend.subscribers.append(lambda event, payload: caught.append((event, payload)))
    await reply(world, world.bob, f"{me(world)} green", apple)
    event, payload = next(one for one in caught if one[0] == "MESSAGE_CREATE")
    world.env.backend.emit(event, payload)
    await world.settled()
    await world.drawing()
    world.worker.finish()
    await world.settled()
    assert len(world.messages()) == 2
    assert nothing_asked(world)


async def test_the_same_refused_message_twice_is_answered_with_one_nonce(world: World) -> None:
    """simcord knows no nonces; Discord then returns the first message."""
    apple = await picture(world)
    caught: list[tuple[str, Any]] = []
    world.env.backend.subscribers.append(lambda event, payload: caught.append((event, payload)))
    await reply(world, world.bob, f"{me(world)} --wat", apple)
    event, payload = next(one for one in caught if one[0] == "MESSAGE_CREATE")
    world.env.backend.emit(event, payload)
    await world.settled()
    sent: list[Any] = [
        r.json for r in world.env.http_requests if r.method == "POST" and r.path.endswith("/messages")
    ][-2:]
    assert sent[0]["nonce"] == sent[1]["nonce"]
    assert sent[0]["enforce_nonce"] is True
    assert len(sent[0]["nonce"]) <= 25


async def test_without_the_history_it_is_a_plain_message(world: World) -> None:
    """Discord: replying needs the permission to read the history (code 160002)."""
    apple = await picture(world)
    world.env.inject_error("POST", SENDS, status=403, code=160002, times=1)
    (refusal,) = await reply(world, world.bob, f"{me(world)} --wat", apple)
    assert refusal.reference is None
    world.env.inject_error("POST", SENDS, status=403, code=160002, times=1)
    (answer,) = await reply(world, world.bob, f"{me(world)} green", apple)
    assert answer.reference is None
    assert (await request_drawn(world)).prompt == "green"


async def test_a_restart_between_the_reply_and_its_picture(world: World) -> None:
    apple = await picture(world)
    (answer,) = await reply(world, world.bob, f"{me(world)} green", apple)
    await world.drawing()
    await world.restart()
    await world.drawing()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, (await job_of(world, answer)).id)
    await world.settled()
    assert [m.id for m in world.messages()] == [apple.id, answer.id]
    assert world.messages()[-1].attachments


async def test_a_restart_before_the_answer_was_sent(world: World) -> None:
    """The first message fails for as long as the bot lives; the next life sends it as the same reply."""
    apple = await picture(world)
    world.env.inject_error("POST", SENDS, status=503, times=None)
    await world.bob.send(world.channel, f"{me(world)} green", reply_to=apple)
    await asyncio.sleep(0.05)
    await world.restart(meanwhile=world.env.backend.faults.clear)
    await world.until(lambda: len(world.messages()) == 2)
    answer = world.messages()[-1]
    asked = next(m for m in world.channel.history() if m.author.id == world.bob.id)
    assert answer.reference is not None
    assert answer.reference.message_id == asked.id
    await world.drawing()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, (await job_of(world, answer)).id)


async def test_records_that_are_out_of_reach_are_told_only_to_who_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    apple = await picture(world)

    async def busy(*_: object, **__: object) -> None:
        raise RegistryBusy

    monkeypatch.setattr(world.studio, "of_message", busy)
    assert await reply(world, world.bob, "nice!", apple) == []
    (refusal,) = await reply(world, world.bob, f"{me(world)} green", apple)
    assert "locked" in refusal.content
