"""What members may do with concepts: look, use, share, rename, delete, import, export. Without Discord.

Concepts are private: one that a member may not use is as unknown to them as one that does not exist. Own names go
before shared ones. `guild_id` None is a direct message, where only own concepts can be used.
"""

import asyncio
import dataclasses
import hashlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from bot.concept_file import examined
from bot.concept_folders import ConceptFolders
from bot.concept_notes import ConceptNotes, NoConceptFile, copy_with_notes
from bot.concepts import EXPORT_FILE, STRIP_FILE, Concept, ConceptVersion, NewVersion, Removed
from bot.dispatcher import Dispatcher
from bot.errors import ConceptFileGone, ConceptUnknown, NotShareable, OwnNameTaken, RegistryTrouble, WrongModel
from bot.job import new_job_id
from bot.keeping import Keeping
from bot.registry.concepts import Withdrawn
from bot.registry.registry import Registry
from bot.trainings import TrainingEnds
from bot.uncancelled import Uncancelled
from generation.recipe import ConceptUsed
from generation.request import ConceptUse, InvalidRequest, shown
from training.names import class_word as checked_class_word
from training.names import concept_name, mentioned, without
from training.order import Depicts, TrainedConcept

log = logging.getLogger(__name__)


class ConceptCare:
    """Every method raises RegistryTrouble where the records can't be used right now. Names may be typed with or
    without angle brackets, in any case."""

    def __init__(
        self,
        registry: Registry,
        dispatcher: Dispatcher,
        folders: ConceptFolders,
        trainings: TrainingEnds,
        keeping: Keeping,
        clock: Callable[[], datetime],
        uncancelled: Uncancelled,
        concepts_at_most: int,
    ) -> None:
        self._concepts, self._removals = registry.concepts, registry.removals
        self._dispatcher, self._folders, self._trainings = dispatcher, folders, trainings
        self._keeping, self._clock, self._uncancelled = keeping, clock, uncancelled
        self._at_most = concepts_at_most

    # ── looking ──

    async def usable(self, member_id: int, guild_id: int | None) -> Sequence[Concept]:
        """What `<name>` can mean for them there: own ones by name, then those that others share in the server."""
        return await self._concepts.usable(member_id, guild_id)

    async def own(self, member_id: int) -> Sequence[Concept]:
        """By name."""
        return await self._concepts.own(member_id)

    async def shared(self, guild_id: int) -> Sequence[Concept]:
        """Everything that is shared in a server, whoever's it is, by name."""
        return await self._concepts.shared(guild_id)

    async def get(self, member_id: int, guild_id: int | None, name: str) -> Concept:
        """Their own of that name, else the one that is shared in the server. Raises ConceptUnknown."""
        name = _known_name(name)
        found = [concept for concept in await self.usable(member_id, guild_id) if concept.name == name]
        if not found:
            raise ConceptUnknown(name=name)
        return found[0]

    async def trained(self, job_id: str) -> TrainedConcept | None:
        """What came of a training; None where there is nothing of it (any more)."""
        version = await self._concepts.version(job_id)
        return None if version is None else version.trained

    def strip(self, version: Concept | ConceptVersion) -> Path:
        """Its sample pictures with the card, as one. Absolute; it may not exist."""
        version = version.version if isinstance(version, Concept) else version
        return self._folders.of(version.id) / STRIP_FILE

    # ── in prompts ──

    async def resolve(self, texts: Iterable[str], *, member_id: int, guild_id: int | None) -> list[ConceptUse]:
        """What the `<name>`s in these texts stand for, each once. Raises ConceptUnknown, WrongModel."""
        names = mentioned(texts)
        if not names:
            return []
        known = {concept.name: concept for concept in await self.usable(member_id, guild_id)}
        uses: list[ConceptUse] = []
        for name in names:
            if name not in known:
                raise ConceptUnknown(name=name)
            uses.append(self._use(name, known[name].version))
        return uses

    async def exactly(self, used: Sequence[ConceptUsed], *, member_id: int, guild_id: int | None) -> list[ConceptUse]:
        """The very files that a picture was drawn with, under the names of then, to draw it again.

        Raises ConceptUnknown where a file is gone or not theirs to use there, WrongModel.
        """
        usable = await self.usable(member_id, guild_id) if used else []
        versions = {v.sha256: v for concept in usable for v in concept.versions}
        uses: list[ConceptUse] = []
        for one in used:
            if one.sha256 not in versions:
                raise ConceptUnknown(name=one.name)
            uses.append(self._use(one.name, versions[one.sha256], one.weight))
        return uses

    async def may_use_all(self, texts: Iterable[str], *, member_id: int, guild_id: int | None) -> bool:
        """Is every `<name>` in these texts a concept that they can use there?"""
        names = mentioned(texts)
        if not names:
            return True
        return set(names) <= {concept.name for concept in await self.usable(member_id, guild_id)}

    async def strip_unusable(self, text: str, *, member_id: int, guild_id: int | None) -> str:
        """The text without the `<name>`s that they can't use there."""
        names = mentioned([text])
        if not names:
            return text
        known = {concept.name for concept in await self.usable(member_id, guild_id)}
        return without(text, set(names) - known)

    def _use(self, name: str, version: ConceptVersion, weight: float = 1.0) -> ConceptUse:
        """Its path is relative to the data folder. Raises WrongModel."""
        model = self._dispatcher.status.model
        if model is not None and not version.fits(model.hash):
            raise WrongModel(name=name, made_for=version.model_name, here=model.name)
        return ConceptUse(name=name, path=version.path, weight=weight, trigger=version.trigger)

    # ── their owner's wishes ──

    async def share(self, member_id: int, guild_id: int | None, name: str) -> Concept:
        """For everybody in the server; again changes nothing.

        Raises ConceptUnknown, ConceptNameTaken, ConceptTakenDown, NotShareable (in a direct message).
        """
        if guild_id is None:
            raise NotShareable
        return await self._concepts.share(member_id, guild_id, _known_name(name), self._clock())

    async def unshare(self, member_id: int, guild_id: int | None, name: str) -> Concept:
        """Others' open jobs with it there have failed. Raises ConceptUnknown, NotShareable (in a direct message)."""
        if guild_id is None:
            raise NotShareable
        change = self._concepts.unshare(member_id, guild_id, _known_name(name), self._clock())
        return (await self._uncancelled.run(self._withdraw(change))).concept

    async def take_down(self, guild_id: int, name: str, by: int) -> Concept:
        """A moderator's word: nobody but its owner can use it there any more, and they can't share it there again.

        Raises ConceptUnknown.
        """
        change = self._concepts.take_down(guild_id, _known_name(name), self._clock())
        withdrawn = await self._uncancelled.run(self._withdraw(change))
        log.info("a concept of member %d was taken down in server %d by %d", withdrawn.concept.owner_id, guild_id, by)
        return withdrawn.concept

    async def rename(self, member_id: int, old: str, new: str) -> Concept:
        """Raises InvalidRequest, ConceptUnknown, OwnNameTaken, ConceptNameTaken (where it is shared), TrainingActive
        (of either name)."""
        return await self._concepts.rename(member_id, _known_name(old), concept_name(new))

    async def delete(self, member_id: int, name: str) -> Concept:
        """For good: rows, weights, pictures, what the worker has loaded. Open jobs with it have failed, a training of
        it is cancelled. Raises ConceptUnknown."""
        change = self._concepts.delete(member_id, _known_name(name), self._clock())
        return (await self._uncancelled.run(self._withdraw(change))).concept

    async def _withdraw(self, change: Coroutine[Any, Any, Withdrawn]) -> Withdrawn:
        async with self._dispatcher.standstill:
            withdrawn = await change
            for job in withdrawn.cancelled:
                await self._dispatcher.let_go(job)
            for job in withdrawn.failed:
                await self._dispatcher.let_go(job, job.error)
        if withdrawn.removed.versions:
            await self._forget(withdrawn.removed)
        return withdrawn

    async def _forget(self, removed: Removed) -> None:
        await self._trainings.forget(removed)
        try:
            await self._removals.leave_no_trace()
        except RegistryTrouble as error:
            log.warning("the database's log could not be emptied: %s", error)

    # ── files ──

    async def export(self, member_id: int, name: str) -> Path:
        """Of their own concept: the newest version, in a file that says what it is, absolute; it goes with the
        concept. Raises ConceptUnknown, ConceptFileGone, OSError."""
        concept = await self.get(member_id, None, name)
        return await asyncio.to_thread(self._exported, concept)

    def _exported(self, concept: Concept) -> Path:
        version = concept.version
        target = self._folders.of(version.id) / EXPORT_FILE
        notes = ConceptNotes(
            name=concept.name,
            trigger=version.trigger,
            class_word=version.class_word,
            method=version.method,
            depicts=concept.depicts,
            model_hash=version.model_hash,
            model_name=version.model_name,
        )
        try:
            copy_with_notes(self._folders.absolute(version.path), target, notes)
        except (FileNotFoundError, NoConceptFile) as error:
            raise ConceptFileGone(name=concept.name) from error
        return target

    async def may_import(self, member_id: int, name: str) -> None:
        """Before a file is asked for. Raises InvalidRequest (the name), OwnNameTaken."""
        name = concept_name(name)
        if any(concept.name == name for concept in await self.own(member_id)):
            raise OwnNameTaken(name=name)

    async def import_file(
        self,
        member_id: int,
        guild_id: int | None,
        name: str,
        class_word: str,
        depicts: Depicts,
        consent: str,
        data: bytes,
    ) -> Concept:
        """A .safetensors file as a new concept.

        Raises InvalidRequest, ConceptFileRefused, OwnNameTaken, ConceptLimit, TrainingActive (of that name),
        DiskFull, OSError.
        """
        name, class_word = concept_name(name), checked_class_word(class_word)
        facts = await asyncio.to_thread(examined, data)
        model, now = self._dispatcher.status.model, self._clock()
        made_for = ("", "") if model is None else (model.hash, model.name)
        if facts.notes is not None and facts.notes.model_hash:
            made_for = facts.notes.model_hash, facts.notes.model_name
        new = NewVersion(
            id=new_job_id(now.timestamp()),
            owner_id=member_id,
            guild_id=guild_id,
            name=name,
            depicts=depicts,
            consent=consent,
            method=facts.method,
            class_word=class_word,
            trigger=facts.trigger(class_word),
            path="",
            sha256=await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest()),
            bytes=len(data),
            model_hash=made_for[0],
            model_name=made_for[1],
            trained=None,
            created_at=now,
        )
        await self._keeping.make_room()
        return await self._uncancelled.run(self._import(new, data))

    async def _import(self, new: NewVersion, data: bytes) -> Concept:
        try:
            path = await asyncio.to_thread(self._folders.keep_file, new.id, data)
            return await self._concepts.add(dataclasses.replace(new, path=path), concepts_at_most=self._at_most)
        except BaseException:
            await asyncio.to_thread(self._folders.remove, new.id)
            raise


def _known_name(name: str) -> str:
    """As it is kept. Raises ConceptUnknown for what can't be one."""
    try:
        return concept_name(name)
    except InvalidRequest as error:
        raise ConceptUnknown(name=shown(name).strip("“”").strip("<>")) from error
