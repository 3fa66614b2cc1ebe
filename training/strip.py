"""What members see of a training: a row of samples while it runs; all rows and the card's figures at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont

from training.order import DRIFTED, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.order import Card

CELL: Final = 160
"""Pixels: the longer side of a sample."""
_GAP: Final = 8
_LABEL: Final = 64
_LINE: Final = 24
_PAPER, _INK, _PALE = (250, 249, 246), (28, 28, 30), (120, 118, 112)
_HEADLINES: Final = {
    Verdict.LEARNED: "It learned",
    Verdict.PARTLY: "It learned some of it",
    Verdict.NOT_LEARNED: "It did not learn",
}


def samples_picture(images: Sequence[Image.Image]) -> Image.Image:
    """Samples of one moment side by side. At least one."""
    cells = [_cell(image) for image in images]
    width = sum(cell.width for cell in cells) + _GAP * (len(cells) - 1)
    row = Image.new("RGB", (width, max(cell.height for cell in cells)), _PAPER)
    x = 0
    for cell in cells:
        row.paste(cell, (x, 0))
        x += cell.width + _GAP
    return row


def strip_picture(samples: Sequence[tuple[float, Sequence[Image.Image]]], card: Card) -> Image.Image:
    """Rows of samples, each beside how much of the training was done (0 to 1), and the card below.

    Empty rows are left out; without any the card stands alone.
    """
    rows = [(fraction, samples_picture(images)) for fraction, images in samples if images]
    lines = card_lines(card)
    width = max([_LABEL + row.width for _, row in rows] + [_LABEL + 2 * CELL]) + 2 * _GAP
    height = sum(row.height + _GAP for _, row in rows) + _LINE * (len(lines) + 1) + 2 * _GAP
    picture = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(picture)
    y = _GAP
    for fraction, row in rows:
        pen.text((_GAP, y + row.height / 2), f"{fraction:.0%}", _PALE, ImageFont.load_default(16), anchor="lm")
        picture.paste(row, (_GAP + _LABEL, y))
        y += row.height + _GAP
    pen.text((_GAP, y + _LINE / 2), _HEADLINES[card.verdict], _INK, ImageFont.load_default(20), anchor="lm")
    for number, line in enumerate(lines, 1):
        pen.text((_GAP, y + _LINE * (number + 0.5)), line, _INK, ImageFont.load_default(15), anchor="lm")
    return picture


def card_lines(card: Card) -> list[str]:
    """The figures that there are, in words."""
    lines = list[str]()
    if card.similarity is not None:
        whose = "a photo it never saw" if card.held_out else "the photos"
        lines.append(f"alike: {_percent(card.similarity)} as much as {whose}")
    else:
        lines.append("judged by the error in training alone")
    if card.prompt_fidelity is not None:
        lines.append(f"backgrounds followed: {_percent(card.prompt_fidelity)} of before")
    if card.drift is not None:
        lines.append(f"others of its kind {'change with it' if card.drift > DRIFTED else 'stay as they were'}")
    if card.similarity is None and card.loss_before is not None and card.loss_after is not None:
        lines.append(f"loss {card.loss_before:.4f}, then {card.loss_after:.4f}")
    return lines


def _percent(share: float) -> str:
    return f"{max(share, 0):.0%}"


def _cell(image: Image.Image) -> Image.Image:
    scale = CELL / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
