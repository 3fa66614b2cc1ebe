"""The end of a training: which form of the concept is kept, and did it learn?"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from generation.generate import GenerationFailed
from generation.request import ConceptUse
from training.learned import did_it_learn
from training.learner import HasFullWeights
from training.tensors import sha256_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from generation.engine import Engine
    from generation.model import LoadedModel
    from training.events import Stepped
    from training.judge import Judge
    from training.learner import Learner
    from training.order import Card, TrainingOrder

logger = logging.getLogger(__name__)

MOST_LOST: Final = 0.05
"""Similarity that the smaller form of a concept may cost."""


@dataclass(frozen=True, slots=True)
class Finish:
    """What judging a concept takes."""

    engine: Engine
    model: LoadedModel
    judge: Judge | None
    order: TrainingOrder
    photos: Sequence[Path]
    held_out: Path | None
    loss_before: float
    loss_after: float

    def choose(self, learner: Learner, file: Path) -> Generator[Stepped, None, tuple[Path, Card]]:
        """The file that is kept and its card: `file`, which the learner has saved, or its full weights beside it
        where `file` loses too much of the similarity. The other one is removed.

        Raises:
            GenerationFailed: `file` can't be drawn with.
        """
        card = yield from self._judged(learner, file)
        if card.similarity is None or not isinstance(learner, HasFullWeights):
            return file, card
        dropped = whole = file.with_name("full.safetensors")
        learner.save_full_weights(whole)
        try:
            other = yield from self._judged_if_it_can_be(learner, whole)
            if other is None or other.similarity is None or other.similarity - card.similarity <= MOST_LOST:
                return file, card
            dropped = file
            return whole, other
        finally:
            with contextlib.suppress(FileNotFoundError):  # its member wanted to be forgotten
                self.engine.forget_concept(sha256_of(dropped))
                dropped.unlink()

    def _judged_if_it_can_be(self, learner: Learner, file: Path) -> Generator[Stepped, None, Card | None]:
        try:
            return (yield from self._judged(learner, file))
        except GenerationFailed:  # no room for a lane, say: there is the smaller form
            # Why may hold a name.
            logger.warning("training %s: its full weights can't be drawn with", self.order.job)
            logger.debug("because", exc_info=True)
            return None

    def _judged(self, learner: Learner, file: Path) -> Generator[Stepped, None, Card]:
        use = ConceptUse(name=self.order.name, path=str(file), trigger=learner.trigger)
        losses = self.loss_before, self.loss_after
        return (
            yield from did_it_learn(
                self.engine, self.model, self.judge, self.order, use, self.photos, self.held_out, *losses
            )
        )
