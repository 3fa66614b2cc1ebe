"""Stable Diffusion 1.5 at 512×512 and SDXL at 1024×1024 with random weights: everything the other benchmarks measure.

    python -m tests.benchmarks.gpu --family sd15                    # every stage, on CUDA in bfloat16
    python -m tests.benchmarks.gpu --family sdxl --stages engine,step_time
    python -m tests.benchmarks.gpu --family sdxl --tiny --device cpu --dtype float32   # a dry run in two minutes

Each stage prints its table and its JSON line as soon as it is done, so a run that is cut off loses little; a stage
that fails says why, and the next one starts. On a rented machine give each call the stages that fit its limit.

Stages: warm (seconds until our engine has compiled), engine (alone, 8 mixed, static batch), step_time (t(b) eager,
share of the peak), compiled (t(b) and a static batch of 8 with `torch.compile`, seconds to compile), overhead,
preview, memory (per bucket), latency, lora and lora_compiled (tax of the slots by layers). Needs the packages that
generation/ imports, and rich.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from rich.table import Table

from tests.benchmarks import engine, latency, lora_slots, overhead, preview, step_time
from tests.benchmarks.measure import alternate, report, seconds
from tests.benchmarks.random_model import FAMILIES, write_random_model
from tests.benchmarks.subject import AT_ONCE, Subject, from_folder, quiet

if TYPE_CHECKING:
    from collections.abc import Callable

COMPILED_ROWS = (2, 16)
MEMORY_FOLDER = Path("/dev/shm")  # SDXL's weights are 7 GB: not written to a disk where there is memory


def main() -> None:
    options = _options()
    quiet()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    place = MEMORY_FOLDER if MEMORY_FOLDER.is_dir() and device.type == "cuda" else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        start = time.perf_counter()
        write_random_model(Path(folder), options.family, device, dtype, tiny=options.tiny)
        name = f"{options.family}{' tiny' if options.tiny else ''} {options.dtype}"
        subject = from_folder(name, Path(folder), options.device, options.dtype, options.steps)
    print(f"{name}, {subject.model.info.parameters / 1e6:.0f} M, ready in {time.perf_counter() - start:.0f} s")
    failed = [stage for stage in options.stages if not _run(stage, subject, options)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=FAMILIES, default="sd15")
    parser.add_argument("--stages", type=lambda text: text.split(","), default=list(STAGES))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="bfloat16")
    parser.add_argument("--tiny", action="store_true", help="shrink every width: a dry run")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="of eight requests; alone thrice as many")
    parser.add_argument("--requests", type=int, default=40, help="of the latency stage")
    parser.add_argument("--compile-mode", default="reduce-overhead", help="of torch.compile, for stock's peer")
    options = parser.parse_args()
    unknown = set(options.stages) - set(STAGES)
    if unknown:
        parser.error(f"no such stage: {', '.join(unknown)}; there are {', '.join(STAGES)}")
    return options


def _run(stage: str, subject: Subject, options: argparse.Namespace) -> bool:
    print(f"== {stage}", flush=True)
    start = time.perf_counter()
    try:
        STAGES[stage](subject, options)
    except Exception as error:  # noqa: BLE001 (the next stages' figures are worth having)
        traceback.print_exc()
        print(json.dumps({"benchmark": stage, "model": subject.name, "error": f"{type(error).__name__}: {error}"}))
        return False
    finally:
        print(f"{stage}: {time.perf_counter() - start:.0f} s", flush=True)
    return True


def _warm(subject: Subject, options: argparse.Namespace) -> None:
    """Seconds until our engine has compiled or captured what it wants to, drawing nine requests meanwhile."""
    del options
    figures = {"warm_s": seconds(lambda: subject.engine, subject.device)}
    buckets = [
        rows for rows in step_time.ROWS if subject.engine._forward.ready(rows, *subject.latents_shape(rows)[2:])
    ]
    table = Table("our engine", "measured")
    table.add_row("warm after, s", f"{figures['warm_s']:.1f}")
    table.add_row("buckets compiled", ", ".join(map(str, buckets)) or "none")
    report("warm", table, {"model": subject.name, **figures, "buckets": buckets}, subject.device)


def _engine(subject: Subject, options: argparse.Namespace) -> None:
    engine.measure(subject, options.rounds, 3 * options.rounds)


def _compiled(subject: Subject, options: argparse.Namespace) -> None:
    """Stock's UNet as `torch.compile` makes it: t(b), then one static batch of eight against our mixed eight."""
    stock = subject.stock
    eager = stock.unet
    torch._dynamo.config.recompile_limit = 64
    figures: dict[str, float] = {}
    table = Table("compiled", "measured")
    eager.to(memory_format=torch.channels_last)
    compiled: Any = torch.compile(eager, mode=options.compile_mode, dynamic=False)
    for rows in COMPILED_ROWS:
        figures[f"compile_{rows}_s"] = seconds(subject.forward(rows, compiled), subject.device)
        table.add_row(f"first forward of {rows} rows, s", f"{figures[f'compile_{rows}_s']:.1f}")
    times = {f"t{rows}": subject.forward(rows, compiled) for rows in COMPILED_ROWS}
    figures |= {f"{name}_ms": t * 1e3 for name, t in alternate(times, 15, subject.device, warm_up=3).items()}
    table.add_row("t(16), ms", f"{figures['t16_ms']:.2f}")
    with mock.patch.object(stock, "unet", compiled):
        runs = {
            "ours": lambda: subject.ours(subject.requests(AT_ONCE)),
            "static": lambda: subject.stock_static(subject.requests(AT_ONCE)),
        }
        taken = alternate(runs, options.rounds, subject.device, warm_up=2)
    eager.to(memory_format=torch.contiguous_format)
    figures |= {"ours_s": taken["ours"], "static_s": taken["static"], "ratio": taken["static"] / taken["ours"]}
    table.add_row("8 mixed, ours, s", f"{taken['ours']:.3f}")
    table.add_row("static batch of 8, s", f"{taken['static']:.3f}")
    table.add_row("static ÷ ours (wanted ≥ 0.95)", f"{figures['ratio']:.3f}")
    report("compiled", table, {"model": subject.name, "mode": options.compile_mode, **figures}, subject.device)


