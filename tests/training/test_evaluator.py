"""The judge: what it keeps in its file, how it cuts icons out, that it learns, and that its score is a share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from training.base_model import evaluator_training
from training.base_model.evaluator import BACKGROUND_LABELS, Evaluator, Judgement, cut_out, shrink
from training.base_model.evaluator_training import (
    draw_numbers,
    log_prior,
    make_batch,
    own_accuracy,
    pairs_present,
    train_evaluator,
)
from training.base_model.icons import IconSet
from training.base_model.subjects import Subject

SIZE = 64


def square_on(colour: tuple[float, float, float], left: int, top: int, side: int) -> Tensor:
    """A green square with a black dot in its middle."""
    picture = torch.tensor(colour, dtype=torch.float32)[:, None, None].expand(3, SIZE, SIZE).clone()
    picture[:, top : top + side, left : left + side] = torch.tensor((-1.0, 0.8, -1.0))[:, None, None]
    middle = slice(top + side // 3, top + side - side // 3), slice(left + side // 3, left + side - side // 3)
    picture[:, middle[0], middle[1]] = -1.0
    return picture


def shapes() -> IconSet:
    """Three icons that nobody could mix up, in two styles (the second has only the first subject)."""
    icons = torch.zeros(3, 2, 4, 32, 32, dtype=torch.uint8)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    masks = (
        (rows - 15.5) ** 2 + (columns - 15.5) ** 2 < 200,
        (rows - 15.5).abs() + (columns - 15.5).abs() < 14,
        (columns // 6) % 2 == 0,
    )
    colours = ((250, 20, 20), (20, 20, 250), (10, 120, 10))
    for number, (mask, colour) in enumerate(zip(masks, colours, strict=True)):
        icons[number, 0] = torch.tensor((*colour, 255), dtype=torch.uint8)[:, None, None] * mask
    icons[0, 1] = torch.tensor((0, 200, 200, 255), dtype=torch.uint8)[:, None, None] * masks[0]
    subjects = tuple(Subject(name, (name,)) for name in ("disc", "diamond", "stripes"))
    return IconSet(subjects, ("plain", "teal"), icons, (), icons[:0], icons[0, :1])


def test_a_saved_judge_judges_alike(tmp_path: Path) -> None:
    torch.manual_seed(0)
    judge = Evaluator(["a", "b", "c"], ["one", "two"]).eval()
    judge.save(tmp_path / "judge.safetensors")
    again = Evaluator.load(tmp_path / "judge.safetensors")
    pictures = torch.rand(4, 3, SIZE, SIZE) * 2 - 1
    with torch.no_grad():
        before, after = judge(pictures), again(pictures)
    assert (again.subjects, again.styles) == (["a", "b", "c"], ["one", "two"])
    for field in ("subject", "style", "background", "features", "embedding"):
        torch.testing.assert_close(getattr(before, field), getattr(after, field), atol=0.05, rtol=0.02)
    assert after.embedding.norm(dim=-1) == pytest.approx(np.ones(4), abs=1e-5)


def test_cut_outs_of_one_thing_are_alike_wherever_it_lies() -> None:
    here, there = cut_out(torch.stack([square_on((1, 1, 1), 8, 10, 24), square_on((0.1, -0.5, 0.6), 30, 25, 30)]))
    assert (here - there).abs().mean() < 0.12
    other = cut_out(square_on((1, 1, 1), 8, 10, 24).roll(1, 0)[None])[0]
    assert (here - other).abs().mean() > 0.3


def test_a_cut_out_is_on_white_and_fills_the_picture() -> None:
    (picture,) = cut_out(square_on((0.1, -0.5, 0.6), 30, 25, 20)[None])
    assert picture[:, 0, 0].tolist() == pytest.approx([1, 1, 1], abs=0.02)
    green = (picture[1] > 0.5) & (picture[0] < -0.5)
    assert green[SIZE // 2].sum() + (picture[1, SIZE // 2] < -0.5).sum() > 0.8 * SIZE


def test_an_empty_picture_cuts_out_to_white() -> None:
    assert cut_out(torch.full((1, 3, SIZE, SIZE), 0.3)).unique().tolist() == [1.0]


def test_shrinking_averages_areas() -> None:
    pictures = torch.rand(2, 3, 128, 128)
    expected = pictures.numpy().reshape(2, 3, 64, 2, 64, 2).mean((3, 5))
    np.testing.assert_allclose(shrink(pictures).numpy(), expected, atol=1e-6)
    already_small = torch.rand(1, 3, 64, 64)
    assert shrink(already_small) is already_small


def test_only_icons_that_exist_are_drawn() -> None:
    icon_set = shapes()
    pairs = pairs_present(icon_set.icons)
    assert pairs == [(0, 0), (0, 1), (1, 0), (2, 0)]
    drawn = draw_numbers(pairs, [(1, 0)], 400, np.random.default_rng(0))
    assert 0.55 < drawn.count((1, 0)) / 400 < 0.7  # half of them, and a quarter of the others


def test_backgrounds_are_what_the_labels_say() -> None:
    batch = make_batch(shapes().icons, [(0, 0)] * 60, np.random.default_rng(3))
    assert batch.pictures.shape == (60, 3, SIZE, SIZE)
    assert batch.pictures.abs().max() <= 1
    means = {"white": [], "black": [], "red": [], "blue": []}
    for picture, label in zip(batch.pictures, batch.background, strict=True):
        name = BACKGROUND_LABELS[int(label)]
        if name in means:
            means[name].append(torch.cat([picture[:, :2], picture[:, -2:]], 1).mean((1, 2)))
    white, black, red, blue = (torch.stack(means[name]).mean(0) for name in ("white", "black", "red", "blue"))
    assert white.min() > 0.7
    assert black.max() < -0.6
    assert red.argmax() == 0
    assert blue.argmax() == 2
    assert any(BACKGROUND_LABELS[int(label)] == "other" for label in batch.background)


def test_what_was_shown_more_often_is_not_expected_more() -> None:
    pairs = pairs_present(shapes().icons)
    shares = log_prior(pairs, [(1, 0)], 3).exp()
    assert shares.tolist() == pytest.approx([0.25, 0.625, 0.125])  # half for subject 1, a quarter of half per icon
    judge = Evaluator(["disc", "diamond", "stripes"], ["plain"])
    pictures = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        learning = judge.train()(pictures).subject
        judge.log_prior.copy_(shares.log())
        assert torch.equal(judge(pictures).subject, learning)
        torch.testing.assert_close(judge.eval()(pictures).subject, learning - shares.log())


class Always(Evaluator):
    """A judge that sees the same in every picture."""

    def forward(self, pictures: Tensor) -> Judgement:
        count = len(pictures)
        subject, style, background = torch.zeros(count, 3), torch.zeros(count, 2), torch.zeros(count, 11)
        subject[:, 2], style[:, 0], background[:, 4] = 1, 1, 1
        return Judgement(subject, style, background, torch.zeros(count, 1), torch.zeros(count, 1))


def test_own_accuracy_counts_shares() -> None:
    judge = Always(["disc", "diamond", "stripes"], ["plain", "teal"])
    found = own_accuracy(judge, shapes().icons, [(0, 0), (1, 0), (2, 0), (0, 1)], 200, seed=1)
    assert found.subject == pytest.approx(0.25)  # every fourth picture is of stripes
    assert found.style == pytest.approx(0.75)
    assert 0.03 < found.background < 0.15  # one colour in ten, less the odd backgrounds
    assert found.count == 200


@pytest.mark.soak
def test_it_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator_training, "BATCH", 16)
    ticks = iter(range(10_000))
    monkeypatch.setattr(evaluator_training.time, "monotonic", lambda: float(next(ticks)))  # a second per step
    icon_set = shapes()
    train_evaluator(icon_set, ["diamond"], 50 / 60, tmp_path / "judge.safetensors")
    judge = Evaluator.load(tmp_path / "judge.safetensors")
    pairs = pairs_present(icon_set.icons)
    untrained = Evaluator(judge.subjects, judge.styles).eval()
    assert own_accuracy(judge, icon_set.icons, pairs, 96, seed=9).subject > 0.75
    assert own_accuracy(untrained, icon_set.icons, pairs, 96, seed=9).subject < 0.6
