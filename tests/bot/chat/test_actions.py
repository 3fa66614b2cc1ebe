"""The buttons under a result: vary, upscale, again, recipe; fresh, after a restart, and two days later."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from PIL import Image
from simcord.backend.serializers import channel_payload

from bot.chat.requests import MEDIUM_STRENGTH
from bot.chat.wording import remixing as words
from bot.job import JobKind, Origin
from bot.outlook import WorkerStatus
from bot.worker.fake import FAKE_MODEL
from bot.worker.messages import Draw
from generation.recipe import from_parameters
from tests.bot.chat.pressing import (
    asked,
    button,
    drawn,
    finish,
    forge,
    images,
    later,
    message_of,
    press,
    said,
)

if TYPE_CHECKING:
    from conftest import World

    from bot.job import Job

ACTIONS = ("vary", "upscale", "again", "remix", "recipe")
UNKNOWN = "not known here any more"


def draws(world: World) -> list[Draw]:
    return [message for message in world.worker.sent if isinstance(message, Draw)]


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (80, 80), "blue").save(buffer, "PNG")
    return buffer.getvalue()


async def from_own_picture(world: World) -> Job:
    await world.alice.slash(world.channel, "imagine", prompt="a cat", image=("cat.png", png()), strength=0.5)
    job, _ = await asked(world)
    return await finish(world, job.id)


def remove_files(world: World, job: Job) -> None:
    for path in (world.folder / "images" / job.id).glob("*"):
        path.unlink()


async def no_second_job(world: World, count: int) -> None:
    await world.settled()
    assert len(draws(world)) == count


# ── vary ──


async def test_vary_starts_from_the_picture_with_the_same_words(world: World) -> None:
    job = await drawn(world, count=3, negative_prompt="blue", guidance=3, steps=7, size="64x128")
    second = (await images(world, job))[1]
    result = await press(world, "vary", job, 1, by=world.bob)
    assert result.ephemeral
    varied, draw = await asked(world)
    request = draw.request
    assert (request.prompt, request.negative_prompt) == ("a red apple", "blue")
    assert (request.guidance_scale, request.num_inference_steps) == (3, 7)
    assert (request.width, request.height, request.count) == (64, 128, 3)
    assert request.strength == MEDIUM_STRENGTH
    assert request.seed not in (5, 6, 7)
    assert request.init_image is not None
    assert Path(request.init_image).read_bytes() == second.path.read_bytes()
    assert (varied.kind, varied.member_id, varied.foreign_start) == (JobKind.VARY, world.bob.id, False)
    assert varied.origin == Origin(job.id, 1, world.env.guild.id, world.channel.id, job.message_id)
    assert world.bob.mention in message_of(world, varied).content


async def test_a_picture_of_one_step_varies_too(world: World) -> None:
    job = await drawn(world, steps=1)
    await press(world, "vary", job)
    _, draw = await asked(world)
    assert draw.request.num_inference_steps == 2  # int(2 * 0.6) = 1


async def test_what_began_from_somebodys_picture_stays_so(world: World) -> None:
    job = await from_own_picture(world)
    await press(world, "vary", job)
    varied, _ = await asked(world)
    assert varied.foreign_start
    varied = await finish(world, varied.id)
    await press(world, "again", varied)
    again, _ = await asked(world)
    assert again.foreign_start
    assert again.origin == varied.origin


async def test_a_size_that_the_loaded_model_can_not_draw_becomes_its_own(world: World) -> None:
    job = await drawn(world, size="128x128")
    smaller = msgspec.structs.replace(FAKE_MODEL.defaults, max_pixels=64 * 64)
    world.worker.model = msgspec.structs.replace(FAKE_MODEL, defaults=smaller)
    world.worker.die()
    await world.until(lambda: world.studio.status().worker.model == world.worker.model)
    await press(world, "vary", job)
    _, draw = await asked(world)
    assert (draw.request.width, draw.request.height) == (None, None)


# ── upscale ──


async def test_upscale_draws_over_at_twice_the_size(world: World) -> None:
    job = await drawn(world, count=2, negative_prompt="blue")
    await press(world, "upscale", job, 1)
    larger, draw = await asked(world)
    assert larger.kind is JobKind.UPSCALE
    assert larger.origin is not None
    assert (larger.origin.job_id, larger.origin.index) == (job.id, 1)
    assert (draw.request.width, draw.request.height, draw.request.count) == (128, 128, 1)
    assert draw.request.strength == FAKE_MODEL.defaults.upscale_strength
    assert (draw.request.prompt, draw.request.negative_prompt, draw.request.seed) == ("a red apple", "blue", 6)
    assert draw.resample is None


async def test_where_the_model_draws_no_larger_it_is_enlarged(world: World) -> None:
    job = await drawn(world, size="1024x512")
    (image,) = await images(world, job)
    await change_model(world, upscale_strength=0)
    await press(world, "upscale", job)
    larger, draw = await asked(world)
    assert (larger.kind, larger.recipe, draw.resample) == (JobKind.RESAMPLE, image.recipe, image.recipe)
    larger = await finish(world, larger.id)
    (result,) = await images(world, larger)
    assert (result.width, result.height) == (2048, 1024)
    assert button(message_of(world, larger), "upscale")

    answer = await press(world, "upscale", larger)
    assert said(answer) == "This picture is 2048×1024 already, and 2048×2048 is the largest that I make."
    await no_second_job(world, 2)


async def test_an_enlarged_picture_is_enlarged_again_from_itself(world: World) -> None:
    job = await drawn(world)
    await change_model(world, upscale_strength=0)
    for side in (512, 1024, 2048):
        await press(world, "upscale", job)
        job, _ = await asked(world)
        job = await finish(world, job.id)
        (image,) = await images(world, job)
        assert (job.kind, image.width, image.height) == (JobKind.RESAMPLE, side, side)


async def change_model(world: World, *, upscale_strength: float) -> None:
    defaults = msgspec.structs.replace(FAKE_MODEL.defaults, upscale_strength=upscale_strength)
    world.worker.model = msgspec.structs.replace(FAKE_MODEL, defaults=defaults)
    world.worker.die()
    await world.until(lambda: world.studio.status().worker.model == world.worker.model)


async def test_what_was_enlarged_is_not_drawn_at_a_smaller_size(world: World) -> None:
    """Its recipe says the size at which it was drawn."""
    await change_model(world, upscale_strength=0)
    job = await drawn(world)
    await press(world, "upscale", job)
    larger, _ = await asked(world)
    larger = await finish(world, larger.id)
    await change_model(world, upscale_strength=0.3)
    await press(world, "upscale", larger)
    largest, draw = await asked(world)
    assert largest.kind is JobKind.RESAMPLE
    await finish(world, largest.id)
    (image,) = await images(world, largest)
    assert image.width == 1024

    await forge(world, message_of(world, job), f"atelier:again:{larger.id}:0", world.alice)  # has no such button
    again, draw = await asked(world)
    assert (again.kind, draw.resample) == (JobKind.RESAMPLE, larger.recipe)


async def test_upscale_says_that_the_model_is_loading(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await drawn(world)
    loading = dataclasses.replace(world.studio.status(), worker=WorkerStatus())
    monkeypatch.setattr(world.studio, "status", lambda: loading)
    assert "still loading" in said(await press(world, "upscale", job))
    await no_second_job(world, 1)


async def test_upscale_works_while_the_worker_is_lost(world: World) -> None:
    job = await drawn(world)
    world.worker.die(back=False)
    await world.settled()
    await press(world, "upscale", job)
    world.worker.come_back()
    _, draw = await asked(world)
    assert draw.request.width == 128


# ── again ──


async def test_again_of_a_remix_starts_from_the_same_picture(world: World) -> None:
    job = await from_own_picture(world)
    kept = world.folder / (job.request.init_image or "")
    await press(world, "again", job, by=world.bob)
    again, draw = await asked(world)
    assert draw.request.strength == 0.5
    assert draw.request.init_image is not None
    assert draw.request.init_image != str(kept)
    assert (world.folder / (again.request.init_image or "")).read_bytes() == kept.read_bytes()
    assert (again.foreign_start, again.member_id, again.kind) == (True, world.bob.id, JobKind.IMAGINE)


async def test_again_finds_a_start_image_that_was_drawn_here(world: World) -> None:
    job = await drawn(world)
    await press(world, "vary", job)
    varied, _ = await asked(world)
    varied = await finish(world, varied.id)
    remove_files(world, varied)
    await press(world, "again", varied)
    again, _ = await asked(world)
    assert (again.kind, again.origin) == (JobKind.VARY, varied.origin)
    (image,) = await images(world, job)
    assert (world.folder / (again.request.init_image or "")).read_bytes() == image.path.read_bytes()


async def test_again_without_its_start_image_is_one_sentence(world: World) -> None:
    job = await from_own_picture(world)
    remove_files(world, job)
    assert said(await press(world, "again", job)) == (
        "The start image of this picture is no longer kept: use /imagine and attach it again."
    )
    await no_second_job(world, 1)


# ── the recipe ──


async def test_the_recipe_says_everything_and_comes_as_a_file(world: World) -> None:
    job = await drawn(world, count=2, negative_prompt="blue, red", guidance=3)
    await press(world, "vary", job, 1)
    varied, _ = await asked(world)
    varied = await finish(world, varied.id)
    result = await press(world, "recipe", varied, by=world.bob)
    text = said(result)
    pictures = await images(world, varied)
    for line in (
        "prompt: a red apple",
        "negative prompt: blue, red",
        "steps: 4",
        "guidance: 3",
        f"seeds: {pictures[0].seed}, {pictures[1].seed}",
        "size: 64x64",
        "sampler: DDIM",
        f"strength: {MEDIUM_STRENGTH:g}",
        "start image: a picture made here",
        "model: fake (0000000000)",
    ):
        assert f"\n{line}\n" in text
    link = f"https://discord.com/channels/{world.env.guild.id}/{world.channel.id}/{job.message_id}"
    assert text.endswith(f"\nMade from: {link}")
    assert result.response is not None
    (file,) = result.response.attachments
    assert file.filename == f"recipe-{varied.id}.txt"
    kept = (await file.read()).decode().strip("\n").split("\n\n")
    read_back = [from_parameters(block) for block in kept]
    assert read_back == [msgspec.structs.replace(image.recipe, model_hash="0" * 10) for image in pictures]


async def test_the_recipes_of_pictures_without_words_are_read_back_too(world: World) -> None:
    recipe = (await images(world, await drawn(world)))[0].recipe
    recipes = [msgspec.structs.replace(recipe, prompt=prompt, seed=seed) for seed, prompt in enumerate(["", "b", ""])]
    image = (await images(world, await drawn(world)))[0]
    text = words.recipe_file([dataclasses.replace(image, recipe=recipe) for recipe in recipes])
    assert [from_parameters(block) for block in text.removesuffix("\n").split("\n\n")] == recipes


async def test_the_recipe_cannot_end_its_block_nor_ping(world: World) -> None:
    job = await drawn(world, prompt="```@everyone``` <@1> \u202e x")
    text = said(await press(world, "recipe", job))
    assert text.startswith("```\n")
    assert text.count("```") == 2
    assert text.endswith("\n```")


async def test_a_long_recipe_is_in_the_file(world: World) -> None:
    job = await drawn(world, prompt="word " * 390, negative_prompt="other " * 300)
    result = await press(world, "recipe", job)
    assert said(result) == "The recipe is long, so it is in the file."
    assert result.response is not None
    (file,) = result.response.attachments
    assert from_parameters((await file.read()).decode()).prompt == ("word " * 390).strip()


# ── for ever ──


@pytest.mark.parametrize("hours", [0, 1 / 3, 48])
async def test_they_work_after_a_restart_however_late(
    world: World, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    job = await drawn(world, count=2)
    await world.restart()
    await later(world, monkeypatch, hours)
    for action, kind in (("vary", JobKind.VARY), ("upscale", JobKind.UPSCALE), ("again", JobKind.IMAGINE)):
        index = None if action == "again" else 1
        await press(world, action, job, index, by=world.bob)
        made, _ = await asked(world)
        assert (made.kind, made.member_id) == (kind, world.bob.id)
        await finish(world, made.id)
    assert (await press(world, "remix", job)).modal is not None
    assert "prompt: a red apple" in said(await press(world, "recipe", job))


@pytest.mark.parametrize("action", ["vary", "upscale"])
async def test_they_find_the_picture_in_their_message(world: World, action: str) -> None:
    job = await drawn(world, count=2)
    remove_files(world, job)
    await world.restart()
    await press(world, action, job, 1)
    made, draw = await asked(world)
    assert draw.redraw is None
    kept = world.folder / (made.request.init_image or "")
    with (
        Image.open(kept) as start,
        Image.open(io.BytesIO(await message_of(world, job).attachments[1].read())) as shown,
    ):
        assert start.convert("RGB").tobytes() == shown.convert("RGB").tobytes()


@pytest.mark.parametrize("action", ["vary", "upscale"])
async def test_they_draw_it_again_where_nothing_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    job = await drawn(world, count=2)
    (_, second) = await images(world, job)
    with Image.open(second.path) as opened:
        colour = opened.convert("RGB").getpixel((0, 0))
    remove_files(world, job)
    monkeypatch.setattr(world.env.backend.cdn, "get", lambda url: None)  # pyright: ignore[reportUnknownLambdaType]
    await press(world, action, job, 1)
    monkeypatch.undo()
    made, draw = await asked(world)
    assert draw.redraw is not None
    assert (draw.redraw.prompt, draw.redraw.seed, draw.redraw.count) == ("a red apple", 6, 1)
    await finish(world, made.id)
    with Image.open(world.folder / (made.request.init_image or "")) as start:
        assert start.convert("RGB").getpixel((0, 0)) == colour


@pytest.mark.parametrize("action", ["vary", "upscale"])
async def test_they_say_where_it_can_not_be_had(world: World, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    job = await drawn(world)
    remove_files(world, job)
    world.worker.model = msgspec.structs.replace(FAKE_MODEL, hash="1" * 64)
    world.worker.die()
    await world.until(lambda: world.studio.status().worker.model == world.worker.model)
    monkeypatch.setattr(world.env.backend.cdn, "get", lambda url: None)  # pyright: ignore[reportUnknownLambdaType]
    assert said(await press(world, action, job)) == (
        "This picture is no longer kept and can't be drawn again as it was: "
        "attach a copy to /imagine, if you have one."
    )
    await no_second_job(world, 1)


async def test_in_direct_messages(world: World) -> None:
    user = world.alice.user
    await user.slash("imagine", prompt="a red apple")
    first, _ = await asked(world)
    first = await finish(world, first.id)
    world.channel = user.dm_channel
    message = message_of(world, first)
    for action in ("vary", "upscale", "again"):
        await user.click(message, custom_id=button(message, action))
        made, _ = await asked(world)
        assert (made.guild_id, made.channel_id, made.member_id) == (None, user.dm_channel.id, user.id)
        await finish(world, made.id)
    varied = next(m for m in world.messages() if "variation of" in m.content)
    text = said(await user.click(varied, custom_id=button(varied, "recipe")))
    assert text.endswith(f"Made from: https://discord.com/channels/@me/{user.dm_channel.id}/{first.message_id}")
    form = await user.click(message, custom_id=button(message, "remix"))
    await user.submit_modal(form, {"prompt": "a pear"})
    _, draw = await asked(world)
    assert draw.request.prompt == "a pear"


# ── who may, and how often ──


@pytest.mark.parametrize("action", ["vary", "upscale", "again", "remix"])
async def test_a_server_can_keep_pictures_to_those_who_made_them(world: World, action: str) -> None:
    job = await from_own_picture(world)
    await world.studio.guilds.set_remix_others(world.env.guild.id, False)
    assert said(await press(world, action, job, by=world.bob)) == (
        "In this server only the person who made a picture can make something of it."
    )
    await no_second_job(world, 1)
    result = await press(world, action, job, by=world.alice)
    if action == "remix":
        assert result.modal is not None
    else:
        await world.drawing()


async def test_again_from_words_alone_is_everybodys(world: World) -> None:
    job = await drawn(world)
    await world.studio.guilds.set_remix_others(world.env.guild.id, False)
    await press(world, "again", job, by=world.bob)
    await world.drawing()


async def test_again_asks_about_the_picture_it_began_from_too(world: World) -> None:
    job = await drawn(world)
    await press(world, "vary", job, by=world.bob)
    varied, _ = await asked(world)
    varied = await finish(world, varied.id)
    await world.studio.guilds.set_remix_others(world.env.guild.id, False)
    assert "only the person who made" in said(await press(world, "again", varied, by=world.bob))
    await no_second_job(world, 2)


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_picture_elsewhere_is_not_reached_by_its_id(world: World, action: str) -> None:
    """A job's id in a button of another channel: what somebody else did in private stays private."""
    here = await drawn(world)
    secret = world.env.guild.create_text_channel("secret")
    shown, world.channel = world.channel, secret
    private = await drawn(world, prompt="a secret")
    world.channel = shown
    custom_id = f"atelier:{action}:{private.id}:0"
    count = len(draws(world))
    result = await forge(world, message_of(world, here), custom_id, world.bob)
    assert UNKNOWN in said(result)
    assert result.modal is None
    await no_second_job(world, count)

    mine = await forge(world, message_of(world, here), custom_id, world.alice)  # as under /history
    assert mine.modal is not None if action == "remix" else UNKNOWN not in said(mine)


