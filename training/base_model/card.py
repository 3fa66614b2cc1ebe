"""Write the model card: prose from ``model_card.md`` with the figures of a report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from training.base_model.intervals import Interval

CARD = "MODEL_CARD.md"
TEMPLATE = Path(__file__).parent / "model_card.md"


def interval(cell: Mapping[str, Any]) -> Interval:
    """An interval as the report's JSON has it."""
    return Interval(**cell)


def figures(results: Mapping[str, Any], size_bytes: int, subjects: int) -> list[tuple[str, str, str]]:
    """Rows ``(measure, wanted, measured)`` of the card's table."""
    named = {scale: interval(cell["accuracy"]) for scale, cell in results["guidance"].items()}
    combinations = {
        part: {field: interval(value) for field, value in cell.items()}
        for part, cell in results["combinations"].items()
    }
    spread = {scale: interval(cell) for scale, cell in results["diversity"].items()}
    negative, remix = results["negative"], results["remix"]
    fewer = negative["times_fewer"]["value"]
    return [
        ("files", "≤ 24 MB", f"{size_bytes / 1e6:.1f} MB"),
        (
            "one picture at default steps, warm",
            "≤ 1.5 s",
            f"{results['speed']['median']:.2f} s on {results['speed']['threads']} CPU threads (float32)",
        ),
        ("trained subjects", "≥ 100", str(subjects)),
        (
            'subject right, prompts "a <subject>"',
            "≥ 80 %",
            f"{named['7.5'].as_percent()}, n = {named['7.5'].count}; right in at least half of its pictures: "
            f"{results['guidance']['7.5']['subjects_mostly_right']} of {subjects} subjects",
        ),
        (
            "background colour right",
            "≥ 90 %",
            f"{combinations['seen']['background'].as_percent()}, n = {combinations['seen']['background'].count}",
        ),
        (
            "subject and background right, pairs never seen in training",
            "≥ 60 %",
            f"{combinations['unseen']['both'].as_percent()}, n = {combinations['unseen']['both'].count}"
            f" (pairs seen in training: {combinations['seen']['both'].as_percent()})",
        ),
        (
            "guidance 1 → 3: subject right",
            "rises, intervals apart",
            f"{named['1'].as_percent()} → {named['3'].as_percent()}",
        ),
        (
            "guidance 3 → 7.5: subject right",
            "falls by at most 2 points",
            f"{100 * (named['7.5'].value - named['3'].value):+.1f} points",
        ),
        (
            "guidance 1 → 3 → 7.5: diversity",
            "falls at each",
            " → ".join(spread[scale].as_number() for scale in ("1", "3", "7.5")) + f", n = {spread['1'].count} each",
        ),
        (
            f"pictures on {negative['colour']}, nothing said of colour: unrelated negative prompt → "
            f'"{negative["colour"]} background"',
            "at least 5 times fewer",
            f"{interval(negative['unrelated']).as_percent()} → {interval(negative['named']).as_percent()}, "
            + (f"{fewer:.1f} times fewer" if fewer != float("inf") else "none left")
            + f", n = {negative['unrelated']['count']} each",
        ),
        (
            "image to image, strength " + " → ".join(remix) + ": cosine to the start picture",
            "falls at each",
            " → ".join(interval(step["to_start"]).as_number(2) for step in remix.values())
            + f", n = {next(iter(remix.values()))['to_start']['count']} each",
        ),
        (
            "… to the subject asked for",
            "rises at each",
            " → ".join(interval(step["to_prompt"]).as_number(2) for step in remix.values()),
        ),
        (
            "reconstruction of held-out subjects",
            "≥ 25 dB",
            f"{results['reconstruction']['psnr']:.1f} dB, n = {results['reconstruction']['pictures']}",
        ),
    ]


def table(rows: list[tuple[str, str, str]]) -> str:
    """Rows as a Markdown table."""
    head = ["| measure | wanted | measured |", "|---|---|---|"]
    return "\n".join(head + [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows])


def judge_lines(judge: Mapping[str, Any]) -> str:
    """What the judge itself can do."""
    taught, everything = judge["taught"], judge["everything"]
    near, far = judge["similarity_taught"], judge["similarity_held_out"]
    return "\n".join(
        [
            "| the judge on unseen augmented renders | subject | style | background | n |",
            "|---|---|---|---|---|",
            *(
                f"| {name} | {100 * cell['subject']:.1f} % | {100 * cell['style']:.1f} % | "
                f"{100 * cell['background']:.1f} % | {cell['count']} |"
                for name, cell in (("the model's subjects", taught), ("everything, all four styles", everything))
            ),
            "",
            "| cosine of cut-outs | two views of one subject | two subjects | subjects |",
            "|---|---|---|---|",
            *(
                f"| {name} | {cell['ceiling']:.3f} | {cell['floor']:.3f} | {cell['subjects']} |"
                for name, cell in (("the model's subjects", near), ("held-out subjects", far))
            ),
        ]
    )


def defaults_table(defaults: Mapping[str, Any]) -> str:
    """Accuracy and mottling per scheduler and number of steps."""
    rows = [
        f"| {name} | {interval(cell['accuracy']).as_percent()} | {cell['mottling']:.1f} |"
        for name, cell in defaults.items()
    ]
    return "\n".join(["| scheduler | subject right | mottling |", "|---|---|---|", *rows])


def weakest(results: Mapping[str, Any], count: int = 12) -> str:
    """The subjects that come out worst at the default guidance, with their share of right pictures."""
    shares: dict[str, float] = results["guidance"]["7.5"]["by_subject"]
    worst = sorted(shares.items(), key=lambda item: item[1])[:count]
    return ", ".join(f"{name} ({100 * share:.0f} %)" for name, share in worst)


def settings(model: Path) -> str:
    """The stored defaults in words: "DDIMScheduler, 20 steps, guidance 7.5"."""
    stored = json.loads((model / "atelier.json").read_text(encoding="utf-8"))
    scheduler = json.loads((model / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))["_class_name"]
    return f"{scheduler}, {stored['num_inference_steps']} steps, guidance {stored['guidance_scale']:g}"


def write_card(model: Path, results: Mapping[str, Any], subjects: int) -> None:
    """``MODEL_CARD.md`` into the model's folder."""
    size = sum(file.stat().st_size for file in model.rglob("*") if file.is_file() and file.name != CARD)
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        figures=table(figures(results, size, subjects)),
        judge=judge_lines(results["judge"]),
        weakest=weakest(results),
        defaults=defaults_table(results["defaults"]),
        settings=settings(model),
    )
    (model / CARD).write_text(text, encoding="utf-8")
