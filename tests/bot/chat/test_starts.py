"""Where a start image comes from: disk, message, redraw; and what is said where nothing is left."""

from __future__ import annotations

import asyncio
import dataclasses
import io
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest
from PIL import Image

from bot.chat.concept_names import Asker
from bot.chat.starts import download, pictures_in, start_of
from bot.errors import UserError
from bot.job import JobKind, Origin
from bot.outlook import WorkerStatus
from bot.worker.fake import FAKE_MODEL
from generation import limits
from tests.bot.chat.pressing import asked, drawn, finish, images, later, message_of, press

if TYPE_CHECKING:
    import discord
    from conftest import World

    from bot.job import Job


def alice(world: World) -> Asker:
    return Asker(world.alice.id, world.env.guild.id)


def remove_files(world: World, job: Job) -> None:
    for path in (world.folder / "images" / job.id).glob("*"):
        path.unlink()


def expire_links(world: World, monkeypatch: pytest.MonkeyPatch, *, for_good: bool = False) -> None:
    """Signed links end after about a day; a message that is fetched again brings new ones."""
    cdn = world.env.backend.cdn
    stored, fetched_before = cdn.get, world.calls("GET", r"/messages/\d+$")

    def get(url: str) -> bytes | None:
        fresh = world.calls("GET", r"/messages/\d+$") > fetched_before and not for_good
        return stored(url) if fresh else None

    monkeypatch.setattr(cdn, "get", get)


async def delete_message(world: World, job: Job) -> None:
    await message_of(world, job).delete()


async def test_on_disk_it_is_copied(world: World) -> None:
    job = await drawn(world)
    (image,) = await images(world, job)
    start = await start_of(world.bot, job, image, None, alice(world))
    assert start.image == str(image.path)
    assert (start.data, start.redraw, start.foreign) == (None, None, False)
    assert start.origin == Origin(job.id, 0, job.guild_id, job.channel_id, job.message_id)


async def test_from_the_message_it_is_the_right_one_of_four(world: World) -> None:
    job = await drawn(world, count=4)
    third = (await images(world, job))[2]
    with Image.open(third.path) as opened:
        colour = opened.convert("RGB").getpixel((0, 0))
    remove_files(world, job)
    message = message_of(world, job)
    world.env.inject_error("GET", "/channels/*/messages/*", status=403, times=None)  # as where the bot is no member
    start = await start_of(world.bot, job, third, message, alice(world))
    assert start.data is not None
    with Image.open(io.BytesIO(start.data)) as posted:
        assert posted.size == (256, 256)
        assert posted.convert("RGB").getpixel((0, 0)) == colour
    assert start.redraw is None


async def test_a_spoiler_is_found_by_its_name(world: World) -> None:
    job = await drawn(world)
    (image,) = await images(world, job)
    remove_files(world, job)
    stored = world.env.backend.get_message(world.channel.id, job.message_id or 0)
    stored.attachments[0]["filename"] = "SPOILER_" + stored.attachments[0]["filename"]
    assert (await start_of(world.bot, job, image, message_of(world, job), alice(world))).data is not None


async def test_a_renamed_file_is_found_by_its_place(world: World) -> None:
    job = await drawn(world, count=2)
    second = (await images(world, job))[1]
    remove_files(world, job)
    stored = world.env.backend.get_message(world.channel.id, job.message_id or 0)
    for attachment in stored.attachments:
        attachment["filename"] = "unknown.png"
    start = await start_of(world.bot, job, second, message_of(world, job), alice(world))
    assert start.data == await message_of(world, job).attachments[1].read()


async def test_where_one_was_left_out_places_say_nothing(world: World) -> None:
    job = await drawn(world, count=2)
    second = (await images(world, job))[1]
    remove_files(world, job)
    stored = world.env.backend.get_message(world.channel.id, job.message_id or 0)
    del stored.attachments[1]
    stored.attachments[0]["filename"] = "unknown.png"
    start = await start_of(world.bot, job, second, message_of(world, job), alice(world))
    assert start.data is None
    assert start.redraw is not None


