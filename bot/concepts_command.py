"""`atelier concepts`: what members have trained, for the operator of a data folder.

Looking and exporting work beside a running bot. Importing and deleting take the folder: the bot has to be stopped.
"""

import asyncio
import hashlib
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DatabaseError, OperationalError

from bot.concept_file import examined
from bot.concept_folders import ConceptFolders
from bot.concept_notes import ConceptNotes, NoConceptFile, copy_with_notes, read_notes
from bot.concepts import Concept, ConceptVersion, NewVersion, Removed
from bot.errors import (
    ConceptFileGone,
    DatabaseDamaged,
    NoConcepts,
    NoOwner,
    NoSuchConcept,
    UserError,
    WhoseConcept,
    sentence,
)
from bot.job import new_job_id
from bot.registry.concepts import Concepts
from bot.registry.database import Database
from bot.registry.registry import DATABASE, Registry
from bot.settings import Settings, SettingsError, load_settings
from bot.studio import utc_now
from generation.request import ConceptUse, InvalidRequest
from training.names import class_word as checked_class_word
from training.names import concept_name
from training.order import Card, Depicts

CONSENT = "command line"
"""In the place of a text's version: nobody was shown one."""

Printed = str
"""What the command says, on standard output."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What `atelier concepts import` was told. None: as the file says of itself."""

    file: Path
    name: str | None
    class_word: str | None
    depicts: Depicts | None
    owner: int | None


def list_concepts(*, playground: bool) -> int:
    """This and the following return the exit code."""

    async def listed(settings: Settings) -> Printed:
        return "\n".join(map(_line, await _all(settings))) or "There are no concepts."

    return _run(listed, playground)


def show_concept(name: str, owner: int | None, *, playground: bool) -> int:
    async def shown(settings: Settings) -> Printed:
        concept = _chosen(await _all(settings), name, owner)
        return "\n".join([_line(concept), *map(_version_lines, concept.versions)])

    return _run(shown, playground)


def export_concept(name: str, owner: int | None, output: Path | None, *, playground: bool) -> int:
    async def exported(settings: Settings) -> Printed:
        concept = _chosen(await _all(settings), name, owner)
        source = ConceptFolders(settings.data_dir.absolute()).absolute(concept.version.path)
        if not source.is_file():
            raise ConceptFileGone(name=concept.name)
        target = output or Path(f"{concept.name}.safetensors")
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_with_notes(source, target, _notes(concept))
        return str(target)

    return _run(exported, playground)


def import_concept(wanted: Imported, *, playground: bool) -> int:
    async def imported(settings: Settings) -> Printed:
        if (owner := wanted.owner or settings.operator_id) is None:
            raise NoOwner
        new, data = _new_version(wanted, owner)
        async with Registry(settings.data_dir) as registry:
            folders = ConceptFolders(registry.folder)
            try:
                new = replace(new, path=folders.keep_file(new.id, data))
                concept = await registry.concepts.add(new, concepts_at_most=settings.concepts_per_member)
            except BaseException:
                folders.remove(new.id)
                raise
        return _line(concept)

    return _run(imported, playground)


def delete_concept(name: str, owner: int | None, *, playground: bool) -> int:
    async def deleted(settings: Settings) -> Printed:
        await _all(settings)  # no folder is made, and no old database brought up to date, for nothing
        async with Registry(settings.data_dir) as registry:
            concept = _chosen(await registry.concepts.all(), name, owner)
            folders = ConceptFolders(registry.folder)
            withdrawn = await registry.concepts.delete(concept.owner_id, concept.name, utc_now())
            _remove(withdrawn.removed, folders)
            for job in withdrawn.cancelled:
                folders.remove_training(job.id)
            await registry.removals.leave_no_trace()
        return f"<{concept.name}> of member {concept.owner_id} is deleted."

    return _run(deleted, playground)


def _run(work: Callable[[Settings], Coroutine[Any, Any, Printed]], playground: bool) -> int:
    try:
        settings = load_settings()
        if playground:
            settings = settings.with_changes(data_dir=settings.data_dir / "playground")
        print(asyncio.run(work(settings)))  # noqa: T201 - the command's result
    except (SettingsError, NoConceptFile) as error:
        return _failed(str(error))
    except (UserError, InvalidRequest) as error:
        return _failed(sentence(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror))
    return 0


