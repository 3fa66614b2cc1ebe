"""When a training has learned what there is: the deterministic loss no longer falls."""

from __future__ import annotations

import msgspec


class EarlyStop(msgspec.Struct):
    """The losses so far; kept in checkpoints, so that a resumed training stops where the whole one does."""

    patience: int
    """Evaluations in a row without a better loss; 0: never stop."""
    min_improvement: float
    """Relative to the best."""
    min_steps: int
    first: float | None = None
    """Before the first step."""
    last: float | None = None
    best: float | None = None
    without_better: int = 0
    at: int = -1
    """The step of `last`."""

    @property
    def stopped(self) -> bool:
        return bool(self.patience) and self.at >= self.min_steps and self.without_better >= self.patience

    def take(self, step: int, loss: float) -> None:
        """The loss after so many steps."""
        self.first = loss if self.first is None else self.first
        self.last, self.at = loss, step
        if self.best is None or loss < self.best * (1 - self.min_improvement):
            self.best, self.without_better = loss, 0
        else:
            self.without_better += 1
