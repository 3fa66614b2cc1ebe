"""/history: pages of a member's own pictures, and one of them in full with its buttons."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from simcord.backend import serializers

from bot.job import Job, JobImage, JobKind, JobState, new_job_id
from generation.recipe import Recipe, save_png
from generation.request import ImageRequest
from tests.bot.chat.pressing import later

if TYPE_CHECKING:
    from conftest import World
    from simcord.actors import MemberActor
    from simcord.builders import ChannelHandle
    from simcord.results import ResponseMessage


async def done(world: World, prompt: str = "a red apple", **options: object) -> str:
    await world.alice.slash(world.channel, "imagine", prompt=prompt, **options)
    await world.drawing()
    assert world.worker.current is not None
    job_id = world.worker.current.job
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, job_id)
    await world.settled()
    return job_id


async def put(world: World, count: int, member: MemberActor | None = None) -> list[str]:
    """Jobs of one picture each that were delivered earlier, without drawing them; oldest first."""
    who = world.alice if member is None else member
    jobs = world.studio._jobs  # pyright: ignore[reportPrivateUsage]
    now = world.studio._clock()  # pyright: ignore[reportPrivateUsage]
    ids: list[str] = []
    for number in range(count):
        job = Job(
            id=new_job_id(now.timestamp() - 10_000 + number),
            member_id=who.id,
            guild_id=world.env.guild.id,
            channel_id=world.channel.id,
            interaction_id=None,
            message_id=None,
            state=JobState.QUEUED,
            attempt=0,
            crashes=0,
            request=ImageRequest(prompt=f"number {number}", seed=number),
            error=None,
            created_at=now - timedelta(seconds=10_000 - number),
        )
        recipe = Recipe(
            prompt=f"number {number}",
            guidance_scale=7.5,
            num_inference_steps=4,
            seed=number,
            width=64,
            height=64,
            scheduler="ddim",
            model_name="fake",
            model_hash="0",
        )
        path = world.folder / "images" / job.id / "1-0.png"
        path.parent.mkdir(parents=True)
        save_png(Image.new("RGB", (64, 64), (number % 256, 0, 0)), path, recipe)
        await jobs.add(job, images_at_most=100_000)
        await jobs.attach_message(job.id, 1000 + number)
        await jobs.claim(job.id, job.created_at, timedelta(minutes=1))
        await jobs.finish(job.id, 1, [JobImage(job.id, 0, path, number, 64, 64, recipe, 0.0)], job.created_at)
        await jobs.delivered(job.id, 1, job.created_at)
        ids.append(job.id)
    return ids


def custom_ids(message: ResponseMessage) -> dict[str, dict[str, Any]]:
    return {item["custom_id"]: item for row in message.components for item in row["components"]}


def pressable(message: ResponseMessage, way: str) -> str | None:
    for custom_id, item in custom_ids(message).items():
        if custom_id.startswith(f"atelier:history:{way}:"):
            return None if item.get("disabled") else custom_id
    raise AssertionError(f"no button {way}")


def listed(message: ResponseMessage) -> list[str]:
    return [(embed.description or "").split("\n")[0] for embed in message.embeds]


def age_restricted(world: World) -> ChannelHandle:
    """simcord keeps no such flag: its payload is changed on the way, and Discord's event says it."""
    made = world.env.guild.create_text_channel("grown-ups")
    backend = world.env.backend
    payload = serializers.channel_payload(backend, backend.get_channel(made.id))
    backend.emit("CHANNEL_UPDATE", {**payload, "nsfw": True})
    return made


async def history(world: World, who: MemberActor | None = None) -> ResponseMessage:
    result = await (who or world.alice).slash(world.channel, "history")
    assert result.ephemeral
    assert result.response is not None
    return result.response


async def turn(world: World, page: ResponseMessage, way: str) -> None:
    custom_id = pressable(page, way)
    assert custom_id is not None
    await world.alice.click(page, custom_id=custom_id)


# ── pages ──


async def test_no_pictures_yet(world: World) -> None:
    page = await history(world)
    assert page.content == "You have no pictures yet: make one with /imagine."
    assert (page.embeds, page.components, page.attachments) == ([], [], [])


