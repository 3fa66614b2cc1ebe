"""What the model that ships draws, in the judge's eyes: a small part of its card, on every test run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

import generation
from training.base_model.evaluator import BACKGROUND_LABELS, Evaluator
from training.base_model.measures import Bench, draw, look, name_of
from training.base_model.report import JUDGE
from training.base_model.scenes import unseen_background
from training.base_model.subjects import held_out_subjects, subjects

BUNDLED = Path(generation.__file__).parent / "bundled"


@pytest.fixture(scope="module")
def bench() -> Bench:
    pipeline = StableDiffusionPipeline.from_pretrained(BUNDLED).to(torch.float32)
    icons = torch.zeros(len(subjects()), 1, 4, 8, 8, dtype=torch.uint8)
    return Bench(pipeline, Evaluator.load(JUDGE), subjects(), icons, ("noto",), 20, 7.5)


def test_it_draws_the_subject_and_the_background_that_are_asked_for(bench: Bench) -> None:
    numbers = list(range(3, len(subjects()), 6))
    backgrounds = [BACKGROUND_LABELS[(number + 2) % 10] for number in numbers]
    asked = zip(numbers, backgrounds, strict=True)
    prompts = [f"{name_of(subjects()[number])} on a {background} background" for number, background in asked]
    seen = look(bench.judge, draw(bench, prompts))
    subject_right = seen.subject.argmax(-1) == bench.judge_numbers()[numbers]
    background_right = seen.background.argmax(-1) == torch.tensor([BACKGROUND_LABELS.index(b) for b in backgrounds])
    assert subject_right.float().mean() >= 0.8  # as the card promises of all subjects
    assert background_right.float().mean() >= 0.9


def test_a_negative_prompt_drives_its_colour_away(bench: Bench) -> None:
    prompts = [name_of(subject) for subject in subjects()[::10]]
    white = [
        (look(bench.judge, draw(bench, prompts, negative_prompt=negative)).background.argmax(-1) == 0).sum().item()
        for negative in ("", "white background")
    ]
    assert white[0] >= 3
    assert white[1] <= white[0] / 3


def test_the_judge_never_learned_what_is_held_out(bench: Bench) -> None:
    assert not {subject.icon for subject in held_out_subjects()} & set(bench.judge.subjects)
    assert {subject.icon for subject in subjects()} <= set(bench.judge.subjects)


def test_the_list_in_the_folder_is_what_it_was_taught() -> None:
    stored = json.loads((BUNDLED / "atelier.json").read_text(encoding="utf-8"))
    assert stored["subjects"] == [subject.title for subject in subjects()]
    assert set(stored["earlier_subjects"]) < set(stored["subjects"])
    assert {unseen_background(number) for number in range(len(subjects()))} == set(stored["backgrounds"]) - {"white"}
