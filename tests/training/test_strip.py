"""The strip: samples of any size in rows, the card's figures below."""

from __future__ import annotations

from PIL import Image

from training.order import Card, Verdict
from training.strip import CELL, card_lines, samples_picture, strip_picture

RED, BLUE = Image.new("RGB", (64, 64), (255, 0, 0)), Image.new("RGB", (512, 256), (0, 0, 255))
CARD = Card(verdict=Verdict.LEARNED, similarity=0.834, held_out=True, prompt_fidelity=1.0, drift=0.05)


def test_samples_lie_side_by_side_at_one_size() -> None:
    row = samples_picture([RED, BLUE])
    assert row.height == CELL
    assert row.getpixel((CELL // 2, CELL // 2)) == (255, 0, 0)
    assert row.getpixel((row.width - CELL // 2, CELL // 4)) == (0, 0, 255)


def test_the_strip_has_every_row_and_leaves_out_empty_ones() -> None:
    two = strip_picture([(0.25, [RED, RED]), (0.5, []), (1.0, [BLUE, BLUE])], CARD)
    one = strip_picture([(1.0, [BLUE, BLUE])], CARD)
    colours = {colour for _, colour in two.getcolors(1 << 20) or []}
    assert {(255, 0, 0), (0, 0, 255)} <= colours
    assert CELL < two.height - one.height < CELL + 20
    assert strip_picture([], CARD).width > 0


def test_figures_in_words() -> None:
    assert card_lines(CARD) == [
        "alike: 83% as much as a photo it never saw",
        "backgrounds followed: 100% of before",
        "others of its kind stay as they were",
    ]
    drifted = Card(verdict=Verdict.PARTLY, similarity=0.3, drift=0.6)
    assert card_lines(drifted)[1:] == ["others of its kind change with it"]
    unjudged = Card(verdict=Verdict.NOT_LEARNED, loss_before=0.2, loss_after=0.1999)
    assert card_lines(unjudged) == ["judged by the error in training alone", "loss 0.2000, then 0.1999"]
    below = Card(verdict=Verdict.NOT_LEARNED, similarity=-0.04)
    assert card_lines(below) == ["alike: 0% as much as the photos"]