async def test_one_picture_with_its_thumbnail_and_link(world: World) -> None:
    job_id = await done(world)
    page = await history(world)
    assert page.content == "Your pictures, newest first: 1 of 1"
    (embed,) = page.embeds
    (thumbnail,) = page.attachments
    job = await world.studio.job(job_id)
    assert embed.description == (
        f"**1.** a red apple\n<t:{int(job.created_at.timestamp())}:R> · "
        f"[in the chat](https://discord.com/channels/{world.env.guild.id}/{world.channel.id}/{job.message_id})"
    )
    assert embed.thumbnail.url is not None
    assert thumbnail.filename in embed.thumbnail.url
    with Image.open(io.BytesIO(await thumbnail.read())) as image:
        assert (image.format, image.size) == ("WEBP", (64, 64))
    assert pressable(page, "newer") is None
    assert pressable(page, "older") is None


async def test_only_ones_own(world: World) -> None:
    await put(world, 2)
    await put(world, 1, world.bob)
    assert (await history(world, world.bob)).content == "Your pictures, newest first: 1 of 1"


@pytest.mark.parametrize(("count", "first", "older"), [(5, "1–5 of 5", False), (6, "1–5 of 6", True)])
async def test_a_page_has_five(world: World, count: int, first: str, older: bool) -> None:
    await put(world, count)
    page = await history(world)
    assert page.content == f"Your pictures, newest first: {first}"
    assert listed(page) == [f"**{n}.** number {count - n}" for n in range(1, 6)]
    assert (pressable(page, "older") is not None) is older
    assert len(page.attachments) == 5


async def test_through_60_pictures_and_back(world: World) -> None:
    await put(world, 60)
    page = await history(world)
    for expected in ("6–10 of 60", "11–15 of 60"):
        await turn(world, page, "older")
        assert page.content == f"Your pictures, newest first: {expected}"
    assert listed(page) == [f"**{n}.** number {60 - n}" for n in range(11, 16)]
    assert len(page.attachments) == 5  # those of the page before are gone
    await turn(world, page, "newer")
    assert page.content == "Your pictures, newest first: 6–10 of 60"
    await turn(world, page, "newer")
    assert page.content == "Your pictures, newest first: 1–5 of 60"
    assert pressable(page, "newer") is None


async def test_the_last_page_of_six(world: World) -> None:
    await put(world, 6)
    page = await history(world)
    await turn(world, page, "older")
    assert page.content == "Your pictures, newest first: 2–6 of 6"
    assert pressable(page, "older") is None


async def test_pages_turn_after_a_restart_and_two_days_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(world, 12)
    page = await history(world)
    await world.restart()
    await later(world, monkeypatch, hours=48)
    await turn(world, page, "older")
    assert page.content == "Your pictures, newest first: 6–10 of 12"
    job_id = (await world.studio.history.page(world.alice.id, limit=1)).pictures[0].job.id
    shown = await world.alice.select(page, [custom_ids(page)["atelier:history:show"]["options"][0]["value"]])
    assert shown.response is not None
    assert "number 6" in shown.response.content
    assert job_id not in shown.response.content


async def test_pages_meet_while_new_ones_are_made_and_old_ones_deleted(world: World) -> None:
    ids = await put(world, 12)
    page = await history(world)
    await done(world, "a new one")
    await turn(world, page, "older")
    assert listed(page) == [f"**{n}.** number {13 - n}" for n in range(7, 12)]
    await world.studio.delete(ids[2], by=world.alice.id)  # the last one on the page
    await turn(world, page, "older")
    assert listed(page)[-1] == "**12.** number 0"


async def test_all_are_deleted_meanwhile(world: World) -> None:
    ids = await put(world, 6)
    page = await history(world)
    for job_id in ids:
        await world.studio.delete(job_id, by=world.alice.id)
    await turn(world, page, "older")
    assert page.content == "You have no pictures yet: make one with /imagine."
    assert (page.embeds, page.components, page.attachments) == ([], [], [])


# ── what can't be shown ──


