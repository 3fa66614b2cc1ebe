"""Run a script, or a module's function, and print how long its optimizer's steps were apart, and its peak memory.

    python -m tests.benchmarks.optimizer_steps script.py --its options …

The clock is the optimizer's own `step`: the same for our trainer and for anybody's script, which is not changed.
"""

from __future__ import annotations

import json
import resource
import runpy
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

WARM_UP = 3
"""Steps that are not counted."""


class Clock:
    """Notes when an optimizer has made a step."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.own: list[float] = []

    def watch(self) -> None:
        original = torch.optim.AdamW.step

        def step(optimizer: Any, *arguments: Any, **named: Any) -> Any:
            result = original(optimizer, *arguments, **named)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())
            self.own.append(time.process_time())
            return result

        torch.optim.AdamW.step = step  # pyright: ignore[reportAttributeAccessIssue]

    def report(self) -> None:
        used = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        figures = {"seconds": _apart(self.times), "own": _apart(self.own), "bytes": used or resident}
        print("\n" + json.dumps(figures), flush=True)


def _apart(times: list[float]) -> float:
    """Median seconds from one step to the next."""
    return statistics.median(after - before for before, after in pairwise(times[WARM_UP:]))


def timed(run: Callable[[], object]) -> None:
    clock = Clock()
    clock.watch()
    run()
    clock.report()


if __name__ == "__main__":
    script = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(script).parent))
    timed(lambda: runpy.run_path(script, run_name="__main__"))
