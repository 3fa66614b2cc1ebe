"""What a preview costs, against the step after which it is drawn: one request alone, and one of eight."""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING

from rich.table import Table

from generation.events import ImageReady, Progress
from tests.benchmarks.measure import report, seconds
from tests.benchmarks.subject import AT_ONCE, Subject, bundled

if TYPE_CHECKING:
    from generation.events import Event

RUNS = 3


def main() -> None:
    with contextlib.closing(bundled()) as subject:
        measure(subject)


def measure(subject: Subject) -> dict[str, float]:
    table = Table("requests", "step, ms", "preview of one, ms", "preview ÷ step", "wanted")
    figures: dict[str, float] = {}
    _steps_and_previews(subject, 1)  # the first preview may fit its map
    pairs_of = {
        count: [pair for _ in range(RUNS) for pair in _steps_and_previews(subject, count)] for count in (1, AT_ONCE)
    }
    for count, pairs in pairs_of.items():
        step, preview = (statistics.median(taken) for taken in zip(*pairs, strict=True))
        table.add_row(str(count), f"{step * 1e3:.2f}", f"{preview * 1e3:.3f}", f"{preview / step:.4f}", "< 0.02")
        figures |= {f"step_{count}_ms": step * 1e3, f"preview_{count}_ms": preview * 1e3}
        figures[f"preview_share_{count}"] = preview / step
    report("preview", table, {"model": subject.name, **figures}, subject.device)
    return figures


def _steps_and_previews(subject: Subject, count: int) -> list[tuple[float, float]]:
    """Seconds of every denoising step of all `count` requests, and of the first one's preview after it."""
    engine = subject.engine
    for index, request in enumerate(subject.requests(count)):
        engine.admit(str(index), request)
    pairs: list[tuple[float, float]] = []
    while engine.busy:
        events: list[Event] = []
        step = seconds(lambda events=events: events.extend(engine.step()), subject.device)
        moved = sum(isinstance(event, Progress) and event.step > 0 for event in events)
        preview = seconds(lambda: engine.preview("0"), subject.device)
        if moved == count and not any(isinstance(event, ImageReady) for event in events):
            pairs.append((step, preview))
    assert pairs, "no step moved all requests"
    return pairs
