"""Measure an exported model, cell by cell, into ``WORK``; then write its card and picture sheets.

Every cell is a JSON file, so that a report broken off goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import shutil
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from torch import Tensor

from training.base_model import measures
from training.base_model.autoencoder import decode, encode, held_out_pictures
from training.base_model.card import write_card
from training.base_model.evaluator import Evaluator, cut_out
from training.base_model.evaluator_training import make_batch, own_accuracy, pairs_present
from training.base_model.icons import IconSet, load_icons, present
from training.base_model.intervals import Interval, mean_interval
from training.base_model.measures import Bench, Named, look, name_of, name_subjects
from training.base_model.sheets import save_all, save_sheet

JUDGE = Path(__file__).parent / "judge.safetensors"
SHEETS = Path(__file__).parent / "card"
GUIDANCE_SCALES = (1.0, 3.0, 7.5)
SEEDS = 3  # pictures per subject in the cells of accuracy
NEGATIVE_SEEDS = 5
DIVERSE_SUBJECTS, DIVERSE_SEEDS = 16, 16
UNSEEN_PICTURES = 260
TIMED_PICTURES = 9
SETTINGS: tuple[tuple[type[Any], int], ...] = (
    (DDIMScheduler, 10),
    (DDIMScheduler, 20),
    (EulerDiscreteScheduler, 20),
    (DPMSolverMultistepScheduler, 20),
)
SETTINGS_SEEDS = 1


def open_bench(model: Path, judge: Evaluator, icon_set: IconSet, device: str) -> Bench:
    """The exported model in float32, as any program would load it."""
    defaults: dict[str, Any] = json.loads((model / "atelier.json").read_text(encoding="utf-8"))
    pipeline = StableDiffusionPipeline.from_pretrained(model).to(device, torch.float32)
    return Bench(
        pipeline,
        judge,
        icon_set.subjects,
        icon_set.icons,
        icon_set.styles,
        defaults["num_inference_steps"],
        defaults["guidance_scale"],
    )


def judge_itself(judge: Evaluator, known: IconSet, taught: Sequence[str]) -> dict[str, Any]:
    """The judge's own accuracy on unseen renders, and what its similarities range between."""
    names = judge.subjects
    pairs = [(names.index(icon), 0) for icon in taught]
    everything = pairs_present(known.icons)
    held = pairs_present(known.held_out_icons)
    return {
        "taught": asdict(own_accuracy(judge, known.icons, pairs, 20 * len(pairs), seed=1)),
        "everything": asdict(own_accuracy(judge, known.icons, everything, len(everything), seed=2)),
        "similarity_taught": similarity_range(judge, known.icons, pairs),
        "similarity_held_out": similarity_range(judge, known.held_out_icons, [pair for pair in held if pair[1] == 0]),
    }


