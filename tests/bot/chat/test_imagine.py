"""/imagine, from the answer to the pictures, and what it says to wrong input."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from PIL import Image

from bot.chat.edits import PREVIEW_SECONDS
from bot.job import JobState
from bot.worker.fake import FAKE_MODEL
from bot.worker.messages import Ready
from generation.recipe import from_parameters
from generation.request import ModelDefaults

if TYPE_CHECKING:
    from conftest import World

    from generation.request import ImageRequest


def png(size: tuple[int, int] = (80, 60)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, "PNG")
    return out.getvalue()


async def test_an_answer_at_once_and_a_message_before_any_drawing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_start: list[list[str]] = []
    send = world.worker.send

    async def watched(message: Any) -> None:
        at_the_start.append(world.texts())
        await send(message)

    monkeypatch.setattr(world.worker, "send", watched)
    result = await world.alice.slash(world.channel, "imagine", prompt="a red apple")

    assert result.ephemeral
    assert result.response is not None
    assert result.response.content == "Your picture is next: drawing starts now."
    await world.drawing()
    assert len(at_the_start) == 1
    assert at_the_start[0][0].startswith(f"**a red apple** – {world.alice.mention}\n-# ⏳ next in the queue")
    assert (await world.job()).message_id == world.message.id


async def test_the_answer_says_the_place_in_the_queue(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="first")
    await world.drawing()
    await world.alice.slash(world.channel, "imagine", prompt="second", count=2)
    third = await world.bob.slash(world.channel, "imagine", prompt="third", count=4)

    assert third.response is not None
    assert third.response.content == "Your 4 pictures are next in the queue."
    await world.settled()
    await world.env.advance_time(10)
    assert any("⏳ number 2 in the queue" in text for text in world.texts())


async def test_a_slow_registry_is_waited_for_behind_an_acknowledgement(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = world.studio.submit

    async def slow(*args: Any, **options: Any) -> Any:
        await asyncio.sleep(0.2)
        return await submit(*args, **options)

    monkeypatch.setattr(world.studio, "submit", slow)
    monkeypatch.setattr("bot.chat.answers.ACKNOWLEDGE_SECONDS", 0.05)
    result = await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    callbacks = [r for r in world.env.http_requests if r.path.endswith("/callback")]
    assert [c.json["type"] for c in callbacks] == [5]
    assert result.response is not None
    assert result.response.content == "Your picture is next: drawing starts now."
    assert result.ephemeral


async def test_a_first_step_that_takes_long_is_said(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    await world.settled()
    assert "next in the queue" in world.message.content
    await world.env.advance_time(2)
    assert "▱▱▱▱▱▱▱▱▱▱▱▱ starting" in world.message.content


async def test_progress_and_a_preview_that_is_large_enough_to_see(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple", steps=10)
    await world.drawing()
    await world.env.advance_time(2 * PREVIEW_SECONDS)
    world.worker.step(4)
    await world.settled()
    await world.env.advance_time(2 * PREVIEW_SECONDS)

    assert "▰▰▰▰▱▱▱▱▱▱▱▱ step 4/10 · a few seconds left" in world.message.content
    (preview,) = world.message.attachments
    assert preview.description == "Preview after step 4 of 10: a red apple"
    assert Image.open(io.BytesIO(await preview.read())).size == (256, 256)
    assert set(world.buttons()) == {"cancel"}


async def test_previews_come_at_most_once_a_second(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple", steps=50)
    await world.drawing()
    await world.env.advance_time(10)
    before = world.calls("PATCH", "/messages/")
    for _ in range(10):
        world.worker.step()
        await world.settled()
    assert world.calls("PATCH", "/messages/") - before == 1
    await world.env.advance_time(PREVIEW_SECONDS)
    assert world.calls("PATCH", "/messages/") - before == 2
    assert "step 10/50" in world.message.content


async def test_it_ends_with_the_pictures_alt_text_recipe_and_buttons(world: World) -> None:
    world.worker.words_not_read = ["wibble", "wobble"]
    await world.alice.slash(
        world.channel, "imagine", prompt="a red apple", negative_prompt="blue", count=3, seed=41, guidance=3
    )
    await world.drawing()
    world.worker.finish()
    job = await world.wait_for_state(JobState.DELIVERED)

    message = world.message
    assert f"**a red apple** – {world.alice.mention}" in message.content
    assert "4 steps · guidance 3 · seeds 41–43 · 64×64" in message.content
    assert "not read: “wibble wobble”" in message.content
    assert [a.description for a in message.attachments] == [
        f"A generated picture, {number} of 3: a red apple" for number in (1, 2, 3)
    ]
    assert set(world.buttons()) == {"vary", "upscale", "again", "remix", "recipe", "delete"}
    posted = Image.open(io.BytesIO(await message.attachments[1].read()))
    recipe = from_parameters(posted.info["parameters"])
    assert (posted.size, recipe.seed, recipe.negative_prompt) == ((256, 256), 42, "blue")
    assert job.delivered_at is not None


async def test_the_same_interaction_twice_is_one_job(world: World) -> None:
    caught: list[tuple[str, Any]] = []
    world.env.backend.subscribers.append(lambda event, payload: caught.append((event, payload)))
    await world.alice.slash(world.channel, "imagine", prompt="once")
    ((event, payload),) = [entry for entry in caught if entry[0] == "INTERACTION_CREATE"]
    world.env.backend.emit(event, payload)
    await world.env.settle()
    await world.drawing()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)

    assert len(world.messages()) == 1
    assert world.studio.status().queued == 0
    assert world.worker.current is None


async def test_while_the_model_loads_members_are_told_how_far_it_is(world: World) -> None:
    world.worker.die(back=False)
    world.worker.loading("downloading the model", 0.4)
    await world.settled()
    result = await world.alice.slash(world.channel, "imagine", prompt="a red apple")

    assert result.response is not None
    told = "The model is loading: downloading the model (40%)."
    assert result.response.content == f"Your picture is next in the queue. {told}"
    assert told in world.message.content
    world.worker.loading("downloading the model", 0.8)
    await world.settled()
    await world.env.advance_time(10)
    assert "(80%)" in world.message.content


# ── wrong input: one sentence each, and nothing in the channel ──


def unlimited(world: World) -> None:
    """Another client than Discord's own may send what Discord would refuse."""
    command = world.env.backend.find_command("imagine", None, type=1)
    assert command is not None
    for option in command["options"]:
        for limit in ("min_value", "max_value", "min_length", "max_length"):
            option.pop(limit, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"guidance": 99.0}, ["guidance", "99", "1 to 30"]),
        ({"steps": 0}, ["steps", "0", "1 to 150"]),
        ({"count": 5}, ["count", "5", "1 to 4"]),
        ({"strength": 0.5}, ["strength", "0.5", "start image"]),
        ({"prompt": "é" * 6000}, ["prompt", "6,000", "2,000"]),
        ({"prompt": "  \n "}, ["prompt"]),
        ({"size": "big"}, ["size", "“big”", "512x768"]),
        ({"size": "very_big"}, ["size", "“very\\_big”"]),
        ({"size": "99999x8"}, ["size (width)", "99999", "64 to 2048"]),
        ({"size": "2048x2048"}, ["size", "2048×2048", "1,048,576 pixels"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_wrong_value_is_named_in_one_sentence(world: World, options: dict[str, Any], said: list[str]) -> None:
    unlimited(world)
    result = await world.alice.slash(world.channel, "imagine", **{"prompt": "a red apple", **options})
    assert result.ephemeral
    assert result.response is not None
    content = result.response.content
    assert content.startswith(said[0])
    assert [part for part in said if part not in content] == []
    assert content.count("\n") == 0
    assert world.messages() == []
    assert world.studio.status().queued == 0


def bomb() -> bytes:
    """A PNG of 9000 × 9000 = 81 megapixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 9000, 9000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("cat.png", b"I am a text file.", "This file is not a PNG, JPEG, WebP or GIF picture."),
        ("cat.png", png()[:-30], "This picture is damaged or cut off."),
        ("cat.png", b"", "This file is empty."),
        ("cat.png", bomb(), "This picture has 81 megapixels; at most 40 are read."),
    ],
    ids=["text", "truncated", "empty", "81 MP"],
)
async def test_a_start_image_that_cannot_be_used(world: World, name: str, data: bytes, sentence: str) -> None:
    result = await world.alice.slash(world.channel, "imagine", prompt="a cat", image=(name, data))
    assert result.ephemeral
    assert result.response is not None
    assert result.response.content == sentence
    assert world.messages() == []


async def test_a_start_image_that_is_too_large_is_refused_before_it_is_downloaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.limits.IMAGE_BYTES", 100)
    fetched: list[str] = []
    monkeypatch.setattr(world.env.backend.cdn, "get", fetched.append)
    result = await world.alice.slash(world.channel, "imagine", prompt="a cat", image=("c.png", bytes(101)))
    assert result.response is not None
    assert result.response.content.startswith("Your picture is ")
    assert fetched == []


async def test_a_start_image_is_used_and_acknowledged_before_its_download(world: World) -> None:
    result = await world.alice.slash(world.channel, "imagine", prompt="a cat", image=("cat.png", png()), strength=0.5)
    callbacks = [r for r in world.env.http_requests if r.path.endswith("/callback")]
    assert callbacks[0].json["type"] == 5, "deferred first"
    assert result.response is not None
    assert result.response.content == "Your picture is next: drawing starts now."
    await world.drawing()
    assert world.worker.current is not None
    start = world.worker.current.request.init_image
    assert start is not None
    with Image.open(start) as kept:
        assert kept.size == (80, 60)
    assert world.worker.current.request.strength == 0.5


async def test_a_prompt_cannot_ping_format_or_link(world: World) -> None:
    prompt = "@everyone **loud** <@1234567890123456789> ||x|| [a](https://evil.example) ```code``` </b>"
    await world.alice.slash(world.channel, "imagine", prompt=prompt)
    await world.drawing()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    stored = world.env.backend.get_message(world.channel.id, world.message.id)

    assert not stored.mention_everyone
    assert stored.ping_user_ids in ((), [], set(), frozenset())
    content = world.message.content
    assert "@everyone" not in content
    assert "\\*\\*loud\\*\\*" in content
    assert "<@1234567890123456789>" not in content
    assert "https://" not in content
    assert "\\|\\|" in content
    assert "```" not in content


async def test_the_longest_prompt_fits_into_the_message(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="*_" * 1000)
    await world.drawing()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    assert len(world.message.content) < 2000
    assert "4 steps" in world.message.content
    (attachment,) = world.message.attachments
    assert attachment.description is not None
    assert len(attachment.description) <= 1024


async def test_too_many_pictures_of_one_member(world: World) -> None:
    for _ in range(5):
        await world.alice.slash(world.channel, "imagine", prompt="many", count=4)
    result = await world.alice.slash(world.channel, "imagine", prompt="more", count=4)
    assert result.response is not None
    assert "20" in result.response.content
    assert "/cancel" in result.response.content
    bob = await world.bob.slash(world.channel, "imagine", prompt="bob's")
    assert bob.response is not None
    assert "in the queue" in bob.response.content


async def test_an_error_that_nobody_foresaw_is_one_sentence_and_logged(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, errors_expected: None
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(world.studio, "submit", broken)
    result = await world.alice.slash(world.channel, "imagine", prompt="a secret wish")
    assert result.response is not None
    assert result.response.content.startswith("Something went wrong on my side; it has been logged (reference ")
    assert "KeyError" not in result.response.content
    reference = result.response.content.split("reference ")[1].rstrip(").")
    assert reference in caplog.text
    assert "a secret wish" not in caplog.text


async def test_sizes_are_offered_for_the_running_model(world: World) -> None:
    await world.settled()
    offered = await world.alice.autocomplete(world.channel, "imagine", "size", "", prompt="x")
    assert offered[0] == {"name": "model default (64×64)", "value": "model default"}
    assert {"name": "portrait 64×96", "value": "64x96"} in offered
    await world.alice.slash(world.channel, "imagine", prompt="tall", size="64x96")
    await world.drawing()
    assert world.worker.current is not None
    assert (world.worker.current.request.width, world.worker.current.request.height) == (64, 96)


# ── flags and choices in the prompt ──


async def drawn(world: World) -> ImageRequest:
    await world.drawing()
    assert world.worker.current is not None
    return world.worker.current.request


async def test_flags_in_the_prompt(world: World) -> None:
    text = "a red apple --no blue, sky --cfg 4.5 --seed 9 --steps 6 --size 64x96 --count 2"
    await world.alice.slash(world.channel, "imagine", prompt=text)
    request = await drawn(world)
    assert (request.prompt, request.negative_prompt) == ("a red apple", "blue, sky")
    assert (request.guidance_scale, request.seed, request.num_inference_steps) == (4.5, 9, 6)
    assert (request.width, request.height, request.count) == (64, 96, 2)


async def test_a_strength_in_the_prompt(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a cat --strength 0.5", image=("cat.png", png()))
    assert (await drawn(world)).strength == 0.5


async def test_choices_in_the_prompt(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a {red, green} apple on {snow, sand}", count=2)
    request = await drawn(world)
    assert request.prompt == [
        "a red apple on snow",
        "a red apple on sand",
        "a green apple on snow",
        "a green apple on sand",
    ]
    assert (request.count, request.total_images) == (2, 8)


async def test_what_neither_option_nor_flag_says_is_as_the_model_does_best(world: World) -> None:
    best = ModelDefaults(num_inference_steps=4, guidance_scale=3.0, width=64, height=64, size_multiple=8)
    world.worker.say(Ready(model=msgspec.structs.replace(FAKE_MODEL, defaults=best)))
    await world.settled()
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    assert (await drawn(world)).guidance_scale == 3
    info = await world.alice.slash(world.channel, "info")
    assert info.response is not None
    assert "guidance 3" in info.response.content


async def test_the_same_in_an_option_and_a_flag_is_fine(world: World) -> None:
    options = {"negative_prompt": " blue ", "guidance": 5, "steps": 6, "seed": 9, "size": "64x96", "count": 2}
    text = "a red apple --no blue --cfg 5 --steps 6 --seed 9 --size 64x96 --count 2"
    await world.alice.slash(world.channel, "imagine", prompt=text, **options)
    request = await drawn(world)
    assert (request.guidance_scale, request.num_inference_steps, request.count) == (5, 6, 2)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("--cfg 5", {"guidance": 7.5}, "guidance is 7.5 as an option and 5 after --cfg: keep one of the two."),
        ("--no a*b", {"negative_prompt": "red"}, "negative_prompt is “red” as an option and “a*b” after --no"),
        ("--steps 9", {"steps": 8}, "steps is 8 as an option and 9 after --steps"),
        ("--seed 1", {"seed": 0}, "seed is 0 as an option and 1 after --seed"),
        ("--size 64x64", {"size": "64x96"}, "size is 64x96 as an option and 64x64 after --size"),
        ("--count 2", {"count": 3}, "count is 3 as an option and 2 after --count"),
        ("{a, b, c}", {"count": 3}, "3 prompts × 3 make 9 pictures: 8 are the most."),
        ("{a, b, c, d, e, f, g, h, i}", {}, "The choices in braces make 9 pictures: 8 are the most."),
        ("--stpes 9", {}, "--stpes is not a flag: did you mean --steps?"),
        ("--cfg 99", {}, "--cfg must be a number from 1 to 30, not 99."),
        ("--strength 0.5", {}, "strength 0.5 needs a start image"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith(("--", "{")) else "",
)
async def test_what_contradicts_itself_is_one_sentence(
    world: World, text: str, options: dict[str, Any], said: str
) -> None:
    result = await world.alice.slash(world.channel, "imagine", prompt=f"a red apple {text}", **options)
    assert result.ephemeral
    assert result.response is not None
    assert result.response.content.replace("\\", "").startswith(said)  # escapes that Discord doesn't show
    assert "\n" not in result.response.content
    assert world.studio.status().queued == world.studio.status().running == 0


async def test_the_negative_prompt_is_shown_under_the_pictures(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a fox", negative_prompt="snow, *trees*")
    await world.drawing()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    assert r"-# without: snow, \*trees\*" in world.message.content.split("\n")


async def test_a_negative_prompt_that_had_no_effect_is_not_shown(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a fox", negative_prompt="snow", guidance=1.0)
    await world.drawing()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    assert "without" not in world.message.content
