"""/concepts import: one file, what it is of, and that it was agreed to; nothing else is kept."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from bot.chat.wording import concepts as words
from bot.errors import NotDownloaded
from tests.bot.chat.pressing import said
from tests.bot.chat.taught import safetensors
from training.order import Depicts, Method

if TYPE_CHECKING:
    from conftest import World
    from simcord.actors import MemberActor

VERSIONS = {
    "import-2026-11-23": "27c55e24dde2cf98b0dac152a73725a687006689f13db2c6685a6259d87a095a",
}
"""Text of each version that members have agreed to, as SHA-256: a changed text needs a new version."""


async def brought(
    world: World,
    who: MemberActor,
    data: bytes,
    *,
    name: str = "<Mug>",
    filename: str = "mug.SafeTensors",
    depicts: str = "thing",
) -> str:
    form = await who.slash(world.channel, "concepts import", **{"name": name, "class": "Teddy  Bear"})
    assert form.modal is not None
    values: dict[str, Any] = {"file": [(filename, data)], "depicts": depicts, "agree": ["yes"]}
    return said(await who.submit_modal(form, values))


async def test_a_textual_inversion_is_kept_for_its_member_alone(world: World) -> None:
    data = safetensors(emb_params=[0.5, -0.25])
    text = await brought(world, world.alice, data, depicts="self")
    assert text.startswith("`<mug>` is here, a textual inversion.")
    assert "only you can, until you share it" in text
    (concept,) = await world.studio.concepts.own(world.alice.id)
    version = concept.version
    assert (concept.name, concept.depicts, concept.consent) == ("mug", Depicts.SELF, words.IMPORT_CONSENT_VERSION)
    assert (version.method, version.class_word, version.trained) == (Method.TEXTUAL_INVERSION, "teddy bear", None)
    assert version.sha256 == hashlib.sha256(data).hexdigest()
    assert (world.folder / version.path).read_bytes() == data
    shown = await world.alice.slash(world.channel, "concepts show", name="mug")
    assert "Brought in as a file: textual inversion, teddy bear." in said(shown)
    assert world.messages() == []  # nobody else is told


async def test_what_is_agreed_to_is_in_the_form(world: World) -> None:
    form = await world.alice.slash(world.channel, "concepts import", **{"name": "mug", "class": "cup"})
    assert form.modal is not None
    assert form.modal["title"] == "Bring in <mug>"
    text = json.dumps(form.modal["components"])
    assert "Children are refused" in text
    assert [part["type"] for part in form.modal["components"]] == [18, 18, 10, 18]


async def test_the_longest_form_has_an_id_that_discord_takes(world: World) -> None:
    form = await world.alice.slash(world.channel, "concepts import", **{"name": "m" * 32, "class": "c" * 40})
    assert form.modal is not None
    assert len(form.modal["custom_id"]) <= 100
    assert len(form.modal["title"]) <= 45
    values = {"file": [("a.safetensors", safetensors(emb_params=[0.5]))], "depicts": "thing", "agree": ["yes"]}
    assert said(await world.alice.submit_modal(form, values)).startswith(f"`<{'m' * 32}>` is here")


async def test_a_file_that_can_not_be_downloaded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(*_: Any, **__: Any) -> bytes:
        raise NotDownloaded

    monkeypatch.setattr("bot.chat.concept_import.download", lost)
    assert await brought(world, world.alice, safetensors(emb_params=[0.5])) == words.IMPORT_NOT_DOWNLOADED


async def test_files_that_are_refused(world: World) -> None:
    refused = [
        ("mug.ckpt", b"\x80\x02", "Only .safetensors files are read"),
        ("mug.safetensors.pt", b"PK\x03\x04", "Only .safetensors files are read"),
        ("mug.safetensors", b"\x80\x04 a pickle", "This file cannot be used as a concept: it is a pickle"),
        ("mug.safetensors", b"\x00" * 40, "This file cannot be used as a concept: it is not a whole .safetensors"),
        ("mug.safetensors", safetensors(emb_params=[float("nan")]), "This file cannot be used as a concept: there"),
    ]
    for filename, data, sentence in refused:
        text = await brought(world, world.alice, data, filename=filename)
        assert text.startswith(sentence)
    assert await world.studio.concepts.own(world.alice.id) == []
    assert list((world.folder / "concepts").glob("*")) == []


async def test_a_file_that_is_too_large_is_not_downloaded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.chat.concept_import.FILE_BYTES", 100)
    before = len(world.env.http_requests)
    text = await brought(world, world.alice, safetensors(emb_params=[0.0] * 50))
    assert text.startswith("This file is 0 MiB; at most 0 MiB are read.")
    assert not [one for one in world.env.http_requests[before:] if "attachments" in one.path]


async def test_names_classes_and_children(world: World) -> None:
    async def refused(name: str, kind: str) -> str:
        return said(await world.alice.slash(world.channel, "concepts import", **{"name": name, "class": kind}))

    assert (await refused("../../x", "cup")).startswith("A concept's name has 1 to 32 letters")
    assert (await refused("mug", "<cup>")).startswith("class must be")
    assert (await refused("mug", "toddler")).startswith("Concepts of children are refused.")


async def test_a_name_that_they_have_is_refused_before_a_file_is_sent(world: World) -> None:
    await brought(world, world.alice, safetensors(emb_params=[0.5]))
    again = await world.alice.slash(world.channel, "concepts import", **{"name": "<MUG>", "class": "cup"})
    assert again.modal is None
    assert said(again).startswith("You have a concept \\<mug> already: choose another name")
    assert (await world.bob.slash(world.channel, "concepts import", **{"name": "mug", "class": "cup"})).modal


async def test_a_form_of_an_older_text_is_not_agreed_to_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = await world.alice.slash(world.channel, "concepts import", **{"name": "mug", "class": "cup"})
    monkeypatch.setattr("bot.chat.wording.concepts.IMPORT_CONSENT_VERSION", "import-2027-01-01")
    values = {"file": [("a.safetensors", b"x")], "depicts": "thing", "agree": ["yes"]}
    assert said(await world.alice.submit_modal(form, values)) == words.IMPORT_CHANGED


def test_each_text_has_its_version() -> None:
    known = VERSIONS[words.IMPORT_CONSENT_VERSION]
    assert hashlib.sha256(words.IMPORT_CONSENT.encode()).hexdigest() == known