@torch.no_grad()
def similarity_range(judge: Evaluator, icons: Tensor, pairs: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Cosine of cut-outs: two views of one subject (the ceiling), and of two subjects (the floor)."""
    rng = np.random.default_rng(3)
    first, second = (
        look(judge, cut_out(make_batch(icons, list(pairs) * 4, rng).pictures)).embedding for _ in range(2)
    )
    cosines = first @ second.T
    number = torch.arange(len(cosines)) % len(pairs)
    same = number[:, None] == number[None, :]
    return {"ceiling": cosines[same].mean().item(), "floor": cosines[~same].mean().item(), "subjects": len(pairs)}


def guidance(bench: Bench, sheets: Path) -> dict[str, Any]:
    """Subject accuracy and the backgrounds of "a <subject>" at each guidance scale, and what a larger one changes."""
    results: dict[str, Any] = {}
    before: Named | None = None
    for scale in GUIDANCE_SCALES:
        named = name_subjects(bench, SEEDS, scale)
        save_sheet(named.pictures[::SEEDS], sheets / f"subjects_{scale:g}.png")
        results[f"{scale:g}"] = {
            "accuracy": asdict(named.accuracy()),
            "subjects_mostly_right": sum(share >= 0.5 for share in named.by_subject().values()),
            "by_subject": {bench.subjects[s].names[0]: share for s, share in named.by_subject().items()},
            "right": named.right,
            "subject": named.subject,
            "background": named.background,
        }
        if before is not None:  # the same prompts and seeds, so pictures pair up
            gained = [now - then for now, then in zip(named.right, before.right, strict=True)]
            results[f"{scale:g}"]["gain"] = asdict(mean_interval(gained, named.subject))
        before = named
    return results


def combinations(bench: Bench, new: Sequence[int], sheets: Path) -> dict[str, Any]:
    """Subject and background together: pairs of training, and pairs that training never had."""
    seen = measures.seen_combinations(bench, SEEDS)
    unseen = measures.unseen_combinations(bench, new, -(-UNSEEN_PICTURES // len(new)))
    save_sheet(seen.pictures[::SEEDS], sheets / "backgrounds.png")
    save_sheet(unseen.pictures[:: len(unseen.pictures) // len(new)], sheets / "unseen.png")
    fields = ("subject", "background", "both") if seen.style is None else ("subject", "background", "style", "both")
    return {
        part: {field: asdict(getattr(shots, field)) for field in fields}
        for part, shots in (("seen", seen), ("unseen", unseen))
    }


def guided_combinations(bench: Bench, new: Sequence[int]) -> dict[str, Any]:
    """Pairs that training never had, with less guidance: harder than "a <subject>", so there is room to rise."""
    seeds = -(-UNSEEN_PICTURES // len(new))
    return {
        f"{scale:g}": asdict(measures.unseen_combinations(bench, new, seeds, scale).both)
        for scale in GUIDANCE_SCALES
        if scale != bench.guidance_scale  # that is the cell "combinations"
    }


def diversity(bench: Bench) -> dict[str, Any]:
    """Mean pairwise distance over seeds at each guidance scale, for subjects spread over the list."""
    numbers = np.linspace(0, len(bench.subjects) - 1, DIVERSE_SUBJECTS).round().astype(int).tolist()
    return {
        f"{scale:g}": asdict(measures.diversity(bench, numbers, scale, DIVERSE_SEEDS)) for scale in GUIDANCE_SCALES
    }


def negative(bench: Bench, plain: dict[str, Any]) -> dict[str, Any]:
    """Naming the most frequent background in the negative prompt."""
    named = Named(torch.empty(0), plain["subject"], plain["right"], plain["background"])
    return asdict(measures.avoid_colour(bench, named, NEGATIVE_SEEDS))


def remix(bench: Bench) -> dict[str, Any]:
    """Image to image by strength."""
    return {f"{step.strength:g}": asdict(step) for step in measures.remix(bench)}


@torch.no_grad()
def reconstruction(bench: Bench, own: IconSet) -> dict[str, Any]:
    """PSNR in dB of the exported autoencoder on pictures of the held-out subjects."""
    vae: AutoencoderTiny = bench.pipeline.vae  # type: ignore[assignment]
    pictures = held_out_pictures(own, torch.device("cpu"))
    icons = torch.nonzero(present(own.held_out_icons))[:, 0].tolist()
    subjects = [icons[number % len(icons)] for number in range(len(pictures))]
    errors = [
        (decode(vae, encode(vae, part)).clamp(-1, 1) - part).square().mean((1, 2, 3)) for part in pictures.split(64)
    ]
    error = mean_interval(torch.cat(errors).tolist(), subjects)
    value, low, high = (-10 * math.log10(error / 4) for error in (error.value, error.high, error.low))
    return asdict(Interval(value, low, high, len(pictures)))


def speed(bench: Bench) -> dict[str, float]:
    """Seconds for one picture at the defaults, warm, median of TIMED_PICTURES."""
    prompt = [name_of(bench.subjects[0])]
    measures.draw(bench, prompt)
    seconds: list[float] = []
    for _ in range(TIMED_PICTURES):
        start = time.perf_counter()
        measures.draw(bench, prompt)
        seconds.append(time.perf_counter() - start)
    return {"median": statistics.median(seconds), "longest": max(seconds), "threads": torch.get_num_threads()}


def defaults(bench: Bench) -> dict[str, Any]:
    """Schedulers and numbers of steps at the default guidance, for choosing those that the model is stored with."""
    stored = bench.pipeline.scheduler
    results: dict[str, Any] = {}
    for kind, steps in SETTINGS:
        bench.pipeline.scheduler = kind.from_config(stored.config)  # type: ignore[assignment]
        named = name_subjects(dataclasses.replace(bench, steps=steps), SETTINGS_SEEDS)
        results[f"{kind.__name__}, {steps} steps"] = {
            "accuracy": asdict(named.accuracy()),
            "mottling": measures.mottling(named.pictures),
        }
    bench.pipeline.scheduler = stored
    return results


def digest(files: Iterable[Path]) -> str:
    """One SHA-256 of the contents of files."""
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]


def run_cell(folder: Path, name: str, of: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Measure, or read what an earlier call measured ``of`` the same model and judge."""
    file = folder / f"{name}.json"
    if file.exists():
        cell = json.loads(file.read_text(encoding="utf-8"))
        if cell["of"] == of:
            return cell["measured"]
    start = time.monotonic()
    measured = measure()
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"of": of, "measured": measured}, indent=1) + "\n", encoding="utf-8")
    print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    return measured