def _memory(subject: Subject, options: argparse.Namespace) -> None:
    """Bytes that a forward of each bucket takes beside the weights."""
    del options
    if subject.device.type != "cuda":
        print("memory is measured on CUDA only")
        return
    table = Table("rows", "beside the weights, MB", "per row, MB")
    figures: dict[str, float] = {}
    for rows in step_time.ROWS:
        run = subject.forward(rows)
        run()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(subject.device)
        before = torch.cuda.memory_allocated(subject.device)
        run()
        taken = (torch.cuda.max_memory_allocated(subject.device) - before) / 2**20
        table.add_row(str(rows), f"{taken:.0f}", f"{taken / rows:.1f}")
        figures[f"rows_{rows}_mb"] = taken
    weights: Any = subject.stock.unet
    figures["unet_weights_mb"] = sum(weight.nbytes for weight in weights.parameters()) / 2**20
    report("memory", table, {"model": subject.name, **figures}, subject.device)


STAGES: dict[str, Callable[[Subject, argparse.Namespace], object]] = {
    "warm": _warm,
    "engine": _engine,
    "step_time": lambda subject, options: step_time.measure(subject),
    "compiled": _compiled,
    "overhead": lambda subject, options: overhead.measure(subject),
    "preview": lambda subject, options: preview.measure(subject),
    "memory": _memory,
    "latency": lambda subject, options: latency.measure(subject, (1,), options.requests),
    "lora": lambda subject, options: lora_slots.measure(subject.model),
    "lora_compiled": lambda subject, options: lora_slots.measure(subject.model, compiled=options.compile_mode),
}


if __name__ == "__main__":
    main()
