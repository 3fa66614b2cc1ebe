"""/concepts and /moderate takedown: what each member reads, and what nobody else learns of private ones."""

from __future__ import annotations

import io
import json
import struct
from typing import TYPE_CHECKING

import discord
import pytest
from PIL import Image
from simcord.backend.errors import SetupError

from tests.bot.chat.taught import shared, taught
from training.order import Card, Depicts, Method, Verdict

if TYPE_CHECKING:
    from conftest import World
    from simcord.actors import MemberActor

UNKNOWN = r"There is no concept \<mug> that you can use here: /concepts list shows those that there are."


async def said(world: World, who: MemberActor, command: str, **options: object) -> str:
    result = await who.slash(world.channel, command, **options)
    assert result.ephemeral
    assert result.response is not None
    return result.response.content


async def offered(world: World, who: MemberActor, command: str, typed: str = "") -> list[str]:
    choices = await who.autocomplete(world.channel, command, "name", typed)
    assert all(choice["name"] == choice["value"] for choice in choices)
    return [choice["value"] for choice in choices]


# ── looking ──


async def test_the_list_has_own_ones_and_shared_ones_and_no_others(world: World) -> None:
    assert await said(world, world.alice, "concepts list") == (
        "You have no concepts yet, and none is shared here: /train makes one from a few photos."
    )
    await taught(world, world.alice, "my-cat")
    await shared(world, world.alice, "tom")
    await shared(world, world.bob, "rex", model=("f" * 64, "other"))
    await taught(world, world.bob, "secret")
    text = await said(world, world.alice, "concepts list")
    assert text.split("\n")[:-1] == [
        "**Your concepts** (2 of 5)",
        "`<my-cat>` cat",
        "`<tom>` cat · shared here",
        "**Shared here by others**",
        f"`<rex>` cat · {world.bob.mention} · made for another model",
    ]
    assert "secret" not in text


async def test_ones_own_concept_in_full(world: World) -> None:
    concept = await taught(world, world.alice, "my-cat", depicts=Depicts.SELF)
    result = await world.alice.slash(world.channel, "concepts show", name="<My-Cat>")
    assert result.ephemeral
    assert result.response is not None
    lines = result.response.content.split("\n")
    assert lines[0] == "**`<my-cat>`**, your concept"
    assert lines[1] == "✅ It learned what it was shown."
    assert "-# of yourself" in lines
    assert "-# only you can use it" in lines
    when = int(concept.version.created_at.timestamp())
    assert lines[-1] == f"-# version 1, in use: LoRA, trained <t:{when}:R>"
    assert any("Made for the model that is loaded" in line for line in lines)
    assert any("87%" in line for line in lines)
    (strip,) = result.response.attachments
    assert strip.filename == "my-cat-samples.png"
    assert strip.description == ("Sample pictures of <my-cat> while it was trained. It learned what it was shown.")
    with Image.open(io.BytesIO(await strip.read())) as picture:
        assert picture.size == (256, 64)


async def test_the_newest_version_is_shown_and_the_others_are_named(world: World) -> None:
    await taught(world, world.alice, "my-cat", trained=False, method=Method.TEXTUAL_INVERSION, strip=False)
    unlike = Card(verdict=Verdict.NOT_LEARNED, similarity=0.1)
    await taught(world, world.alice, "my-cat", card=unlike, strip=False, model=("f" * 64, "another one"))
    text = await said(world, world.alice, "concepts show", name="my-cat")
    assert "❌ It did not learn" in text
    assert "Made for the model another one, but " in text
    assert "is loaded now: it can't be used with that one." in text
    assert "version 2, in use: LoRA, trained" in text
    assert "version 1: textual inversion, imported" in text
    assert "It has no sample pictures." in text


async def test_somebody_elses_concept_is_shown_only_where_it_is_shared(world: World) -> None:
    await taught(world, world.bob, "mug", depicts=Depicts.ADULT)
    assert await said(world, world.alice, "concepts show", name="mug") == UNKNOWN
    await world.studio.concepts.share(world.bob.id, world.env.guild.id, "mug")
    text = await said(world, world.alice, "concepts show", name="mug")
    assert text.startswith(f"**`<mug>`**, a concept of {world.bob.mention}, shared here\n")
    assert text.endswith("-# of a person")
    assert "version" not in text


