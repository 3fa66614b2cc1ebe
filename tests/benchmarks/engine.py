"""Our engine against stock diffusers: same process, model, steps, precision and requests, in turns.

- alone: one request, stock ÷ ours.
- mixed: eight requests that differ in prompt, negative prompt, guidance, seed and scheduler, admitted at once,
  against stock pipelines one after the other; beside it what the machine could give at most for sharing a
  network evaluation, 8·t(2) ÷ t(16), from the same run.
- static: the same eight against one stock call for eight prompts (one scheduler, one guidance for all).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from rich.table import Table

from tests.benchmarks.measure import alternate, report
from tests.benchmarks.subject import AT_ONCE, Subject, bundled, pixel_difference

if TYPE_CHECKING:
    from collections.abc import Callable


ROUNDS = 7
ROUNDS_ALONE = 21
SAME_WORK = 2
"""Colour values of 255 by which pictures in float32 may differ. More, and it isn't the same work."""


def main() -> None:
    with contextlib.closing(bundled()) as subject:
        measure(subject)


def measure(subject: Subject, rounds: int = ROUNDS, rounds_alone: int = ROUNDS_ALONE) -> dict[str, float]:
    difference = parity(subject)
    alone = alternate(
        {
            "ours": lambda: subject.ours(subject.requests(1)),
            "stock": lambda: subject.stock_serial(subject.requests(1)),
        },
        rounds_alone,
        subject.device,
    )
    together = alternate(
        {
            "ours": lambda: subject.ours(subject.requests(AT_ONCE)),
            "serial": lambda: subject.stock_serial(subject.requests(AT_ONCE)),
            "static": lambda: subject.stock_static(subject.requests(AT_ONCE)),
            "t(2)": repeated(subject.forward(2), subject.steps),
            "t(16)": repeated(subject.forward(2 * AT_ONCE), subject.steps),
        },
        rounds,
        subject.device,
    )
    potential = AT_ONCE * together["t(2)"] / together["t(16)"]
    speedup = together["serial"] / together["ours"]
    figures = {
        "alone_ours_s": alone["ours"],
        "alone_stock_s": alone["stock"],
        "alone_ratio": alone["stock"] / alone["ours"],
        "mixed_ours_s": together["ours"],
        "mixed_stock_serial_s": together["serial"],
        "mixed_ratio": speedup,
        "potential": potential,
        "share_of_potential": speedup / potential,
        "static_stock_s": together["static"],
        "static_ratio": together["static"] / together["ours"],
        "largest_pixel_difference": difference,
    }
    report("engine", _table(figures), {"model": subject.name, "steps": subject.steps, **figures}, subject.device)
    return figures


def parity(subject: Subject) -> int:
    """The largest colour difference between our pictures and stock's.

    Raises:
        AssertionError: in float32, more than rounding: the two don't do the same work.
    """
    requests = subject.requests(AT_ONCE)
    difference = pixel_difference(subject.ours(requests), subject.stock_serial(requests))
    if subject.model.info.dtype == "float32":
        assert difference <= SAME_WORK, f"our pictures differ from stock's by {difference} of 255"
    return difference


def repeated(run: Callable[[], object], times: int) -> Callable[[], None]:
    def runs() -> None:
        for _ in range(times):
            run()

    return runs


def _table(figures: dict[str, float]) -> Table:
    table = Table("what", "ours, s", "stock diffusers, s", "stock ÷ ours", "wanted")
    rows = (
        ("one request alone", "alone_ours_s", "alone_stock_s", "alone_ratio", "≥ 1.0 (GPU 1.3)"),
        ("8 mixed, stock serial", "mixed_ours_s", "mixed_stock_serial_s", "mixed_ratio", "see below (GPU 4)"),
        ("8 mixed, stock static batch", "mixed_ours_s", "static_stock_s", "static_ratio", ""),
    )
    for name, ours, stock, ratio, wanted in rows:
        table.add_row(name, f"{figures[ours]:.3f}", f"{figures[stock]:.3f}", f"{figures[ratio]:.3f}", wanted)
    table.add_row("potential 8·t(2) ÷ t(16)", "", "", f"{figures['potential']:.3f}", "")
    table.add_row("8 mixed ÷ potential", "", "", f"{figures['share_of_potential']:.3f}", "≥ 0.9")
    table.add_row("largest pixel difference", "", "", f"{figures['largest_pixel_difference']}", "≤ 2 in float32")
    return table
