"""How long a training still takes, all its phases together: rows of the network that are left, at the pace of now."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from training.events import Phase

SAMPLINGS = 4
"""At a quarter, a half, three quarters and the end."""
_LEARNS = 3.0
"""A row that is learned from costs as much as three that are only looked at: forward, and backward twice."""
_FADES_SECONDS = 20.0
_ORDER = (Phase.PREPARING, Phase.CLASS_PICTURES, Phase.TRAINING, Phase.JUDGING)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a training will do, as far as that is known before. Rows are those of one network evaluation."""

    photos: int
    steps: int
    rows_per_step: int
    class_pictures: int
    samples: int
    """Pictures at each quarter."""
    judged_pictures: int
    final_pictures: int
    rows_per_picture: int


@dataclass(slots=True)
class _Pace:
    """Seconds for a row: the latest seconds count most, so that a queue of pictures shows soon."""

    seconds: float = 0.0
    rows: float = 0.0

    def took(self, rows: float, seconds: float) -> None:
        fading = math.exp(-seconds / _FADES_SECONDS)
        self.seconds, self.rows = self.seconds * fading + seconds, self.rows * fading + rows

    @property
    def seconds_per_row(self) -> float | None:
        return self.seconds / self.rows if self.rows else None


@dataclass(slots=True)
class TimeLeft:
    expected: Expected
    clock: Callable[[], float] = time.monotonic
    _phase: Phase = Phase.PREPARING
    """The latest of `_ORDER`; sampling happens inside of training."""
    _done: dict[Phase, tuple[int, int]] = field(default_factory=dict[Phase, tuple[int, int]])
    """Steps done and to be done, as they were said last."""
    _finished: bool = False
    """Only the job's own pictures are left."""
    _since: float | None = None
    _waited: float = 0.0
    _learning: _Pace = field(default_factory=_Pace)
    _drawing: _Pace = field(default_factory=_Pace)

    def stepped(self, phase: Phase, step: int, total: int) -> None:
        """So far is this phase. What was done before the first word of a phase (a training that is gone on with) says
        nothing about the pace."""
        now = self.clock()
        before = self._done.get(phase)
        rows = 0.0 if before is None else (step - before[0]) * self._rows_per_step(phase, total)
        seconds = 0.0 if self._since is None else now - self._since
        self._since = now
        if before is not None and rows <= 0:  # a micro-step of a step that is not done
            self._waited += seconds
        else:
            if rows > 0:
                pace = self._learning if phase in (Phase.TRAINING, Phase.PREPARING) else self._drawing
                pace.took(rows, self._waited + seconds)
            self._waited = 0.0
        self._done[phase] = step, total
        if phase in _ORDER and _ORDER.index(phase) >= _ORDER.index(self._phase):
            self._phase = phase

    def sampled(self) -> None:
        """A quarter's samples are there: those of the next one begin anew."""
        self._done.pop(Phase.SAMPLING, None)

    def finish(self) -> None:
        """The concept is there."""
        self._finished = True
        self._done.pop(Phase.SAMPLING, None)

    @property
    def seconds_per_step(self) -> float:
        """Of the training itself; 0 where that has not begun."""
        pace = self._learning.seconds_per_row
        return 0.0 if pace is None else pace * self._rows_per_step(Phase.TRAINING, 1)

    @property
    def seconds(self) -> float | None:
        """None where nothing has been measured yet."""
        learning, drawing = self._learning.seconds_per_row, self._drawing.seconds_per_row
        if learning is None and drawing is None:
            return None
        learned, drawn = self._rows_left()
        # A pace that is not known yet is that of the other kind.
        return learned * (learning or drawing or 0.0) + drawn * (drawing or learning or 0.0)

    def _rows_left(self) -> tuple[float, float]:
        """To be learned from, and to be drawn."""
        expected = self.expected
        final = self._left(Phase.SAMPLING, expected.final_pictures * expected.rows_per_picture)
        if self._finished:
            return 0.0, final
        drawn = float(expected.final_pictures * expected.rows_per_picture)
        drawn += self._left(Phase.CLASS_PICTURES, expected.class_pictures * expected.rows_per_picture)
        drawn += self._left(Phase.JUDGING, expected.judged_pictures * expected.rows_per_picture)
        learned = self._left(Phase.PREPARING, expected.photos * _LEARNS)
        learned += self._left(Phase.TRAINING, expected.steps * expected.rows_per_step * _LEARNS)
        if self._phase is not Phase.JUDGING:
            step, total = self._done.get(Phase.TRAINING, (0, expected.steps))
            to_come = SAMPLINGS - int(SAMPLINGS * step / max(total, 1))
            under_way = self._left(Phase.SAMPLING, 1.0) if Phase.SAMPLING in self._done else 0.0
            drawn += (to_come + under_way) * expected.samples * expected.rows_per_picture
        return learned, drawn

    def _left(self, phase: Phase, rows: float) -> float:
        """Of `rows` in this phase; none where a later one has begun."""
        if phase in _ORDER and _ORDER.index(phase) < _ORDER.index(self._phase):
            return 0.0
        step, total = self._done.get(phase, (0, 1))
        return rows * (1 - step / total) if total else 0.0

    def _rows_per_step(self, phase: Phase, total: int) -> float:
        expected = self.expected
        match phase:
            case Phase.PREPARING:
                return expected.photos * _LEARNS / max(total, 1)
            case Phase.TRAINING:
                return expected.rows_per_step * _LEARNS
            case Phase.CLASS_PICTURES:
                pictures = expected.class_pictures
            case Phase.SAMPLING:
                pictures = expected.final_pictures if self._finished else expected.samples
            case Phase.JUDGING:
                pictures = expected.judged_pictures
        return pictures * expected.rows_per_picture / max(total, 1)
