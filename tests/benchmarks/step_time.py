"""The UNet alone: t(b), the time of a step by its rows, and the share of the machine's matrix-multiply peak.

The peak is measured, not read from a data sheet: the best of a few square matrix products in the model's precision.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from rich.table import Table
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks.measure import alternate, report, seconds
from tests.benchmarks.subject import AT_ONCE, Subject, bundled

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = (1, 2, 4, 8, 16, 32)
ROUNDS = 15
CPU_SIDES = (512, 1024, 2048, 4096)
CUDA_SIDES = (4096, 8192, 16384)


def main() -> None:
    with contextlib.closing(bundled()) as subject:
        measure(subject)


def measure(
    subject: Subject, unet: Any = None, *, name: str = "step_time", rows: tuple[int, ...] = ROWS
) -> dict[str, float]:
    """t(b) of stock's UNet, or of `unet` (a compiled one, say), which is timed under the given name."""
    times = alternate({str(b): subject.forward(b, unet) for b in rows}, ROUNDS, subject.device, warm_up=3)
    flops = count_flops(subject.forward(1))
    peak = matmul_peak(subject.device, subject.model.dtype)
    table = Table("rows", "t, ms", "per row, ms", "TFLOP/s", "share of peak")
    figures: dict[str, float] = {"gflop_per_row": flops / 1e9, "peak_tflops": peak / 1e12}
    for b, taken in ((int(b), taken) for b, taken in times.items()):
        rate = flops * b / taken
        table.add_row(
            str(b), f"{taken * 1e3:.2f}", f"{taken / b * 1e3:.2f}", f"{rate / 1e12:.3f}", f"{rate / peak:.3f}"
        )
        figures |= {f"t{b}_ms": taken * 1e3, f"peak_share_{b}": rate / peak}
    table.caption = f"{flops / 1e9:.2f} GFLOP per row; peak of matrix products {peak / 1e12:.3f} TFLOP/s"
    potential = AT_ONCE * times["2"] / times[str(2 * AT_ONCE)]
    report(name, table, {"model": subject.name, **figures, "potential": potential}, subject.device)
    return figures


def count_flops(run: Callable[[], object]) -> int:
    """Floating-point operations (a multiply-add is two) of matrix products, convolutions and attention.

    Counted with attention as plain matrix products: torch's counter doesn't know the fused kernel for CPUs.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the best of a few square matrix products on random numbers."""
    best = 0.0
    for side in CUDA_SIDES if device.type == "cuda" else CPU_SIDES:
        generator = torch.Generator("cpu").manual_seed(0)
        left, right = (torch.randn((side, side), generator=generator).to(device, dtype) for _ in range(2))
        out = torch.empty_like(left)
        run = torch.no_grad()(lambda a=left, b=right, out=out: torch.mm(a, b, out=out))
        run()
        best = max([best, *(2 * side**3 / seconds(run, device) for _ in range(7))])
    return best