@pytest.mark.parametrize("action", ["vary", "upscale", "remix"])
@pytest.mark.parametrize("where", ["anywhere", "age-restricted", "age-restricted, from somebody's picture"])
async def test_nothing_is_made_of_what_is_withheld(world: World, action: str, where: str) -> None:
    """It has no such buttons, so the id is forged."""
    shown = await drawn(world)
    world.worker.nsfw = 0.9
    hidden = await from_own_picture(world) if "somebody" in where else await drawn(world)
    if where != "anywhere":
        restrict_by_age(world)
    result = await forge(world, message_of(world, shown), f"atelier:{action}:{hidden.id}:0", world.alice)
    if where == "age-restricted":
        assert result.modal is not None if action == "remix" else await asked(world)
        return
    assert said(result) == "This picture may be explicit and is not shown here, so nothing can be made of it here."
    await no_second_job(world, 2)


def restrict_by_age(world: World) -> None:
    """simcord knows no age-restricted channels, so the gateway's event says it."""
    backend = world.env.backend
    payload = dict(channel_payload(backend, backend.get_channel(world.channel.id)))
    backend.emit("CHANNEL_UPDATE", {**payload, "nsfw": True})


@pytest.mark.parametrize(
    ("action", "picture"),
    [
        *((action, "0000000000000000:0") for action in ACTIONS),
        *((action, "JOB:7") for action in ("vary", "upscale", "remix")),
        ("vary", "JOB:99"),
    ],
)
async def test_pictures_that_never_were(world: World, action: str, picture: str) -> None:
    job = await drawn(world)
    custom_id = f"atelier:{action}:{picture.replace('JOB', job.id)}"
    assert UNKNOWN in said(await forge(world, message_of(world, job), custom_id, world.alice))
    await no_second_job(world, 1)


