"""The judge of the bundled model: which subject, style and background is in a picture, and how alike two are.

A small residual network of its own, trained on renders alone (``evaluator_training``). It shares nothing with
the model that it judges: neither weights nor autoencoder, nor has it seen anything that a model drew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from training.base_model.scenes import COLOURS

SIZE = 64
WIDTHS = (24, 48, 96, 192)
EMBEDDING = 128
COSINE_SCALE = 24.0
BACKGROUND_LABELS = (*COLOURS, "other")
BORDER = 3  # pixels at each edge that are taken for background when an icon is cut out
CUT_OUT_DISTANCE = 0.18  # from the background's colour, in 0..1 per channel at most


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016, https://arxiv.org/abs/1603.05027), halving the size."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.GroupNorm(8, width_in), nn.GroupNorm(8, width_out)
        self.convolution_1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.convolution_2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        self.shortcut = nn.Conv2d(width_in, width_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[b, width_in, h, w]`` → ``[b, width_out, h/2, w/2]``."""
        x = functional.avg_pool2d(x, 2)
        inner = self.convolution_1(functional.relu(self.norm_1(x)))
        return self.shortcut(x) + self.convolution_2(functional.relu(self.norm_2(inner)))


@dataclass(frozen=True)
class Judgement:
    """What the judge sees in ``b`` pictures."""

    subject: Tensor
    """Logits ``[b, subjects]``."""
    style: Tensor
    """Logits ``[b, styles]``."""
    background: Tensor
    """Logits ``[b, 11]`` for BACKGROUND_LABELS."""
    features: Tensor
    """``[b, 192]`` of the whole picture, behind all three answers: for diversity."""
    embedding: Tensor
    """``[b, 128]`` of length 1: cosines say how alike two subjects are."""


class Evaluator(nn.Module):
    """Pictures ``[b, 3, 64, 64]`` in -1..1 → Judgement.

    ``log_prior [subjects]`` is how often each subject is in its training; in ``eval()`` all count as equally likely.
    """

    def __init__(self, subjects: list[str], styles: list[str]) -> None:
        super().__init__()
        self.subjects, self.styles = subjects, styles
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, padding=1)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(WIDTHS, (*WIDTHS[1:], WIDTHS[-1]), strict=True)))
        self.norm = nn.LayerNorm(WIDTHS[-1])
        self.embed = nn.Linear(WIDTHS[-1], EMBEDDING)
        self.subject_directions = nn.Parameter(torch.randn(len(subjects), EMBEDDING))
        self.style = nn.Linear(WIDTHS[-1], len(styles))
        self.background = nn.Linear(WIDTHS[-1], len(BACKGROUND_LABELS))
        self.log_prior: Tensor
        self.register_buffer("log_prior", torch.zeros(len(subjects)))

    def forward(self, pictures: Tensor) -> Judgement:
        """Judge ``pictures [b, 3, 64, 64]`` (-1..1)."""
        maps = functional.relu(self.blocks(self.stem(pictures)))
        features = self.norm(maps.mean((-1, -2)))
        embedding = functional.normalize(self.embed(features), dim=-1)
        directions = functional.normalize(self.subject_directions, dim=-1)
        subject = COSINE_SCALE * embedding @ directions.T
        if not self.training:
            # It was shown some subjects more often than others. Who judges must not expect them more for that
            # (Menon et al. 2021, https://arxiv.org/abs/2007.07314).
            subject = subject - self.log_prior
        return Judgement(subject, self.style(features), self.background(features), features, embedding)

    def subject_number(self, icon: str) -> int:
        """Where an icon's name stands in the subject logits."""
        return self.subjects.index(icon)

    def save(self, file: Path) -> None:
        """One safetensors file of float16 with the labels in its metadata."""
        labels = {"subjects": json.dumps(self.subjects), "styles": json.dumps(self.styles)}
        save_file({name: value.half().contiguous() for name, value in self.state_dict().items()}, file, labels)

    @classmethod
    def load(cls, file: Path) -> Evaluator:
        """What ``save`` wrote, in float32, ready to judge."""
        metadata = read_metadata(file)
        evaluator = cls(json.loads(metadata["subjects"]), json.loads(metadata["styles"]))
        evaluator.load_state_dict({name: value.float() for name, value in load_file(file).items()})
        return evaluator.eval().requires_grad_(False)


def read_metadata(file: Path) -> dict[str, Any]:
    """The text fields of a safetensors file's header (https://github.com/huggingface/safetensors, "Format")."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        return json.loads(stream.read(length))["__metadata__"]


def shrink(pictures: Tensor) -> Tensor:
    """Pictures ``[b, 3, n, n]`` of any size → ``[b, 3, 64, 64]``, by area."""
    return pictures if pictures.shape[-1] == SIZE else functional.interpolate(pictures, (SIZE, SIZE), mode="area")


def cut_out(pictures: Tensor) -> Tensor:
    """Crop each picture ``[3, 64, 64]`` (-1..1) to what differs from its border, put on white and enlarged.

    So that two pictures of a thing compare alike wherever it lies and whatever is behind it.
    """
    return torch.stack([_cut_out_one(picture) for picture in pictures])


def _cut_out_one(picture: Tensor) -> Tensor:
    size = picture.shape[-1]
    edge = torch.ones(size, size, dtype=torch.bool)
    edge[BORDER:-BORDER, BORDER:-BORDER] = False
    background = picture[:, edge].median(dim=1).values
    distance = (picture - background[:, None, None]).abs().amax(0) / 2
    share = ((distance - CUT_OUT_DISTANCE / 2) / (CUT_OUT_DISTANCE / 2)).clamp(0, 1)
    white = picture * share + (1 - share)
    rows, columns = torch.nonzero(distance > CUT_OUT_DISTANCE, as_tuple=True)
    if len(rows) < 16:  # nothing there but background
        return white
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    side = round(1.12 * max(bottom - top, right - left))
    square = torch.ones(3, side, side)
    y, x = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    square[:, y : y + bottom - top, x : x + right - left] = white[:, top:bottom, left:right]
    return functional.interpolate(square[None], (size, size), mode="bilinear", antialias=True, align_corners=False)[0]
