"""DESIGN 4.3 in the buttons: concepts are those of whoever presses, and another's private one is theirs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.job import JobKind
from tests.bot.chat.pressing import asked, button, drawn, finish, images, message_of, press, said
from tests.bot.chat.taught import shared, taught
from tests.bot.chat.test_delivery import restrict_by_age
from training.order import Depicts

if TYPE_CHECKING:
    from conftest import World

    from bot.job import Job

PROMPT = "a photo of <mug> on a beach"
UNKNOWN = r"There is no concept \<mug> that you can use here: /concepts list shows those that there are."


async def alices(world: World, **options: object) -> Job:
    """A picture of Alice's private concept, which the channel sees."""
    await taught(world, world.alice, "mug", **options)  # pyright: ignore[reportArgumentType]
    return await drawn(world, prompt=PROMPT)


def remove_files(world: World, job: Job) -> None:
    for path in (world.folder / "images" / job.id).glob("*"):
        path.unlink()


async def test_a_prompt_is_drawn_with_ones_own_concept(world: World) -> None:
    concept = await taught(world, world.alice, "mug")
    await world.alice.slash(world.channel, "imagine", prompt="A photo of <MUG>")
    _, draw = await asked(world)
    (use,) = draw.request.concepts
    assert (use.name, use.path) == ("mug", str(world.folder / concept.version.path))


async def test_nobody_elses_private_concept_is_used_or_betrayed(world: World) -> None:
    await taught(world, world.alice, "mug")
    refused = await world.bob.slash(world.channel, "imagine", prompt=PROMPT)
    assert said(refused) == UNKNOWN
    never = await world.bob.slash(world.channel, "imagine", prompt=PROMPT.replace("mug", "cup"))
    assert said(never) == UNKNOWN.replace("mug", "cup")
    assert world.worker.current is None


async def test_buttons_of_others_end_with_one_sentence_and_the_owners_work(world: World) -> None:
    job = await alices(world)
    for action in ("again", "vary", "upscale"):
        assert said(await press(world, action, job, 0, by=world.bob)) == UNKNOWN
    await world.settled()
    assert world.worker.current is None
    assert len(world.messages()) == 1
    for action in ("again", "vary", "upscale"):
        await press(world, action, job, 0)
        made, draw = await asked(world)
        assert made.member_id == world.alice.id
        assert [use.name for use in draw.request.concepts] == ["mug"]
        await finish(world, made.id)


async def test_who_presses_uses_their_own_concept_of_that_name(world: World) -> None:
    job = await alices(world)
    concept = await taught(world, world.bob, "mug", depicts=Depicts.SELF)
    await press(world, "again", job, 0, by=world.bob)
    made, draw = await asked(world)
    assert (made.member_id, made.of_person) == (world.bob.id, True)
    assert [use.path for use in draw.request.concepts] == [str(world.folder / concept.version.path)]


async def test_a_shared_concept_works_for_everybody_until_it_is_unshared(world: World) -> None:
    await shared(world, world.alice, "mug")
    job = await drawn(world, prompt=PROMPT)
    await press(world, "again", job, 0, by=world.bob)
    _, draw = await asked(world)
    assert [use.name for use in draw.request.concepts] == ["mug"]
    await world.alice.slash(world.channel, "concepts unshare", name="mug")
    await world.settled()
    assert said(await press(world, "again", job, 0, by=world.bob)) == UNKNOWN


# ── remix ──


async def test_the_form_has_the_words_without_anothers_concept(world: World) -> None:
    job = await alices(world)
    form = await press(world, "remix", job, 0, by=world.bob)
    assert form.modal is not None
    assert "mug" not in str(form.modal["components"])
    await world.bob.submit_modal(form, {})
    made, draw = await asked(world)
    assert (made.kind, made.member_id) == (JobKind.REMIX, world.bob.id)
    assert draw.request.prompt == "a photo of on a beach"
    assert draw.request.concepts == []


async def test_the_owners_form_has_it(world: World) -> None:
    job = await alices(world)
    form = await press(world, "remix", job, 0)
    assert PROMPT in str(form.modal)
    await world.alice.submit_modal(form, {"prompt": "<mug> in snow"})
    _, draw = await asked(world)
    assert (draw.request.prompt, [use.name for use in draw.request.concepts]) == ("<mug> in snow", ["mug"])