# ── sharing and naming ──


async def test_sharing_and_its_end(world: World) -> None:
    await taught(world, world.alice, "mug", depicts=Depicts.ADULT)
    text = await said(world, world.alice, "concepts share", name="mug")
    assert text.startswith("Everybody in this server can now write `<mug>`")
    assert "they must agree" in text
    assert [one.name for one in await world.studio.concepts.usable(world.bob.id, world.env.guild.id)] == ["mug"]
    assert await said(world, world.alice, "concepts unshare", name="mug") == (
        "`<mug>` is no longer shared here. Pictures that others made with it stay."
    )
    assert not await world.studio.concepts.usable(world.bob.id, world.env.guild.id)


async def test_only_the_owner_shares_renames_deletes_and_exports(world: World) -> None:
    await shared(world, world.bob, "mug")
    for command in ("share", "unshare", "delete", "export"):
        assert await said(world, world.alice, f"concepts {command}", name="mug") == UNKNOWN
    assert await said(world, world.alice, "concepts rename", name="mug", new_name="cup") == UNKNOWN
    assert len(await world.studio.concepts.own(world.bob.id)) == 1


async def test_a_shared_name_is_not_shared_twice(world: World) -> None:
    await shared(world, world.bob, "mug")
    await taught(world, world.alice, "mug")
    assert await said(world, world.alice, "concepts share", name="mug") == (
        r"A concept \<mug> is shared in this server already: rename yours first, with /concepts rename."
    )
    renamed = await said(world, world.alice, "concepts rename", name="mug", new_name="<CUP>")
    assert renamed == "`<mug>` is now `<cup>`. Pictures and recipes that were made before keep the old name."
    assert "can now write `<cup>`" in await said(world, world.alice, "concepts share", name="cup")


async def test_names_that_can_not_be(world: World) -> None:
    await taught(world, world.alice, "mug")
    for name in ("../../x", "a b", "<|endoftext|>", "\u202ecat", "-", "x" * 33):
        text = await said(world, world.alice, "concepts rename", name="mug", new_name=name)
        assert text.startswith("A concept's name has 1 to 32 letters a to z, digits and hyphens")


# ── deleting ──


async def test_deleting_asks_first(world: World) -> None:
    concept = await shared(world, world.alice, "mug")
    asked = await world.alice.slash(world.channel, "concepts delete", name="mug")
    assert asked.response is not None
    assert asked.response.content.startswith("Delete `<mug>` for good?")
    assert "Those with whom it is shared" in asked.response.content
    custom_id = f"atelier:concept:delete:{concept.id}"
    await world.bob.slash(world.channel, "concepts list")
    await world.alice.click(asked.response, custom_id=custom_id)
    await world.settled()
    assert await world.studio.concepts.own(world.alice.id) == []
    assert not (world.folder / "concepts" / concept.version.id).exists()
    assert world.worker.forgotten == [concept.version.sha256]


async def test_the_question_outlives_a_restart_and_names_no_other_concept(world: World) -> None:
    first = await taught(world, world.alice, "mug")
    asked = await world.alice.slash(world.channel, "concepts delete", name="mug")
    await world.alice.slash(world.channel, "concepts rename", name="mug", new_name="old")
    other = await taught(world, world.alice, "mug")
    await world.restart()
    assert asked.response is not None
    await world.alice.click(asked.response, custom_id=f"atelier:concept:delete:{first.id}")
    assert [one.id for one in await world.studio.concepts.own(world.alice.id)] == [other.id]


# ── files ──


