"""Write the model card: prose from ``model_card.md`` with the figures of a report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from training.base_model.intervals import Interval

CARD = "MODEL_CARD.md"
Row = tuple[str, str, str]
TEMPLATE = Path(__file__).parent / "model_card.md"


def interval(cell: Mapping[str, Any]) -> Interval:
    """An interval as the report's JSON has it."""
    return Interval(**cell)


@dataclass(frozen=True)
class Wanted:
    """What a configuration must reach, and what the card says of it."""

    seconds: float
    subjects: int
    background: int
    both: int
    reconstruction: int


WANTED = {"small": Wanted(1.5, 100, 90, 60, 25), "full": Wanted(2.5, 1400, 95, 75, 28)}


def accuracy_figures(results: Mapping[str, Any], wanted: Wanted, subjects: int) -> list[Row]:
    """What comes out as asked."""
    named, by_subject = interval(results["guidance"]["7.5"]["accuracy"]), results["guidance"]["7.5"]["by_subject"]
    seen, unseen = (
        {field: interval(value) for field, value in results["combinations"][part].items()}
        for part in ("seen", "unseen")
    )
    rows = [
        ("trained subjects", f"≥ {wanted.subjects}", str(subjects)),
        (
            'subject right, prompts "a <subject>"',
            "≥ 80 %",
            f"{named.as_percent()}, n = {named.count}; right in at least half of its pictures: "
            f"{results['guidance']['7.5']['subjects_mostly_right']} of {len(by_subject)}",
        ),
        (
            "background colour right",
            f"≥ {wanted.background} %",
            f"{seen['background'].as_percent()}, n = {seen['background'].count}; pairs never seen in training: "
            f"{unseen['background'].as_percent()}",
        ),
    ]
    if "style" in seen:
        rows.append(("style right", "≥ 90 %", f"{seen['style'].as_percent()}, n = {seen['style'].count}"))
    what = "style and background" if "style" in seen else "subject and background"
    rows.append(
        (
            f"{what} right, subject and background never together in training",
            f"≥ {wanted.both} %",
            f"{unseen['both'].as_percent()}, n = {unseen['both'].count} (together in training: "
            f"{seen['both'].as_percent()})",
        )
    )
    return rows


def guidance_figures(results: Mapping[str, Any]) -> list[Row]:
    """What guidance and negative prompts do."""
    named = {scale: interval(cell["accuracy"]) for scale, cell in results["guidance"].items()}
    gain = {scale: interval(results["guidance"][scale]["gain"]) for scale in ("3", "7.5")}
    spread = {scale: interval(cell) for scale, cell in results["diversity"].items()}
    pairs = [*results["guided_combinations"].values(), results["combinations"]["unseen"]["both"]]
    negative = results["negative"]
    fewer = interval(negative["times_fewer"])
    none_left = fewer.value == float("inf")
    times_fewer = "none left" if none_left else f"{fewer.as_number(1)} times fewer"
    return [
        (
            "guidance 1 → 3: subject right",
            "rises, intervals apart",
            f"{named['1'].as_percent()} → {named['3'].as_percent()}; gain {points(gain['3'])}",
        ),
        (
            "guidance 1 → 3 → 7.5: subject and background right, never together in training",
            "–",
            " → ".join(interval(cell).as_percent() for cell in pairs) + f", n = {pairs[0]['count']} each",
        ),
        (
            "guidance 3 → 7.5: subject right",
            "falls by at most 2 points",
            f"{named['3'].as_percent()} → {named['7.5'].as_percent()}; gain {points(gain['7.5'])}",
        ),
        (
            "guidance 1 → 3 → 7.5: diversity",
            "falls at each",
            " → ".join(spread[scale].as_number() for scale in ("1", "3", "7.5")) + f", n = {spread['1'].count} each",
        ),
        (
            f"pictures on {negative['colour']} where no colour is named: unrelated negative prompt → "
            f'"{negative["colour"]} background"',
            "at least 5 times fewer",
            f"{interval(negative['unrelated']).as_percent()} → {interval(negative['named']).as_percent()}: "
            f"{times_fewer}, n = {negative['unrelated']['count']} each",
        ),
    ]


def figures(results: Mapping[str, Any], size_bytes: int, subjects: int, wanted: Wanted) -> list[Row]:
    """Rows ``(measure, wanted, measured)`` of the card's table."""
    remix = results["remix"]
    reconstructed = interval(results["reconstruction"])
    return [
        ("files", "≤ 24 MB", f"{size_bytes / 1e6:.1f} MB"),
        (
            "one picture at default steps, warm",
            f"≤ {wanted.seconds} s",
            f"{results['speed']['median']:.2f} s on {results['speed']['threads']} CPU threads (float32)",
        ),
        *accuracy_figures(results, wanted, subjects),
        *guidance_figures(results),
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
            "reconstruction of held-out subjects, PSNR",
            f"≥ {wanted.reconstruction} dB",
            f"{reconstructed.as_number(1)} dB, n = {reconstructed.count}",
        ),
    ]


def points(gain: Interval) -> str:
    """ "+4.3 points (+1.9 to +6.8)"."""
    return f"{100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def table(rows: list[Row]) -> str:
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


def write_card(model: Path, results: Mapping[str, Any], subjects: int) -> None:
    """``MODEL_CARD.md`` into the model's folder."""
    size = sum(file.stat().st_size for file in model.rglob("*") if file.is_file() and file.name != CARD)
    stored = json.loads((model / "atelier.json").read_text(encoding="utf-8"))
    scheduler = json.loads((model / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))["_class_name"]
    wanted = WANTED[stored["name"].rsplit("-", 1)[-1]]
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        figures=table(figures(results, size, subjects, wanted)),
        judge=judge_lines(results["judge"]),
        weakest=weakest(results),
        defaults=defaults_table(results["defaults"]),
        settings=f"{scheduler}, {stored['num_inference_steps']} steps, guidance {stored['guidance_scale']:g}",
        pixels=f"{stored['width']}×{stored['height']}",
        subjects=subjects,
        styles=" and ".join(stored["styles"]),
        earlier=len(stored["earlier_subjects"]),
    )
    (model / CARD).write_text(text, encoding="utf-8")