def measure_all(
    bench: Bench, own: IconSet, known: IconSet, new: Sequence[int], folder: Path, of: str, wanted: Collection[str]
) -> dict[str, Any]:
    """The ``wanted`` cells. ``own`` is what the model was taught with, ``known`` what its judge was.

    ``new`` are the subjects whose unseen background no earlier model saw either.
    """
    taught = [subject.icon for subject in bench.subjects]

    def avoiding() -> dict[str, Any]:
        named = run_cell(folder, "guidance", of, lambda: guidance(bench, folder))
        return negative(bench, named[f"{bench.guidance_scale:g}"])

    cells: dict[str, Callable[[], dict[str, Any]]] = {
        "speed": lambda: speed(bench),
        "judge": lambda: judge_itself(bench.judge, known, taught),
        "guidance": lambda: guidance(bench, folder),
        "combinations": lambda: combinations(bench, new, folder),
        "guided_combinations": lambda: guided_combinations(bench, new),
        "diversity": lambda: diversity(bench),
        "remix": lambda: remix(bench),
        "reconstruction": lambda: reconstruction(bench, own),
        "defaults": lambda: defaults(bench),
        "negative": avoiding,
    }
    return {name: run_cell(folder, name, of, cells[name]) for name in cells if not wanted or name in wanted}


def parse_arguments() -> argparse.Namespace:
    """Where everything lies."""
    parser = argparse.ArgumentParser(prog="python -m training.base_model.report", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the exported folder; its card is written there")
    parser.add_argument("--icons", type=Path, required=True, help="icons.pack that the model was taught with")
    parser.add_argument("--everything", type=Path, required=True, help="icons.pack of `full`, the judge's")
    parser.add_argument("--work", type=Path, required=True, help="cells are kept here")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--cells", nargs="*", default=[], help="only these, and no card")
    return parser.parse_args()


def main() -> None:
    """Measure; with all cells there, write the card and its sheets."""
    arguments = parse_arguments()
    own, known = load_icons(arguments.icons), load_icons(arguments.everything)
    bench = open_bench(arguments.model, Evaluator.load(JUDGE), own, arguments.device)
    earlier = json.loads((arguments.model / "atelier.json").read_text(encoding="utf-8"))["earlier_subjects"]
    new = [number for number in bench.sample() if own.subjects[number].title not in earlier]
    of = digest([*sorted(arguments.model.rglob("*.safetensors")), JUDGE])
    results = measure_all(bench, own, known, new, arguments.work, of, arguments.cells)
    if not arguments.cells:
        SHEETS.mkdir(exist_ok=True)
        for sheet in arguments.work.glob("*.png"):
            shutil.copy(sheet, SHEETS / sheet.name)
        save_all(bench, SHEETS)
        write_card(arguments.model, results, len(own.subjects))


if __name__ == "__main__":
    main()