async def test_another_persons_message_is_no_proof(world: World) -> None:
    """Anybody can name a file like one of ours."""
    job = await drawn(world)
    (image,) = await images(world, job)
    remove_files(world, job)
    name = message_of(world, job).attachments[0].filename
    message = await world.bob.send(world.channel, "look", attachments=[(name, b"not ours")])
    theirs = next(m for m in world.channel.history() if m.id == message.id)
    await delete_message(world, job)
    start = await start_of(world.bot, job, image, theirs, alice(world))
    assert start.data is None


async def test_without_a_message_in_hand_the_stored_one_is_fetched(world: World) -> None:
    job = await drawn(world)
    (image,) = await images(world, job)
    remove_files(world, job)
    assert (await start_of(world.bot, job, image, None, alice(world))).data is not None


async def test_an_expired_link_is_fetched_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await drawn(world)
    (image,) = await images(world, job)
    message = message_of(world, job)
    remove_files(world, job)
    await later(world, monkeypatch, 48)
    expire_links(world, monkeypatch)
    before = world.calls("GET", r"/messages/\d+$")
    assert (await start_of(world.bot, job, image, message, alice(world))).data is not None
    assert world.calls("GET", r"/messages/\d+$") == before + 1


async def test_what_can_not_be_had_is_drawn_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    two = "a {red, green} apple"
    job = await drawn(world, prompt=two, count=2, negative_prompt="blue", guidance=3, steps=7, size="64x128")
    third = (await images(world, job))[2]
    remove_files(world, job)
    expire_links(world, monkeypatch, for_good=True)
    start = await start_of(world.bot, job, third, message_of(world, job), alice(world))
    assert (start.image, start.data) == (None, None)
    redraw = start.redraw
    assert redraw is not None
    assert (redraw.prompt, redraw.negative_prompt, redraw.seed, redraw.count) == ("a green apple", "blue", 7, 1)
    assert (redraw.guidance_scale, redraw.num_inference_steps) == (3, 7)
    assert (redraw.width, redraw.height) == (64, 128)
    assert redraw.init_image is None


async def test_the_message_may_not_be_read(world: World) -> None:
    job = await drawn(world)
    (image,) = await images(world, job)
    remove_files(world, job)
    for status in (403, 404, 503):
        world.env.inject_error("GET", "/channels/*/messages/*", status=status, times=None)
        assert (await start_of(world.bot, job, image, None, alice(world))).redraw is not None


async def test_another_model_would_draw_something_else(world: World) -> None:
    job = await drawn(world)
    (image,) = await images(world, job)
    remove_files(world, job)
    await delete_message(world, job)
    other = msgspec.structs.replace(FAKE_MODEL, hash="1" * 64)
    world.worker.model = other
    world.worker.die()
    await world.until(lambda: world.studio.status().worker.model == other)
    with pytest.raises(UserError, match="can't be drawn again as it was"):
        await start_of(world.bot, job, image, None, alice(world))


async def test_without_a_model_it_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await drawn(world)
    (image,) = await images(world, job)
    remove_files(world, job)
    await delete_message(world, job)
    loading = dataclasses.replace(world.studio.status(), worker=WorkerStatus())
    monkeypatch.setattr(world.studio, "status", lambda: loading)
    with pytest.raises(UserError, match="still loading"):
        await start_of(world.bot, job, image, None, alice(world))


async def test_a_picture_from_a_start_image_is_drawn_again_only_with_it(world: World) -> None:
    job = await drawn(world)
    await press(world, "vary", job)
    varied, _ = await asked(world)
    varied = await finish(world, varied.id)
    (image,) = await images(world, varied)
    await delete_message(world, varied)
    image.path.unlink()
    start = await start_of(world.bot, varied, image, None, alice(world))
    assert start.redraw is not None
    assert start.redraw.init_image == varied.request.init_image
    assert start.redraw.strength == varied.request.strength
    remove_files(world, varied)
    with pytest.raises(UserError, match="no longer kept"):
        await start_of(world.bot, varied, image, None, alice(world))


