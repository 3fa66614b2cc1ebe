"""What every benchmark shares: fair timing, percentiles, one table and one JSON line."""

from __future__ import annotations

import json
import math
import platform
import random
import statistics
import time
from typing import TYPE_CHECKING

import torch
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.table import Table


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Wall time of one run, with the device's queue empty before and after."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def alternate(
    runs: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, *, warm_up: int = 1
) -> dict[str, float]:
    """Median seconds of each over `rounds`, after `warm_up` runs of each that are not counted.

    All of them run in every round, in an order that is shuffled (with a fixed seed) from round to round, so
    that the machine's moods, and what one run leaves behind in the caches, hit all of them alike.
    """
    for _ in range(warm_up):
        for run in runs.values():
            run()
    order = list(runs)
    shuffle = random.Random(0).shuffle
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            times[name].append(seconds(runs[name], device))
    return {name: statistics.median(taken) for name, taken in times.items()}


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest value that at least `percent` of them don't exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def report(benchmark: str, table: Table, figures: Mapping[str, object], device: torch.device) -> None:
    """Print the table, and last one JSON line that can be compared with other runs'."""
    Console(width=110).print(table)
    print(json.dumps({"benchmark": benchmark, **machine(device), **rounded(figures)}), flush=True)


def machine(device: torch.device) -> dict[str, object]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def rounded(figures: Mapping[str, object]) -> dict[str, object]:
    """Four significant digits: more is noise."""
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in figures.items()}
