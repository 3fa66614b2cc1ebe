"""Words about concepts: lists, one of them in full, sharing, files that come and go, and taking one down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.chat.wording import training as taught
from bot.chat.wording import training_job
from bot.chat.wording.text import ALT_TEXT_LIMIT, MESSAGE_LIMIT, escaped, shortened
from training.order import Depicts, Method, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.concepts import Concept, ConceptVersion
    from generation.request import ModelInfo

NONE_USABLE: Final = "You have no concepts yet, and none is shared here: /train makes one from a few photos."
_SHOWN_HERE: Final = 15
"""Of others' concepts in the list."""


def token(name: str) -> str:
    """As it is written in prompts. Names have nothing that Discord could take for markup."""
    return f"`<{name}>`"


# ── lists ──


def listed(
    own: Sequence[Concept], here: Sequence[Concept], *, limit: int, guild_id: int | None, model: ModelInfo | None
) -> str:
    """`own` concepts of `limit`, and those which others share `here`."""
    if not own and not here:
        return NONE_USABLE
    lines: list[str] = []
    if own:
        lines.append(f"**Your concepts** ({len(own)} of {limit})")
        lines += [" · ".join(filter(None, [_what(one), _shared(one, guild_id), _wrong(one, model)])) for one in own]
    if here:
        lines.append("**Shared here by others**")
        lines += [
            " · ".join(filter(None, [_what(one), f"<@{one.owner_id}>", _wrong(one, model)]))
            for one in here[:_SHOWN_HERE]
        ]
        if len(here) > _SHOWN_HERE:
            lines.append(f"… and {len(here) - _SHOWN_HERE} more")
    lines.append("-# /concepts show tells more about one; in a prompt you write its name with the angle brackets")
    return "\n".join(lines)[:MESSAGE_LIMIT]


def _what(concept: Concept) -> str:
    return f"{token(concept.name)} {escaped(concept.version.class_word)}"


def _shared(concept: Concept, guild_id: int | None) -> str:
    here = guild_id in concept.shared_in
    others = len(concept.shared_in) - here
    if here:
        return "shared here" if not others else f"shared here and in {_servers(others)}"
    return f"shared in {_servers(others)}" if others else ""


def _servers(others: int) -> str:
    return "1 other server" if others == 1 else f"{others} other servers"


def _wrong(concept: Concept, model: ModelInfo | None) -> str:
    return "" if concept.version.fits(None if model is None else model.hash) else "made for another model"


# ── one of them ──

_OF: Final = {
    Depicts.THING: "a thing or an animal",
    Depicts.SELF: "yourself",
    Depicts.ADULT: "another adult who agreed",
}
_LEARNED: Final = {
    Verdict.LEARNED: "✅ It learned what it was shown.",
    Verdict.PARTLY: "🟡 It learned partly: its pictures are not always like the photos.",
    Verdict.NOT_LEARNED: "❌ It did not learn: its pictures are not like the photos. Try other photos.",
}
STRIP_GONE: Final = "It has no sample pictures."


def shown(concept: Concept, *, member_id: int, guild_id: int | None, model: ModelInfo | None) -> str:
    """One concept for whoever may use it; more of it for its owner."""
    version, own = concept.version, concept.owner_id == member_id
    whose = "your concept" if own else f"a concept of <@{concept.owner_id}>, shared here"
    lines = [f"**{token(concept.name)}**, {whose}", *_figures(version), made_for(version, model)]
    small: list[str] = []
    if own:
        small = [f"of {_OF[concept.depicts]}", _shared(concept, guild_id) or "only you can use it"]
        small += [_version(one, newest=one is version) for one in concept.versions]
    elif concept.depicts.is_person:
        small = ["of a person"]
    return "\n".join([*filter(None, lines), *(f"-# {line}" for line in small)])[:MESSAGE_LIMIT]


def _figures(version: ConceptVersion) -> list[str]:
    if version.trained is None:
        return [f"Brought in as a file: {_method(version)}, {escaped(version.class_word)}."]
    small = training_job.card_lines(version.trained)
    return [_LEARNED[version.trained.card.verdict], *(f"-# {line}" for line in small)]


def made_for(version: ConceptVersion, model: ModelInfo | None) -> str:
    """For which model; and what that means where another is loaded."""
    if not version.model_hash:
        return "It is not known for which model it was made."
    if model is None:
        return f"Made for the model {escaped(version.model_name)}; the model is still loading."
    if version.fits(model.hash):
        return f"Made for the model that is loaded, {escaped(model.name)}."
    return (
        f"Made for the model {escaped(version.model_name)}, but {escaped(model.name)} is loaded now: "
        "it can't be used with that one."
    )


def _version(version: ConceptVersion, *, newest: bool) -> str:
    came = "imported" if version.trained is None else "trained"
    use = ", in use" if newest else ""
    return f"version {version.number}{use}: {_method(version)}, {came} <t:{int(version.created_at.timestamp())}:R>"


def _method(version: ConceptVersion) -> str:
    return taught.method_name(version.method)


