"""What can be asked of a training, and what comes of one. Light: standard library and msgspec only."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

PHOTOS: Final = (3, 10)
"""How many photos a training takes."""


class Method(StrEnum):
    TEXTUAL_INVERSION = "textual_inversion"
    """A new word; everything else is frozen (Gal et al. 2022, arXiv:2208.01618)."""
    LORA = "lora"
    """Low-rank adapters beside the frozen weights (Hu et al. 2021, arXiv:2106.09685)."""
    DREAMBOOTH = "dreambooth"
    """All modules unfrozen, bound to a rare token that exists already (Ruiz et al. 2022, arXiv:2208.12242)."""


class Depicts(StrEnum):
    """What a concept is of, as its owner said when they agreed."""

    THING = "thing"
    """A thing or an animal."""
    SELF = "self"
    ADULT = "adult"
    """Another adult who agreed."""

    @property
    def is_person(self) -> bool:
        return self is not Depicts.THING


class TrainingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One training. None: as `training.defaults` has it for the model and the method."""

    job: str
    """All randomness of step n comes from SHA-256(job, n)."""
    method: Method
    name: str
    """As in prompts, without the angle brackets; see `training.names`."""
    class_word: str
    """What kind of thing it is: "dog", "teddy bear"."""
    depicts: Depicts = Depicts.THING
    max_steps: int | None = None
    """At most so many steps, where `training.defaults` has more."""
    prior_preservation: bool | None = None


class Verdict(StrEnum):
    LEARNED = "learned"
    PARTLY = "partly"
    NOT_LEARNED = "not_learned"


DRIFTED: Final = 0.5
"""Drift from which on it is said that others of its kind change with it."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Did it learn? A figure is None where nothing here could measure it."""

    verdict: Verdict
    similarity: float | None = None
    """To the photos: 0 is what the model draws for the class word alone, 1 is how alike the photos are themselves."""
    held_out: bool = False
    """Was the similarity taken to a photo that was kept out of the training?"""
    loss_before: float | None = None
    loss_after: float | None = None
    """The same timesteps and noise each time, on the held-out photo where there is one."""
    prompt_fidelity: float | None = None
    """How far “… on a red background” and the like are still followed, against the model without it: 1 is as well."""
    drift: float | None = None
    """How far pictures of the class word moved while the concept is active, 0 is not at all, 1 is as far as
    the photos are from them."""


class TrainedConcept(msgspec.Struct, frozen=True, kw_only=True):
    """A finished training."""

    file: str
    """Path of the safetensors file, as members' prompts use it."""
    sha256: str
    trigger: str
    """What `<name>` reads as; "" where the file brings vectors of its own."""
    steps: int
    stopped_early: bool
    seconds: float
    """Of work, without what was waited."""
    full_weights: bool = False
    """DreamBooth whose stored form lost too much: a lane of its own."""
    card: Card