async def test_an_enlarged_picture_is_not_drawn(world: World) -> None:
    job = await drawn(world, size="1024x1024")  # the model draws no larger: this one is enlarged without it
    await press(world, "upscale", job)
    larger, _ = await asked(world)
    larger = await finish(world, larger.id)
    assert larger.kind is JobKind.RESAMPLE
    (image,) = await images(world, larger)
    image.path.unlink()
    await delete_message(world, larger)
    with pytest.raises(UserError, match="no longer kept"):
        await start_of(world.bot, larger, image, None, alice(world))


async def test_the_line_stays_somebody_elses(world: World) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 80), "blue").save(buffer, "PNG")
    await world.alice.slash(world.channel, "imagine", prompt="a cat", image=("cat.png", buffer.getvalue()))
    job, _ = await asked(world)
    job = await finish(world, job.id)
    assert job.foreign_start
    (image,) = await images(world, job)
    assert (await start_of(world.bot, job, image, None, alice(world))).foreign


# ── downloads ──


async def attachment_of(world: World, data: bytes = b"abc") -> discord.Attachment:
    sent = await world.alice.send(world.channel, "", attachments=[("\u202egnp.exe.png", data)])
    return next(m for m in world.channel.history() if m.id == sent.id).attachments[0]


async def test_it_is_downloaded_whatever_its_name(world: World) -> None:
    assert await download(await attachment_of(world)) == b"abc"


async def test_what_is_too_large_is_not_downloaded(world: World) -> None:
    attachment = await attachment_of(world)
    attachment.size = limits.IMAGE_BYTES + 1
    before = len(world.env.http_requests)
    with pytest.raises(UserError, match="at most 20 MiB"):
        await download(attachment)
    assert len(world.env.http_requests) == before


async def test_a_fresh_link_is_tried_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    attachment = await attachment_of(world)
    monkeypatch.setattr(world.env.backend.cdn, "get", lambda url: None)  # pyright: ignore[reportUnknownLambdaType]
    asked_for: list[discord.Attachment] = []

    async def refresh() -> discord.Attachment:
        asked_for.append(attachment)
        return attachment

    with pytest.raises(UserError, match="attach it again"):
        await download(attachment, refresh=refresh)
    assert len(asked_for) == 1


def answer_downloads(world: World, monkeypatch: pytest.MonkeyPatch, *answers: bytes | Exception | float) -> list[str]:
    """What Discord's store does at one request after the other; a number is seconds of silence. Returns the links."""
    links: list[str] = []

    async def get_from_cdn(url: str) -> bytes:
        said = answers[len(links)]
        links.append(url)
        if isinstance(said, Exception):
            raise said
        if isinstance(said, bytes):
            return said
        await asyncio.sleep(said)
        return b""

    monkeypatch.setattr(world.bot.http, "get_from_cdn", get_from_cdn)
    return links


async def test_a_download_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    attachment = await attachment_of(world)
    answer_downloads(world, monkeypatch, 10.0)
    monkeypatch.setattr("bot.chat.starts.DOWNLOAD_SECONDS", 0.01)
    with pytest.raises(UserError, match="attach it again"):
        await download(attachment)


BROKEN = [ConnectionResetError(), aiohttp.ClientPayloadError(), TimeoutError()]


async def test_a_broken_connection_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    attachment = await attachment_of(world)
    monkeypatch.setattr("bot.chat.starts.PAUSES", (0.0, 0.0))
    answer_downloads(world, monkeypatch, BROKEN[0], BROKEN[1], b"abc")
    assert await download(attachment) == b"abc"


async def test_a_store_that_stays_broken_is_one_sentence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    attachment = await attachment_of(world)
    monkeypatch.setattr("bot.chat.starts.PAUSES", (0.0, 0.0))
    links = answer_downloads(world, monkeypatch, *BROKEN)
    with pytest.raises(UserError, match="attach it again"):
        await download(attachment)
    assert len(links) == 3


async def test_pictures_of_a_forwarded_message_count(world: World) -> None:
    sent = await world.bob.send(world.channel, "", attachments=[("cat.png", b"x"), ("notes.txt", b"y")])
    forwarded = await world.alice.forward(sent, world.channel)
    (picture,) = pictures_in(next(m for m in world.channel.history() if m.id == forwarded.id))
    assert picture.filename == "cat.png"
