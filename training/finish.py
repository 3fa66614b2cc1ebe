"""The end of a training: which form of the concept is kept, and did it learn?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from generation.request import ConceptUse
from training.learned import did_it_learn
from training.learner import HasFullWeights

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from generation.engine import Engine
    from generation.model import LoadedModel
    from training.events import Stepped
    from training.judge import Judge
    from training.learner import Learner
    from training.order import Card, TrainingOrder

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
        where `file` loses too much of the similarity."""
        card = yield from self._judged(learner, file)
        if card.similarity is None or not isinstance(learner, HasFullWeights):
            return file, card
        whole = file.with_name("full.safetensors")
        learner.save_full_weights(whole)
        other = yield from self._judged(learner, whole)
        if other.similarity is not None and other.similarity - card.similarity > MOST_LOST:
            file.unlink()
            return whole, other
        whole.unlink()
        return file, card

    def _judged(self, learner: Learner, file: Path) -> Generator[Stepped, None, Card]:
        use = ConceptUse(name=self.order.name, path=str(file), trigger=learner.trigger)
        losses = self.loss_before, self.loss_after
        return (
            yield from did_it_learn(
                self.engine, self.model, self.judge, self.order, use, self.photos, self.held_out, *losses
            )
        )
