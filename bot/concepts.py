"""A member's concept: what `<name>` in their prompts stands for."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from training.order import Depicts, Method, TrainedConcept

CONCEPT_FILE: Final = "concept.safetensors"
STRIP_FILE: Final = "strip.png"
EXPORT_FILE: Final = "export.safetensors"
VERSIONS_KEPT: Final = 3
"""Of each concept, the newest; older ones go with their files."""


@dataclass(frozen=True, slots=True)
class ConceptVersion:
    """One trained or imported file. `bytes` is its size; `path` is relative to the data folder."""

    id: str
    """Its training's job id, or one like it."""
    number: int
    method: Method
    class_word: str
    trigger: str
    """What `<name>` reads as; "" where the file brings vectors of its own."""
    path: str
    sha256: str
    bytes: int
    model_hash: str
    """Of the model that it was made for; "" where that is not known, for then it is tried with any."""
    model_name: str
    trained: TrainedConcept | None
    """None where it was imported."""
    created_at: datetime

    def fits(self, model_hash: str | None) -> bool:
        """Can it be used with this model? (None: which one is loaded is not known yet.)"""
        return model_hash is None or self.model_hash in ("", model_hash)


@dataclass(frozen=True, slots=True)
class Concept:
    """Private, but in the servers of `shared_in`."""

    id: str
    owner_id: int
    guild_id: int | None
    """Where it was made; None is a direct message."""
    name: str
    depicts: Depicts
    consent: str
    """Which version of the text its owner agreed to, at first."""
    consented_at: datetime
    created_at: datetime
    shared_in: frozenset[int]
    versions: tuple[ConceptVersion, ...]
    """Newest first; there is always one."""

    @property
    def version(self) -> ConceptVersion:
        """The one in use."""
        return self.versions[0]

    def usable_by(self, member_id: int, guild_id: int | None) -> bool:
        """In this server, or in direct messages with None."""
        return member_id == self.owner_id or (guild_id is not None and guild_id in self.shared_in)


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What is kept of a finished training or of an import; the version's number is the registry's to give."""

    id: str
    owner_id: int
    guild_id: int | None
    name: str
    depicts: Depicts
    consent: str
    method: Method
    class_word: str
    trigger: str
    path: str
    sha256: str
    bytes: int
    model_hash: str
    model_name: str
    trained: TrainedConcept | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Removed:
    """What of concepts went from the registry and has still to go elsewhere: folders by version id, and the worker's
    slots by SHA-256."""

    versions: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


NOTHING: Final = Removed()