async def test_a_picture_whose_file_is_gone_says_so(world: World) -> None:
    job_id = await done(world)
    for path in (world.folder / "images" / job_id).iterdir():
        path.unlink()
    page = await history(world)
    assert page.attachments == []
    (embed,) = page.embeds
    assert embed.thumbnail.url is None
    assert (embed.description or "").endswith("Its file is no longer kept; its buttons draw it again.")
    shown = await world.alice.select(page, [f"{job_id}:0"])
    assert shown.response is not None
    assert shown.response.attachments == []
    assert shown.response.content.endswith("Its file is no longer kept; its buttons draw it again.")
    assert f"atelier:upscale:{job_id}:0" in custom_ids(shown.response)


async def test_a_file_that_is_no_picture_counts_as_gone(world: World) -> None:
    job_id = await done(world)
    for path in (world.folder / "images" / job_id).glob("*.png"):
        path.write_bytes(b"\0" * 100)
    page = await history(world)
    assert page.attachments == []
    assert "no longer kept" in (page.embeds[0].description or "")


async def test_an_explicit_one_is_shown_in_age_restricted_channels_only(world: World) -> None:
    world.worker.nsfw = 0.95
    job_id = await done(world)
    page = await history(world)
    assert page.attachments == []
    assert (page.embeds[0].description or "").endswith(
        "It may be explicit, so it is shown in age-restricted channels only."
    )
    hidden = await world.alice.select(page, [f"{job_id}:0"])
    assert hidden.response is not None
    assert hidden.response.attachments == []
    assert "age-restricted channels only" in hidden.response.content
    assert f"atelier:vary:{job_id}:0" not in custom_ids(hidden.response)

    grown_up = age_restricted(world)
    there = await world.alice.slash(grown_up, "history")
    assert there.response is not None
    assert len(there.response.attachments) == 1
    shown = await world.alice.select(there.response, [f"{job_id}:0"])
    assert shown.response is not None
    (file,) = shown.response.attachments
    assert file.filename == f"SPOILER_atelier-{job_id}-1.png"


async def test_an_explicit_one_from_somebodys_picture_is_never_shown(world: World) -> None:
    ids = await put(world, 1)

    def explicit_from_a_photo() -> None:
        world.sql("UPDATE images SET nsfw = 0.9")
        world.sql("UPDATE jobs SET foreign_start = 1")

    await world.restart(meanwhile=explicit_from_a_photo)
    grown_up = age_restricted(world)
    there = await world.alice.slash(grown_up, "history")
    assert there.response is not None
    assert there.response.attachments == []
    shown = await world.alice.select(there.response, [f"{ids[0]}:0"])
    assert shown.response is not None
    assert shown.response.attachments == []
    assert shown.response.content.endswith(
        "It may be explicit and began with somebody's picture, so it is not shown."
    )


async def test_one_that_could_not_be_posted_is_said_and_offered(world: World) -> None:
    ids = await put(world, 1)

    def undeliverable() -> None:
        world.sql("UPDATE jobs SET state = 'failed', error = 'gone'")
        world.sql("UPDATE images SET message_id = NULL")

    await world.restart(meanwhile=undeliverable)
    page = await history(world)
    assert (page.embeds[0].description or "").endswith(":R> · could not be posted")
    shown = await world.alice.select(page, [f"{ids[0]}:0"])
    assert shown.response is not None
    assert len(shown.response.attachments) == 1


async def test_a_picture_whose_message_was_deleted_while_it_was_drawn_is_kept(world: World) -> None:
    await world.alice.slash(world.channel, "imagine", prompt="a red apple")
    await world.drawing()
    assert world.worker.current is not None
    job_id = world.worker.current.job
    await world.settled()
    world.env.backend.delete_message(world.channel.id, world.message.id)
    world.worker.finish()
    await world.wait_for_state(JobState.FAILED, job_id)
    await world.settled()
    page = await history(world)
    assert (page.embeds[0].description or "").endswith(":R> · could not be posted")
    shown = await world.alice.select(page, [f"{job_id}:0"])
    assert shown.response is not None
    assert len(shown.response.attachments) == 1


# ── one picture ──