def _failed(said: str) -> int:
    print(said, file=sys.stderr)  # noqa: T201
    return 2


async def _all(settings: Settings) -> list[Concept]:
    """Reads only. Raises NoConcepts, DatabaseDamaged."""
    path = settings.data_dir / DATABASE
    if not path.is_file():
        raise NoConcepts(folder=settings.data_dir)
    database = Database(path)
    try:
        return await Concepts(database).all()
    except OperationalError as error:  # of an earlier version, which had none
        raise NoConcepts(folder=settings.data_dir) from error
    except DatabaseError as error:
        raise DatabaseDamaged(path=path, reason=error.orig) from error
    finally:
        await database.close()


def _chosen(concepts: list[Concept], name: str, owner: int | None) -> Concept:
    """Raises InvalidRequest, NoSuchConcept, WhoseConcept."""
    name = concept_name(name)
    found = [concept for concept in concepts if concept.name == name and owner in (None, concept.owner_id)]
    if not found:
        raise NoSuchConcept(name=name)
    if len(found) > 1:
        raise WhoseConcept(name=name, owners=", ".join(str(concept.owner_id) for concept in found))
    return found[0]


def _remove(removed: Removed, folders: ConceptFolders) -> None:
    for version in removed.versions:
        folders.remove(version)


def _new_version(wanted: Imported, owner: int) -> tuple[NewVersion, bytes]:
    """Raises OSError, NoConceptFile, ConceptFileRefused, InvalidRequest."""
    notes = read_notes(wanted.file)
    data = wanted.file.read_bytes()
    facts = examined(data)
    word = wanted.class_word if wanted.class_word is not None else notes.class_word if notes else None
    if word is None:
        said = "Say what kind of thing it is with --class-word: the file does not."
        raise InvalidRequest("class", None, "a word", said)
    word = checked_class_word(word)
    trigger = notes.trigger if notes else facts.trigger(word)
    now = utc_now()
    new = NewVersion(
        id=new_job_id(now.timestamp()),
        owner_id=owner,
        guild_id=None,
        name=concept_name(wanted.name or (notes.name if notes else wanted.file.stem)),
        depicts=wanted.depicts or (notes.depicts if notes else Depicts.THING),
        consent=CONSENT,
        method=notes.method if notes else facts.method,
        class_word=word,
        trigger=ConceptUse(name="any", path="any", trigger=trigger).trigger,  # as prompts will have it
        path="",
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        model_hash=notes.model_hash if notes else "",
        model_name=notes.model_name if notes else "",
        trained=None,
        created_at=now,
    )
    return new, data


def _notes(concept: Concept) -> ConceptNotes:
    version = concept.version
    return ConceptNotes(
        name=concept.name,
        trigger=version.trigger,
        class_word=version.class_word,
        method=version.method,
        depicts=concept.depicts,
        model_hash=version.model_hash,
        model_name=version.model_name,
    )


# ── words ──


def _line(concept: Concept) -> str:
    shared = f"shared in {len(concept.shared_in)}" if concept.shared_in else "private"
    versions = f"{len(concept.versions)} versions" if len(concept.versions) > 1 else "1 version"
    of = f"{concept.version.class_word} ({concept.depicts})"
    return f"<{concept.name}> of member {concept.owner_id}: {of}, {concept.version.method}, {versions}, {shared}"


def _version_lines(version: ConceptVersion) -> str:
    made_for = version.model_name or "any model"
    lines = [
        f"  {version.number}, {version.created_at:%Y-%m-%d %H:%M} UTC: {version.bytes / 1e6:.1f} MB for {made_for}",
        f"    {version.path}, SHA-256 {version.sha256}",
    ]
    if version.trained is None:
        return "\n".join([*lines, "    imported"])
    lines.append(f"    {version.trained.steps} steps in {version.trained.seconds:.0f} s")
    return "\n".join([*lines, f"    {_card(version.trained.card)}"])


def _card(card: Card) -> str:
    figures = {
        "similarity": card.similarity,
        "prompt fidelity": card.prompt_fidelity,
        "drift": card.drift,
    }
    measured = [f"{name} {value:.2f}" for name, value in figures.items() if value is not None]
    return ", ".join([str(card.verdict), *measured])
