"""The measures, on the bundled model with few steps, and on answers that are known beforehand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

import generation
from training.base_model import measures
from training.base_model.evaluator import BACKGROUND_LABELS, Evaluator, Judgement
from training.base_model.measures import Bench, Combination, Named
from training.base_model.scenes import unseen_background
from training.base_model.subjects import Subject

BUNDLED = Path(generation.__file__).parent / "bundled"
SUBJECTS = tuple(Subject(name, (name,)) for name in ("apple", "fox", "the sun"))


class Reader(Evaluator):
    """A judge that reads its answers off the first pixels: subject number in red, background number in green."""

    def forward(self, pictures: Tensor) -> Judgement:
        count = len(pictures)
        first = pictures[:, :, 0, 0].round().long()
        subject = torch.nn.functional.one_hot(first[:, 0], 3).float()
        background = torch.nn.functional.one_hot(first[:, 1], len(BACKGROUND_LABELS)).float()
        style = torch.tensor([[0.0, 1.0]]).expand(count, 2)
        return Judgement(subject, style, background, subject, subject)


class Painter(Reader):
    """A judge to whom pictures of one background colour are alike."""

    def forward(self, pictures: Tensor) -> Judgement:
        colour = torch.nn.functional.normalize(pictures[:, :, 0, 0], dim=-1)
        empty = torch.zeros(len(pictures), 3)
        return Judgement(empty, empty, empty, empty, torch.nn.functional.pad(colour, (0, 125)))


def picture(subject: int, background: str) -> Tensor:
    """What Reader takes for that subject on that background."""
    made = torch.zeros(3, 64, 64)
    made[0], made[1] = subject, BACKGROUND_LABELS.index(background)
    return made


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(BUNDLED).to(torch.float32)


@pytest.fixture
def bench(pipeline: StableDiffusionPipeline) -> Bench:
    judge = Reader(["fox", "apple", "the sun"], ["flat", "noto"])  # in another order than the subjects
    return Bench(pipeline, judge, SUBJECTS, torch.full((3, 1, 4, 64, 64), 255, dtype=torch.uint8), ("noto",), 2, 7.5)


def canned(monkeypatch: pytest.MonkeyPatch, pictures: Sequence[Tensor]) -> list[list[str]]:
    """Let ``draw`` give these pictures, and note what it was asked for."""
    asked: list[list[str]] = []

    def draw(bench: Bench, prompts: Sequence[str], *rest: object, **options: object) -> Tensor:
        asked.append(list(prompts))
        return torch.stack(list(pictures))

    monkeypatch.setattr(measures, "draw", draw)
    return asked


def test_each_picture_has_a_seed_of_its_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "BATCH", 2)
    pictures = measures.draw(bench, ["a fox", "an apple", "a fox"])
    alone = bench.pipeline(
        "a fox", num_inference_steps=2, guidance_scale=7.5, generator=torch.Generator().manual_seed(2),
        output_type="np",
    ).images[0]  # fmt: skip
    np.testing.assert_allclose(pictures[2].permute(1, 2, 0).numpy(), alone * 2 - 1, atol=1e-4)


def test_guidance_and_negative_prompt_reach_the_model(bench: Bench) -> None:
    usual = measures.draw(bench, ["a fox"])
    assert (usual - measures.draw(bench, ["a fox"], 3.0)).abs().max() > 0.05
    assert (usual - measures.draw(bench, ["a fox"], negative_prompt="white background")).abs().max() > 0.05


def test_naming_compares_with_the_judges_own_order(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # Per subject one right and one wrong picture; the sun both right. The judge has the fox as 0, the apple as 1.
    asked = canned(
        monkeypatch,
        [picture(1, "red"), picture(0, "blue"), picture(0, "red"), picture(2, "red"), picture(2, "other"),
         picture(2, "white")],
    )  # fmt: skip
    named = measures.name_subjects(bench, 2)
    assert asked == [["an apple", "an apple", "a fox", "a fox", "the sun", "the sun"]]
    assert named.right == [1, 0, 1, 0, 1, 1]
    assert named.background == ["red", "blue", "red", "red", "other", "white"]
    assert named.by_subject() == {0: 0.5, 1: 0.5, 2: 1.0}
    assert named.accuracy().value == pytest.approx(4 / 6)


def test_a_combination_needs_both(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = canned(monkeypatch, [picture(1, "red"), picture(0, "red"), picture(1, "blue"), picture(2, "blue")])
    found = measures.combine(bench, [0, 1, 0, 2], ["red", "orange", "white", "blue"])
    assert asked[0][1] == "a fox on an orange background"
    assert found.subject.value == 1.0
    assert found.background.value == 0.5
    assert found.both.value == 0.5
    assert found.style is None


def test_with_styles_a_combination_needs_style_and_background(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    icons = torch.full((3, 2, 4, 8, 8), 255, dtype=torch.uint8)
    icons[1, 0] = 0  # the fox is there in the second style only
    bench = dataclasses.replace(bench, styles=("flat", "noto"), icons=icons)
    asked = canned(monkeypatch, [picture(1, "red"), picture(1, "red"), picture(0, "red")])
    found = measures.combine(bench, [0, 0, 1], ["red", "red", "red"])
    assert asked[0] == [
        "an apple in flat style on a red background",
        "an apple in noto style on a red background",
        "a fox in noto style on a red background",
    ]
    assert found.style is not None
    assert found.style.value == pytest.approx(2 / 3)  # Reader always says the second style
    assert found.both.value == pytest.approx(2 / 3)


def test_pairs_of_training_and_pairs_that_it_never_had(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: list[tuple[int, str]] = []

    def combine(
        bench: Bench, numbers: Sequence[int], backgrounds: Sequence[str], guidance_scale: float | None = None
    ) -> Combination | None:
        pairs.extend(zip(numbers, backgrounds, strict=True))
        return None

    monkeypatch.setattr(measures, "combine", combine)
    measures.unseen_combinations(bench, [0, 2], 3)
    assert pairs == [(0, unseen_background(0))] * 3 + [(2, unseen_background(2))] * 3
    pairs.clear()
    measures.seen_combinations(bench, 4)
    assert {number for number, _ in pairs} == {0, 1, 2}
    assert all(background != unseen_background(number) for number, background in pairs)
    assert len(set(pairs)) == len(pairs) >= 12


def test_diversity_is_none_among_equals_and_one_among_strangers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    canned(monkeypatch, [picture(0, "red")] * 3 + [picture(number, "red") for number in range(3)])
    found = measures.diversity(bench, [0, 1], 7.5, seeds=3)
    assert found.value == pytest.approx(0.5)  # 0 for the first subject, 1 for the second
    assert (found.low, found.high, found.count) == (pytest.approx(0), pytest.approx(1), 6)


def test_the_most_frequent_colour_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Named(torch.empty(0), [0, 1, 2], [1.0, 1.0, 1.0], ["white", "white", "blue"])
    negatives: list[str] = []

    def name_subjects(bench: Bench, seeds: int, negative_prompt: str) -> Named:
        negatives.append(negative_prompt)
        with_white = (
            ["white", "white", "red", "white"] if "violin" in negative_prompt else ["red", "red", "white", "red"]
        )
        return Named(torch.empty(0), [0, 0, 1, 1], [1.0, 1.0, 0.0, 1.0], with_white)

    monkeypatch.setattr(measures, "name_subjects", name_subjects)
    found = measures.avoid_colour(bench, plain, 2)
    assert (found.colour, negatives) == ("white", ["white background", "a photo of a violin"])
    assert (found.unrelated.value, found.named.value, found.times_fewer.value) == (0.75, 0.25, 3.0)


def test_a_remix_starts_from_one_subject_and_asks_for_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, list[str]]] = []

    def redraw(bench: Bench, pictures: Tensor, prompts: Sequence[str], strength: float) -> Tensor:
        asked.append((strength, list(prompts)))
        return pictures if strength < 0.5 else pictures.flip(0)

    monkeypatch.setattr(measures, "redraw", redraw)
    monkeypatch.setattr(measures, "cut_out", lambda pictures: pictures)
    icons = torch.zeros(3, 1, 4, 64, 64, dtype=torch.uint8)  # nothing but background
    judge = Painter(bench.judge.subjects, bench.judge.styles)
    steps = measures.remix(dataclasses.replace(bench, icons=icons, judge=judge), (0.2, 0.8), count=6)
    assert [strength for strength, _ in asked] == [0.2, 0.8]
    started = ["an apple", "a fox", "the sun"] * 2
    assert all(then != first for then, first in zip(asked[0][1], started, strict=True))
    assert steps[0].to_start.value == pytest.approx(1.0)
    assert steps[1].to_start.value < 1.0
    assert steps[0].to_start.count == 6


def test_mottling_is_the_deviation_of_the_border() -> None:
    flat = torch.full((1, 3, 16, 16), 0.2)
    assert measures.mottling(flat) == pytest.approx(0, abs=1e-4)
    inside = flat.clone()
    inside[:, :, 6:10, 6:10] = 1.0
    assert measures.mottling(inside) == pytest.approx(0, abs=1e-4)
    stripes = torch.where(torch.arange(16) % 2 == 0, 0.1, -0.1).expand(1, 3, 16, 16)
    assert measures.mottling(stripes) == pytest.approx(0.1 * 127.5, rel=0.02)
