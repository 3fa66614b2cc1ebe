"""What members wait when requests come as they please: Poisson arrivals at 0.95 × what a serial bot can serve.

Open loop and in real time: the arrival times are drawn beforehand from a fixed seed and are the same for both; a
request that finds the server busy waits, and its latency runs from its arrival to its finished picture. Serial is
stock diffusers, first come first served. The queue starts empty, which is kind to serial: at this load its queue
would go on growing for thousands of requests.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING

from rich.table import Table

from tests.benchmarks.measure import percentile, report, seconds
from tests.benchmarks.subject import AT_ONCE, Subject, bundled, finished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generation.engine import Engine
    from generation.request import ImageRequest

LOAD = 0.95
REQUESTS = 150
SEEDS = (1, 2)


def main() -> None:
    with contextlib.closing(bundled()) as subject:
        measure(subject)


def measure(subject: Subject, seeds: Sequence[int] = SEEDS, count: int = REQUESTS) -> dict[str, float]:
    subject.stock_serial(subject.requests(AT_ONCE))
    service = statistics.median(
        seconds(lambda: subject.stock_serial(subject.requests(AT_ONCE)), subject.device) / AT_ONCE for _ in range(3)
    )
    serial: list[float] = []
    ours: list[float] = []
    for turn, seed in enumerate(seeds):
        arrivals = poisson_arrivals(count, LOAD / service, seed)
        servers = [(serial, partial(serve_serially, subject)), (ours, partial(serve_together, subject.engine))]
        for latencies, serve in servers if turn % 2 == 0 else reversed(servers):
            latencies.extend(serve(subject.requests(count), arrivals))
    figures: dict[str, float] = {"service_s": service, "load": LOAD, "requests": count * len(seeds)}
    table = Table("latency", "serial stock, s", "ours, s", "serial ÷ ours", "wanted")
    for percent, wanted in ((50, ""), (95, "≥ 2 (GPU 3)")):
        stock, mine = percentile(serial, percent), percentile(ours, percent)
        table.add_row(f"p{percent}", f"{stock:.3f}", f"{mine:.3f}", f"{stock / mine:.2f}", wanted)
        figures |= {f"p{percent}_serial_s": stock, f"p{percent}_ours_s": mine, f"p{percent}_ratio": stock / mine}
    table.caption = f"{count} requests × {len(seeds)} seeds at {LOAD / service:.2f} a second"
    report("latency", table, {"model": subject.name, "steps": subject.steps, **figures}, subject.device)
    return figures


def poisson_arrivals(count: int, rate: float, seed: int) -> list[float]:
    """Seconds from the start, `rate` a second on average."""
    draw = random.Random(seed).expovariate
    return list(itertools.accumulate(draw(rate) for _ in range(count)))


def serve_serially(subject: Subject, requests: Sequence[ImageRequest], arrivals: Sequence[float]) -> list[float]:
    """Seconds from each request's arrival to its picture, one after the other."""
    start = time.perf_counter()
    latencies: list[float] = []
    for request, arrival in zip(requests, arrivals, strict=True):
        time.sleep(max(0.0, start + arrival - time.perf_counter()))
        subject.stock_serial([request])
        latencies.append(time.perf_counter() - start - arrival)
    return latencies


def serve_together(engine: Engine, requests: Sequence[ImageRequest], arrivals: Sequence[float]) -> list[float]:
    """The same, every request admitted to our engine as soon as the step in progress is over."""
    start = time.perf_counter()
    latencies: dict[int, float] = {}
    admitted = 0
    while len(latencies) < len(requests):
        while admitted < len(requests) and start + arrivals[admitted] <= time.perf_counter():
            engine.admit(str(admitted), requests[admitted])
            admitted += 1
        if not engine.busy:
            time.sleep(max(0.0, start + arrivals[admitted] - time.perf_counter()))
            continue
        for request_id in finished(engine.step()):
            latencies[int(request_id)] = time.perf_counter() - start - arrivals[int(request_id)]
    return list(latencies.values())
