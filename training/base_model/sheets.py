"""The picture sheets of the model card and the README: what the figures look like."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from training.base_model.measures import STRENGTHS, Bench, draw, redraw
from training.base_model.samples import contact_sheet

GALLERY = (
    "a fox on a blue background",
    "a red apple on a yellow background",
    "a penguin on an orange background",
    "a butterfly on a pink background",
    "a rainbow on a white background",
    "a koala on a green background",
    "a pizza on a red background",
    "a rocket on a black background",
    "a cup of coffee on an orange background",
    "a smiley on a purple background",
    "a sunflower on a blue background",
    "a trophy on a gray background",
    "a panda on a pink background",
    "a pumpkin on a black background",
    "a strawberry on a white background",
    "a dolphin on a yellow background",
    "a lollipop on a green background",
    "an umbrella on a gray background",
    "a chick on a blue background",
    "a cherry blossom on a white background",
    "a diamond on a purple background",
    "a frog on a pink background",
    "a heart on a white background",
    "a robot on a yellow background",
)
GUIDED, GUIDANCE = ("a parrot", "a cat on a purple background", "an alarm clock"), (1.0, 2.0, 3.0, 5.0, 7.5, 12.0)
AVOIDED, AVOIDING, SEEDS = "a balloon", ("", "white background"), 6
REMIXED = (("a red apple on a white background", "a lemon"), ("a cat on a blue background", "a panda"))


def to_images(pictures: Tensor) -> list[Image.Image]:
    """Pictures ``[n, 3, h, w]`` in -1..1 for Pillow."""
    pixels = pictures.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1)
    return [Image.fromarray(picture.numpy()) for picture in pixels]


def save_sheet(pictures: Tensor, file: Path, columns: int = 12, enlarge: int = 1) -> None:
    """Pictures ``[n, 3, h, w]`` side by side as one small PNG."""
    sheet = contact_sheet(to_images(pictures), columns, enlarge, Image.Resampling.BICUBIC)
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def save_gallery(bench: Bench, file: Path) -> None:
    """GALLERY, seeds 0, 1, 2 …, none chosen."""
    save_sheet(draw(bench, GALLERY), file, columns=8, enlarge=2)


def save_guidance(bench: Bench, file: Path) -> None:
    """One row per prompt of GUIDED, the same seed at every scale of GUIDANCE."""
    rows = [torch.cat([draw(bench, [prompt], scale) for scale in GUIDANCE]) for prompt in GUIDED]
    save_sheet(torch.cat(rows), file, columns=len(GUIDANCE), enlarge=2)


def save_negative(bench: Bench, file: Path) -> None:
    """One row without and one with a negative prompt, the same seeds in both."""
    rows = [draw(bench, [AVOIDED] * SEEDS, negative_prompt=negative) for negative in AVOIDING]
    save_sheet(torch.cat(rows), file, columns=SEEDS, enlarge=2)


def save_remix(bench: Bench, file: Path) -> None:
    """A drawn picture, then image to image with another prompt at each of STRENGTHS."""
    rows: list[Tensor] = []
    for first, then in REMIXED:
        start = draw(bench, [first])
        rows += [start, *(redraw(bench, start, [then], strength) for strength in STRENGTHS)]
    save_sheet(torch.cat(rows), file, columns=1 + len(STRENGTHS), enlarge=2)


def save_all(bench: Bench, folder: Path) -> None:
    """The four sheets above."""
    save_gallery(bench, folder / "gallery.png")
    save_guidance(bench, folder / "guidance.png")
    save_negative(bench, folder / "negative.png")
    save_remix(bench, folder / "strength.png")
