"""Our denoising loop against the stock pipeline: same process, same model, steps, precision and prompts.

Runs alternate, so that the machine's moods hit both; the figure is the ratio of medians.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from rich.console import Console
from rich.table import Table

import generation
from generation.engine import generate
from generation.model import load_model
from generation.request import ImageRequest

BUNDLED = Path(generation.__file__).parent / "bundled"
RUNS = 7
COUNTS = (1, 4)


def main() -> None:
    model = load_model("bundled", device="cpu")
    stock = StableDiffusionPipeline.from_pretrained(BUNDLED, dtype=torch.float32)
    stock.set_progress_bar_config(disable=True)
    steps = model.info.defaults.num_inference_steps

    def ours(count: int) -> None:
        generate(model, ImageRequest(prompt="a red apple", seed=1, count=count))

    def theirs(count: int) -> None:
        generators = [torch.Generator().manual_seed(1 + k) for k in range(count)]
        stock(["a red apple"] * count, num_inference_steps=steps, guidance_scale=7.5, generator=generators)

    table = Table("images", "ours, s", "stock diffusers, s", "stock ÷ ours")
    figures: dict[str, float] = {}
    for count in COUNTS:
        mine, stocks = alternate(lambda n=count: ours(n), lambda n=count: theirs(n))
        table.add_row(str(count), f"{mine:.3f}", f"{stocks:.3f}", f"{stocks / mine:.3f}")
        figures |= {f"ours_{count}_s": mine, f"stock_{count}_s": stocks, f"ratio_{count}": stocks / mine}
    Console().print(table)
    print(json.dumps({"benchmark": "engine", "steps": steps, "threads": torch.get_num_threads(), **figures}))


def alternate(first: Callable[[], None], second: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of each over `RUNS` runs in turn, after one of each that is not counted."""
    first()
    second()
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(RUNS):
        order = (0, 1) if run % 2 == 0 else (1, 0)
        for which in order:
            start = time.perf_counter()
            (first, second)[which]()
            times[which].append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])
