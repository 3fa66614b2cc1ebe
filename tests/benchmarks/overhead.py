"""Our own work: what a step of the engine takes beyond the networks' forwards, with eight mixed requests.

On a CPU the networks' forwards are timed by hooks on the modules, so everything else is ours: arranging and padding
rows, the samplers' update, events, pictures. On CUDA, where a captured graph runs no hooks, the UNet's time is that
of `generation.forward.Forward`, and the device's queue is emptied before and after it: an upper bound for ours,
because some of it would have been done while the device was busy. Beside it, `overlapped` is the run as it really
is less those forwards.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from rich.table import Table

from generation.forward import Forward
from tests.benchmarks.measure import report, seconds, synchronize
from tests.benchmarks.subject import AT_ONCE, Subject, bundled, finished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch


RUNS = 5


def main() -> None:
    with contextlib.closing(bundled()) as subject:
        measure(subject)


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds of one `Engine.step`: all of it, in the UNet, in the other networks."""

    total: float
    unet: float
    others: float

    @property
    def ours(self) -> float:
        return self.total - self.unet - self.others


def measure(subject: Subject) -> dict[str, float]:
    with network_clock(subject) as clock:
        runs = [clocked_steps(subject, clock) for _ in range(RUNS)]
    denoising = [step for run in runs for step in run if step.unet]
    figures = {
        "step_ms": statistics.median(step.total for step in denoising) * 1e3,
        "ours_ms": statistics.median(step.ours for step in denoising) * 1e3,
        "ours_share_of_step": statistics.median(_share([step for step in run if step.unet]) for run in runs),
        "ours_share_of_all": statistics.median(_share(run) for run in runs),
    }
    share, of_all = figures["ours_share_of_step"], figures["ours_share_of_all"]
    table = Table("our work outside the networks", "measured", "wanted")
    table.add_row("a step of eight mixed requests, ms", f"{figures['step_ms']:.2f}", "")
    table.add_row("of it ours, ms", f"{figures['ours_ms']:.2f}", "")
    table.add_row("ours, share of the steps with a UNet forward", f"{share:.4f}", "≤ 0.03 (GPU 0.05)")
    table.add_row("ours, share of the whole run", f"{of_all:.4f}", "")
    if subject.device.type == "cuda":
        in_networks = statistics.median(sum(step.unet + step.others for step in run) for run in runs)
        figures["overlapped_share_of_all"] = 1 - in_networks / _unclocked(subject)
        table.add_row("the same, overlapped", f"{figures['overlapped_share_of_all']:.4f}", "")
    report("overhead", table, {"model": subject.name, **figures}, subject.device)
    return figures


def _unclocked(subject: Subject) -> float:
    """Seconds of the whole run as it is without a clock that waits for the device."""
    return statistics.median(
        seconds(lambda: subject.ours(subject.requests(AT_ONCE)), subject.device) for _ in range(RUNS)
    )


def _share(steps: Sequence[Step]) -> float:
    return sum(step.ours for step in steps) / sum(step.total for step in steps)


def clocked_steps(subject: Subject, clock: NetworkClock) -> list[Step]:
    """Eight mixed requests from admission to the last picture."""
    engine = subject.engine
    for index, request in enumerate(subject.requests(AT_ONCE)):
        engine.admit(str(index), request)
    steps: list[Step] = []
    while engine.busy:
        clock.unet = clock.others = 0.0
        start = time.perf_counter()
        events = engine.step()
        synchronize(subject.device)
        steps.append(Step(time.perf_counter() - start, clock.unet, clock.others))
        finished(events)
    return steps


class NetworkClock:
    """Seconds inside the networks since somebody set them to 0."""

    def __init__(self, device: torch.device) -> None:
        self.unet = self.others = 0.0
        self._device = device
        self._start = 0.0

    def start(self, *_: object) -> None:
        synchronize(self._device)
        self._start = time.perf_counter()

    def stop_unet(self, *_: object) -> None:
        self.unet += self._since_start()

    def stop_other(self, *_: object) -> None:
        self.others += self._since_start()

    def _since_start(self) -> float:
        synchronize(self._device)
        return time.perf_counter() - self._start


@contextlib.contextmanager
def network_clock(subject: Subject) -> Iterator[NetworkClock]:
    """Time the forwards of the model's networks for as long as the context lasts."""
    model: Any = subject.model
    clock = NetworkClock(subject.device)
    with contextlib.ExitStack() as stack:
        for module in (*model.text_encoders, model.vae.encoder, model.vae.decoder):
            stack.callback(module.register_forward_pre_hook(clock.start).remove)
            stack.callback(module.register_forward_hook(clock.stop_other).remove)
        if subject.device.type == "cuda":
            stack.enter_context(mock.patch.object(Forward, "__call__", _timed(Forward.__call__, clock)))
        else:
            stack.callback(model.unet.register_forward_pre_hook(clock.start).remove)
            stack.callback(model.unet.register_forward_hook(clock.stop_unet).remove)
        yield clock


def _timed(call: Any, clock: NetworkClock) -> Any:
    def timed(self: Forward, *arguments: Any, **options: Any) -> Any:
        clock.start()
        answer = call(self, *arguments, **options)
        clock.stop_unet()
        return answer

    return timed