@pytest.mark.parametrize("action", ["vary", "upscale", "again"])
async def test_the_same_press_twice_is_one_job(world: World, action: str) -> None:
    job = await drawn(world)
    caught: list[tuple[str, Any]] = []
    world.env.backend.subscribers.append(lambda event, payload: caught.append((event, payload)))
    await press(world, action, job)
    ((event, payload),) = [entry for entry in caught if entry[0] == "INTERACTION_CREATE"]
    world.env.backend.emit(event, payload)
    await world.env.settle()
    made, _ = await asked(world)
    await finish(world, made.id)
    await no_second_job(world, 2)
    assert len(world.messages()) == 2


async def test_files_may_be_as_large_as_discord_said_when_it_was_asked_for(world: World) -> None:
    job = await drawn(world)
    caught: list[Any] = []
    world.env.backend.subscribers.append(lambda event, payload: caught.append(payload))
    await press(world, "vary", job)
    varied, _ = await asked(world)
    (limit,) = {payload["attachment_size_limit"] for payload in caught if "attachment_size_limit" in payload}
    assert varied.file_limit == limit > 0


async def test_two_presses_are_two_jobs(world: World) -> None:
    job = await drawn(world)
    await press(world, "vary", job)
    await press(world, "vary", job)
    first, _ = await asked(world)
    await finish(world, first.id)
    second, _ = await asked(world)
    await finish(world, second.id)
    assert first.id != second.id


@pytest.mark.parametrize("action", ["vary", "upscale", "again"])
async def test_whoever_presses_is_charged(world: World, action: str) -> None:
    job = await drawn(world, count=4)
    for _ in range(5):
        await world.bob.slash(world.channel, "imagine", prompt="more", count=4)
    answer = said(await press(world, action, job, None if action == "again" else 0, by=world.bob))
    assert "already have 20 pictures waiting" in answer
    await world.until(lambda: world.worker.current is not None)


async def test_under_the_one_picture_that_history_shows_vary_makes_one(world: World) -> None:
    job = await drawn(world, count=3)
    page = (await world.alice.slash(world.channel, "history")).response
    assert page is not None
    shown = (await world.alice.select(page, [f"{job.id}:1"])).response
    assert shown is not None
    await world.alice.click(shown, custom_id=f"atelier:vary:{job.id}:1")
    varied, draw = await asked(world)
    assert draw.request.count == 1
    assert varied.origin is not None
    assert varied.origin.index == 1