async def test_a_picture_in_full_with_alt_text_and_its_buttons(world: World) -> None:
    job_id = await done(world, count=2)
    page = await history(world)
    shown = await world.alice.select(page, [f"{job_id}:1"])
    assert shown.ephemeral
    assert shown.response is not None
    (file,) = shown.response.attachments
    assert file.filename == f"atelier-{job_id}-2.png"
    assert file.description == "A generated picture, 2 of 2: a red apple"
    with Image.open(io.BytesIO(await file.read())) as image:
        assert image.size == (256, 256)
    assert shown.response.content.startswith("**a red apple**\n-# 4 steps")
    assert set(custom_ids(shown.response)) == {
        f"atelier:{action}:{job_id}:1" for action in ("vary", "upscale", "again", "remix", "recipe", "delete")
    }


async def test_its_buttons_work_as_under_the_original(world: World) -> None:
    job_id = await done(world)
    page = await history(world)
    shown = await world.alice.select(page, [f"{job_id}:0"])
    assert shown.response is not None
    await world.alice.click(shown.response, custom_id=f"atelier:again:{job_id}:0")
    await world.drawing()
    assert world.worker.current is not None
    again = world.worker.current.job
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, again)
    await world.settled()
    await world.restart()
    await world.alice.click(shown.response, custom_id=f"atelier:vary:{job_id}:0")
    await world.drawing()
    assert world.worker.current is not None
    varied = await world.studio.job(world.worker.current.job)
    assert varied.kind is JobKind.VARY
    assert varied.origin is not None
    assert varied.origin.job_id == job_id
    recipe = await world.alice.click(shown.response, custom_id=f"atelier:recipe:{job_id}:0")
    assert recipe.response is not None
    assert "prompt: a red apple" in recipe.response.content
    asked = await world.alice.click(shown.response, custom_id=f"atelier:delete:{job_id}:0")
    assert asked.response is not None
    await world.alice.click(asked.response, custom_id=f"atelier:erase:{job_id}")
    assert asked.response.content == "Deleted."


async def test_what_it_was_made_from_is_linked(world: World) -> None:
    job_id = await done(world)
    original = world.message
    await world.alice.click(original, custom_id=f"atelier:vary:{job_id}:0")
    await world.drawing()
    assert world.worker.current is not None
    varied = world.worker.current.job
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED, varied)
    page = await history(world)
    link = f"https://discord.com/channels/{world.env.guild.id}/{world.channel.id}/{original.id}"
    assert f"]({link}) · [in the chat](" in (page.embeds[0].description or "")


async def test_a_forged_choice_shows_nobody_elses_picture(world: World) -> None:
    (theirs,) = await put(world, 1, world.bob)
    await put(world, 1)
    page = await history(world)
    menu = next(
        item
        for row in world.env.backend.get_message(page.channel_id, page.id).components
        for item in row["components"]
        if item["custom_id"] == "atelier:history:show"
    )
    for forged in (f"{theirs}:0", "nonsense", f"{theirs}:x", f"{theirs}:99"):
        menu["options"][0]["value"] = forged
        shown = await world.alice.select(page, [forged])
        assert shown.response is not None
        assert shown.response.attachments == []
        assert shown.response.content in (
            "This picture is not known here any more.",
            "There are no pictures here any more.",
        )


async def test_hostile_words_stay_words(world: World) -> None:
    prompt = "@everyone **bold** [x](https://evil.example) <@1> \u202e`code` ||spoiler|| " + "word " * 350
    await done(world, prompt)
    page = await history(world)
    text = page.embeds[0].description or ""
    assert "@everyone" not in text
    assert "\u202e" not in text
    assert "[x](" not in text
    assert "**bold**" not in text
    assert len(text) < 500
    (option,) = custom_ids(page)["atelier:history:show"]["options"]
    assert len(option["label"]) <= 100
    shown = await world.alice.select(page, [option["value"]])
    assert shown.response is not None
    assert len(shown.response.content) <= 2000
    assert "@everyone" not in shown.response.content


async def test_history_in_direct_messages(world: World) -> None:
    await put(world, 1)
    user = world.alice.user
    result = await user.slash("history")
    assert result.response is not None
    assert result.response.content == "Your pictures, newest first: 1 of 1"
