"""The card says what the report measured, and a report broken off goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from training.base_model.card import CARD, write_card
from training.base_model.report import digest, run_cell
from training.base_model.sheets import save_sheet


def cell(value: float, count: int = 464) -> dict[str, float]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "count": count}


@pytest.fixture
def results() -> dict[str, Any]:
    pair = {"subject": cell(0.9), "background": cell(0.971), "both": cell(0.88)}
    gain = {"value": -0.012, "low": -0.03, "high": 0.004, "count": 464}
    remix = {f"{s:g}": {"strength": s, "to_start": cell(1 - s), "to_prompt": cell(s)} for s in (0.2, 0.4, 0.6, 0.8)}
    return {
        "guidance": {
            scale: {
                "accuracy": cell(value),
                "subjects_mostly_right": 99,
                "by_subject": {"fox": 1.0, "owl": 0.25, "cat": 0.5},
                "gain": gain,
            }
            for scale, value in (("1", 0.5), ("3", 0.853), ("7.5", 0.841))
        },
        "combinations": {"seen": pair, "unseen": {**pair, "both": cell(0.683, 260)}},
        "guided_combinations": {"1": cell(0.6, 260), "3": cell(0.65, 260)},
        "diversity": {"1": cell(0.4), "3": cell(0.3), "7.5": cell(0.2)},
        "negative": {
            "colour": "white",
            "unrelated": cell(0.5),
            "named": cell(0.0),
            "times_fewer": {"value": float("inf"), "low": 40.0, "high": float("inf"), "count": 1160},
        },
        "remix": remix,
        "reconstruction": {"value": 27.84, "low": 27.1, "high": 28.6, "count": 224},
        "speed": {"median": 0.473, "longest": 0.6, "threads": 2},
        "judge": {
            part: {"subject": 0.987, "style": 0.99, "background": 0.96, "count": 2320}
            for part in ("taught", "everything")
        }
        | {f"similarity_{part}": {"ceiling": 0.91, "floor": 0.07, "subjects": 16} for part in ("taught", "held_out")},
        "defaults": {"DDIMScheduler, 20 steps": {"accuracy": cell(0.84), "mottling": 3.21}},
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "DDIMScheduler"}')
    stored = {
        "name": "atelier-pictograms-small",
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
        "width": 64,
        "height": 64,
        "styles": ["noto"],
        "earlier_subjects": ["fox"],
    }
    (tmp_path / "atelier.json").write_text(json.dumps(stored))
    (tmp_path / "weights.safetensors").write_bytes(bytes(2_500_000))
    return tmp_path


def test_the_card_says_what_was_measured(model: Path, results: dict[str, Any]) -> None:
    write_card(model, results, 116)
    first = (model / CARD).read_text(encoding="utf-8")
    for line in (
        "| files | ≤ 24 MB | 2.5 MB |",
        "| trained subjects | ≥ 100 | 116 |",
        "84.1 % (82.1 to 86.1), n = 464",
        "85.3 % (83.3 to 87.3) → 84.1 % (82.1 to 86.1); gain -1.2 points (-3.0 to +0.4)",
        "68.3 % (66.3 to 70.3), n = 260",
        "50.0 % (48.0 to 52.0) → 0.0 % (-2.0 to 2.0): none left, n = 464 each",
        "0.80 (0.78 to 0.82) → 0.60",
        "≥ 25 dB | 27.8 (27.1 to 28.6) dB, n = 224",
        "DDIMScheduler, 20 steps, guidance 7.5",
        "60.0 % (58.0 to 62.0) → 65.0 % (63.0 to 67.0) → 68.3 % (66.3 to 70.3), n = 260 each",
        "owl (25 %), cat (50 %), fox (100 %)",
        "| held-out subjects | 0.910 | 0.070 | 16 |",
        "| DDIMScheduler, 20 steps | 84.0 % (82.0 to 86.0) | 3.2 |",
    ):
        assert line in first
    assert "$" not in first
    write_card(model, results, 116)  # its own size doesn't count, so writing it again changes nothing
    assert (model / CARD).read_text(encoding="utf-8") == first


def test_another_configuration_is_held_to_its_own_measures(model: Path, results: dict[str, Any]) -> None:
    stored = json.loads((model / "atelier.json").read_text())
    (model / "atelier.json").write_text(json.dumps(stored | {"name": "atelier-pictograms-full"}))
    for part in results["combinations"].values():
        part["style"] = cell(0.93)
    write_card(model, results, 1565)
    card = (model / CARD).read_text(encoding="utf-8")
    for line in (
        "| trained subjects | ≥ 1400 | 1565 |",
        "| style right | ≥ 90 % | 93.0 % (91.0 to 95.0), n = 464 |",
        "| style and background right, subject and background never together in training | ≥ 75 % |",
    ):
        assert line in card


def test_a_cell_is_measured_once_per_model(tmp_path: Path) -> None:
    assert run_cell(tmp_path, "speed", "one", lambda: {"median": 1.5}) == {"median": 1.5}
    assert run_cell(tmp_path, "speed", "one", lambda: pytest.fail("measured again")) == {"median": 1.5}
    assert run_cell(tmp_path, "speed", "another", lambda: {"median": 1.7}) == {"median": 1.7}


def test_a_digest_is_of_contents(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text("same")
    before = digest(files)
    files[1].write_text("other")
    assert digest(files) != before
    files[1].write_text("same")
    assert digest(files) == before


def test_a_sheet_has_the_pictures_in_rows(tmp_path: Path) -> None:
    pictures = torch.stack([torch.full((3, 8, 8), value) for value in (-1.0, 1.0, 0.0)])
    save_sheet(pictures, tmp_path / "sheets" / "three.png", columns=2)
    sheet = Image.open(tmp_path / "sheets" / "three.png").convert("RGB")
    assert sheet.size == (20, 20)
    assert [sheet.getpixel(place) for place in ((4, 4), (14, 4), (4, 14), (14, 14))] == [
        (0, 0, 0),
        (255, 255, 255),
        (128, 128, 128),
        (255, 255, 255),
    ]