async def test_export(world: World) -> None:
    expected = [
        (Method.LORA, "mug.safetensors", "write `zwqk cat` where you write `<mug>` here"),
        (Method.TEXTUAL_INVERSION, "learned_embeds.safetensors", "a textual inversion"),
        (Method.DREAMBOOTH, "mug.safetensors", "diffusers and other programs don't"),
    ]
    for method, filename, how in expected:
        concept = await taught(world, world.alice, "mug", method=method)
        result = await world.alice.slash(world.channel, "concepts export", name="mug")
        assert result.ephemeral
        assert result.response is not None
        assert how in result.response.content
        (file,) = result.response.attachments
        assert file.filename == filename
        data = await file.read()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        assert concept.version.id in header  # the tensor of that very version
        assert data.endswith(struct.pack("<2f", 0.25, -1.5))


async def test_a_file_that_is_too_large_for_discord(world: World) -> None:
    await taught(world, world.alice, "mug", size=900 * 1024 * 1024)
    text = await said(world, world.alice, "concepts export", name="mug")
    assert text.startswith("Its file is 900.0 MiB, and Discord takes ")
    assert text.endswith("MiB here: the operator can give it to you with atelier concepts export.")


# ── names while they are typed ──


async def test_names_are_offered_to_those_who_can_use_them(world: World) -> None:
    await taught(world, world.alice, "my-cat")
    await shared(world, world.alice, "tom-cat")
    await shared(world, world.bob, "cat")
    await taught(world, world.bob, "cat-secret")
    assert await offered(world, world.alice, "concepts show") == ["my-cat", "tom-cat", "cat"]
    assert await offered(world, world.alice, "concepts show", "<to") == ["tom-cat"]
    assert await offered(world, world.alice, "concepts share") == ["my-cat"]
    assert await offered(world, world.alice, "concepts unshare") == ["tom-cat"]
    for command in ("rename", "delete", "export"):
        assert await offered(world, world.alice, f"concepts {command}") == ["my-cat", "tom-cat"]
    assert await offered(world, world.bob, "concepts show", "cat") == ["cat", "cat-secret", "tom-cat"]


async def test_a_prompt_is_offered_with_the_name_at_its_end(world: World) -> None:
    await taught(world, world.alice, "my-cat")
    await shared(world, world.bob, "mug")
    await taught(world, world.bob, "my-secret")

    async def ends(typed: str) -> list[str]:
        found = await world.alice.autocomplete(world.channel, "imagine", "prompt", typed)
        assert all(choice["name"] == choice["value"] for choice in found)
        return [choice["value"] for choice in found]

    assert await ends("a photo of <m") == ["a photo of <my-cat>", "a photo of <mug>"]
    assert await ends("a photo of <my-cat> and <mu") == ["a photo of <my-cat> and <mug>"]
    assert await ends("a photo of my-cat") == []
    await taught(world, world.alice, "my-dog", model=("other", "another model"))
    assert await ends("<my-") == ["<my-cat>"], "the other can't be drawn with the loaded model"
    assert await offered(world, world.alice, "concepts show", "my-") == ["my-cat", "my-dog"]


# ── moderators ──


@pytest.fixture
def carol(world: World) -> MemberActor:
    """A moderator."""
    guild = world.env.guild
    moderators = guild.create_role("mods", permissions=discord.Permissions(moderate_members=True))
    return guild.add_member(world.env.create_user("carol"), roles=[moderators])


async def test_a_moderator_ends_a_sharing(world: World, carol: MemberActor) -> None:
    await shared(world, world.alice, "mug")
    await taught(world, carol, "mug")
    await taught(world, world.alice, "secret")
    assert await offered(world, carol, "moderate takedown") == ["mug"]
    text = await said(world, carol, "moderate takedown", name="mug")
    assert text.startswith("`<mug>` is no longer shared in this server. It stays private with its owner")
    assert text.endswith(f"{world.alice.mention} has been told.")
    assert await world.studio.concepts.shared(world.env.guild.id) == []
    assert [one.name for one in await world.studio.concepts.own(world.alice.id)] == ["mug", "secret"]
    assert await said(world, carol, "moderate takedown", name="secret") == UNKNOWN.replace("mug", "secret")


async def test_others_do_not_even_see_that_command(world: World) -> None:
    await shared(world, world.alice, "mug")
    with pytest.raises(SetupError):
        await world.bob.slash(world.channel, "moderate takedown", name="mug")