def strip_alt_text(concept: Concept) -> str:
    card = None if concept.version.trained is None else concept.version.trained.card
    verdict = "" if card is None else f" {_LEARNED[card.verdict][2:]}"
    return shortened(f"Sample pictures of <{concept.name}> while it was trained.{verdict}", ALT_TEXT_LIMIT)


# ── what is done with them ──


def shared(name: str, *, person: bool) -> str:
    whom = " It is of a person: they must agree to that." if person else ""
    return (
        f"Everybody in this server can now write {token(name)} in their prompts and see it in /concepts list, with "
        f"your name.{whom} /concepts unshare ends it; pictures that were made meanwhile stay."
    )


def unshared(name: str) -> str:
    return f"{token(name)} is no longer shared here. Pictures that others made with it stay."


def renamed(old: str, new: str) -> str:
    return f"{token(old)} is now {token(new)}. Pictures and recipes that were made before keep the old name."


DELETE: Final = "Delete for good"
DELETED_ALREADY: Final = "It is deleted already."


def really_delete(concept: Concept) -> str:
    versions = len(concept.versions)
    all_of = "" if versions == 1 else f" with all {versions} versions"
    others = " Those with whom it is shared can't use it any more either." if concept.shared_in else ""
    return (
        f"Delete {token(concept.name)}{all_of} for good? What was learned and its samples go; pictures that were "
        f"made with it stay.{others}"
    )


def deleted(name: str) -> str:
    return f"{token(name)} is deleted."


# ── files ──

ONLY_SAFETENSORS: Final = (
    "Only .safetensors files are read: others, such as .ckpt, .pt and .bin, can hold programs that would run here."
)
IMPORT_AGREE: Final = "I may use this file, and I agree"
IMPORT_CONSENT_VERSION: Final = "import-2026-11-23"
"""Kept with the concept. Another text needs another version: a test knows which text this one is."""
IMPORT_CONSENT: Final = """\
**What you agree to**
**Kept until you delete it** (/concepts delete or /forget-me): the file, its name and class, and that you agreed. \
The operator's backups may hold it until they expire.
**Who can use it:** only you, until you share it with a server.
**Whom it may show:** things, animals, yourself, or another adult who agreed to all of this. Children are refused: \
bring no file that was made from photos of a child."""
IMPORT_FILE: Final = "File"
IMPORT_HINT: Final = "A textual inversion or a LoRA, .safetensors"
IMPORT_CHANGED: Final = "What is agreed to has changed since this form was opened: use /concepts import again."
IMPORT_NOT_DOWNLOADED: Final = "I could not download your file from Discord: use /concepts import again, please."
IMPORT_NOT_AGREED: Final = (
    "I keep a concept only where you say what it is and agree, with one file: use /concepts import again."
)


def import_title(name: str) -> str:
    return f"Bring in <{name}>"


def too_large_file(size: int, limit: int) -> str:
    return f"This file is {size / 2**20:,.0f} MiB; at most {limit / 2**20:,.0f} MiB are read."


def imported(concept: Concept, model: ModelInfo | None) -> str:
    version = concept.version
    return (
        f"{token(concept.name)} is here, a {_method(version)}. {made_for(version, model)}\n"
        f"Write {token(concept.name)} in a prompt; only you can, until you share it."
    )


def export_name(concept: Concept) -> str:
    """As the programs that read such files look for it."""
    return (
        "learned_embeds.safetensors"
        if concept.version.method is Method.TEXTUAL_INVERSION
        else f"{concept.name}.safetensors"
    )


def exported(concept: Concept) -> str:
    version = concept.version
    if version.method is Method.TEXTUAL_INVERSION:
        how = "It is a textual inversion, which diffusers and most other programs load as it is."
    elif version.method is Method.DREAMBOOTH:
        how = "It holds all that DreamBooth changed, which Atelier reads; diffusers and other programs don't."
    elif version.trigger:
        how = (
            f"It is loaded as a LoRA, by diffusers and most other programs; there, write "
            f"`{escaped(version.trigger)}` where you write {token(concept.name)} here."
        )
    else:
        how = "It is loaded as a LoRA, by diffusers and most other programs."
    return f"{how} It was made for the model {escaped(version.model_name) or 'of its maker'}."


def too_large_to_export(concept: Concept, limit: int) -> str:
    size = concept.version.bytes
    return (
        f"Its file is {size / 2**20:,.1f} MiB, and Discord takes {limit / 2**20:,.0f} MiB here: the operator can "
        "give it to you with atelier concepts export."
    )


# ── moderators ──


def taken_down(concept: Concept, *, told: bool) -> str:
    owner = f"<@{concept.owner_id}>"
    knows = f"{owner} has been told." if told else f"{owner} could not be told."
    return (
        f"{token(concept.name)} is no longer shared in this server. It stays private with its owner, and pictures "
        f"that were made with it stay until they are deleted. {knows}"
    )


def told_owner(name: str, server: str) -> str:
    where = f"the server {escaped(shortened(server, 100))}" if server else "a server"
    return (
        f"A moderator of {where} has ended the sharing of your concept {token(name)} there: it is still yours, "
        "but cannot be shared there again."
    )