async def test_words_that_name_anothers_concept_come_back(world: World) -> None:
    job = await alices(world)
    form = await press(world, "remix", job, 0, by=world.bob)
    answer = said(await world.bob.submit_modal(form, {"prompt": "<mug> in snow"}))
    assert answer.startswith(UNKNOWN)
    assert "<mug> in snow" in answer  # what was typed, to copy


async def test_a_reply_goes_on_from_the_words_without_it(world: World) -> None:
    job = await alices(world)
    assert world.bot.user is not None
    await world.bob.send(world.channel, world.bot.user.mention, reply_to=message_of(world, job))
    _, draw = await asked(world)
    assert (draw.request.prompt, draw.request.concepts) == ("a photo of on a beach", [])


# ── what is explicit ──


async def test_an_explicit_picture_with_a_person_is_shown_nowhere(world: World) -> None:
    await taught(world, world.alice, "mug", depicts=Depicts.ADULT)
    restrict_by_age(world)
    await world.settled()
    world.worker.nsfw = 0.9
    job = await drawn(world, prompt=PROMPT)
    assert job.of_person
    message = message_of(world, job)
    assert message.attachments == []
    assert "may be explicit, so it is not shown" in message.content
    listed = await world.alice.slash(world.channel, "history")
    assert listed.response is not None
    note = listed.response.embeds[0].description or ""
    assert "a concept of a person is in it, so it is not shown." in note


async def test_it_is_so_for_what_is_made_from_it_without_the_concept(world: World) -> None:
    job = await alices(world, depicts=Depicts.ADULT)
    form = await press(world, "remix", job, 0, by=world.bob)
    await world.bob.submit_modal(form, {"prompt": "a red apple"})
    made, draw = await asked(world)
    assert draw.request.concepts == []
    assert made.of_person


async def test_a_thing_is_shown_as_a_spoiler_there(world: World) -> None:
    await taught(world, world.alice, "mug")
    restrict_by_age(world)
    await world.settled()
    world.worker.nsfw = 0.9
    job = await drawn(world, prompt=PROMPT)
    assert [file.filename.startswith("SPOILER_") for file in message_of(world, job).attachments] == [True]


# ── drawing it again ──


async def test_a_lost_picture_is_drawn_again_with_the_very_file(world: World) -> None:
    """A newer version of the concept would draw another picture."""
    job = await alices(world)
    first = (await images(world, job))[0].recipe.concepts[0].sha256
    await taught(world, world.alice, "mug")
    await world.alice.slash(world.channel, "concepts rename", name="mug", new_name="cup")
    message = message_of(world, job)
    stored = world.env.backend.get_message(world.channel.id, message.id)
    stored.attachments.clear()
    remove_files(world, job)
    form = await world.alice.click(message, custom_id=button(message, "remix", 0))
    await world.alice.submit_modal(form, {"prompt": "<cup> in snow"})
    made, draw = await asked(world)
    assert draw.redraw is not None
    (use,) = draw.redraw.concepts
    concept = (await world.studio.concepts.own(world.alice.id))[0]
    assert [version.sha256 for version in concept.versions][1] == first
    assert (use.name, use.path) == ("mug", str(world.folder / concept.versions[1].path))
    assert [use.path for use in draw.request.concepts] == [str(world.folder / concept.version.path)]
    assert made.redraw is not None


async def test_nobody_else_has_it_drawn_again(world: World) -> None:
    job = await alices(world)
    message = message_of(world, job)
    world.env.backend.get_message(world.channel.id, message.id).attachments.clear()
    remove_files(world, job)
    form = await world.bob.click(message, custom_id=button(message, "remix", 0))
    answer = said(await world.bob.submit_modal(form, {"prompt": "a red apple"}))
    assert answer.startswith("This picture is no longer kept and can't be drawn again as it was")
    assert world.worker.current is None


async def test_a_concept_that_is_gone_leaves_its_pictures(world: World) -> None:
    job = await alices(world)
    await world.studio.concepts.delete(world.alice.id, "mug")
    assert said(await press(world, "again", job, 0)) == UNKNOWN
    form = await press(world, "remix", job, 0)
    await world.alice.submit_modal(form, {})
    _, draw = await asked(world)
    assert draw.request.prompt == "a photo of on a beach"
