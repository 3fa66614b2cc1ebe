"""Train the judge (``evaluator``) on renders with heavy augmentation, for some minutes on one CPU core.

Held-out subjects are not in the training tensors, so the judge has never seen them either.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.base_model.evaluator import BACKGROUND_LABELS, SIZE, Evaluator, cut_out
from training.base_model.icons import IconSet, load_icons
from training.base_model.pictures import over, place_icons, plain
from training.base_model.scenes import BACKGROUNDS, COLOURS, Colour, Placement
from training.base_model.schedule import learning_rate_share, update_average
from training.base_model.subjects import subjects

BATCH = 64
PEAK_LEARNING_RATE = 2e-3
TAUGHT_SHARE = 0.5  # of the pictures show what the judged model was taught, the others anything
OTHER_BACKGROUND_SHARE = 0.15
CUT_OUT_SHARE = 0.2  # of each batch is cut out, so that cut-outs can be compared too
TINT = 16


@dataclass(frozen=True)
class Labelled:
    """Pictures ``[b, 3, 64, 64]`` in -1..1 and what is in them, each ``[b]``."""

    pictures: Tensor
    subject: Tensor
    style: Tensor
    background: Tensor


def draw_place(rng: np.random.Generator) -> Placement:
    """Mostly the whole picture, now and then small; turned by up to 15 degrees, half of the time mirrored."""
    small = rng.random() < 0.15
    scale = float(rng.uniform(0.4, 0.65) if small else rng.uniform(0.65, 1.1))
    reach = 0.2 if small else 0.07
    x, y = (float(value) for value in rng.uniform(-reach, reach, 2))
    return Placement(scale, x, y, angle=float(rng.uniform(-15, 15)), mirrored=bool(rng.random() < 0.3))


def tinted(background: str, rng: np.random.Generator) -> Colour:
    """A palette colour, further off than the model's own pictures ever are."""
    red, green, blue = (
        int(np.clip(part + rng.integers(-TINT, TINT + 1), 0, 255)) for part in BACKGROUNDS[background]
    )
    return (red, green, blue)


def wild_background(rng: np.random.Generator) -> Tensor:
    """``[3, 64, 64]`` in 0..1 of no palette colour: a smooth field of random colours."""
    corners = torch.from_numpy(rng.uniform(0, 1, (1, 3, 3, 3))).float()
    return functional.interpolate(corners, (SIZE, SIZE), mode="bicubic", align_corners=True)[0].clamp(0, 1)


def degrade(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """What drawing badly does: blur, grain, blotches, contrast and cast; pictures in 0..1."""
    count = len(pictures)
    blurred = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    blur = torch.from_numpy(rng.uniform(0, 1, (count, 1, 1, 1)) ** 2).float()
    pictures = pictures + blur * (blurred - pictures)
    blotches = functional.interpolate(
        torch.from_numpy(rng.normal(0, 1, (count, 3, 12, 12))).float(), (SIZE, SIZE), mode="bicubic"
    )
    strength = torch.from_numpy(rng.uniform(0, 0.1, (count, 1, 1, 1)) * (rng.random((count, 1, 1, 1)) < 0.5)).float()
    grain = torch.from_numpy(rng.normal(0, 1, tuple(pictures.shape))).float() * strength / 2
    contrast = torch.from_numpy(rng.uniform(0.85, 1.2, (count, 1, 1, 1))).float()
    cast = torch.from_numpy(rng.uniform(-0.04, 0.04, (count, 3, 1, 1))).float()
    return ((pictures - 0.5) * contrast + 0.5 + cast + strength * blotches + grain).clamp(0, 1)


def make_batch(icons: Tensor, numbers: Sequence[tuple[int, int]], rng: np.random.Generator) -> Labelled:
    """Augmented renders of ``(subject, style)`` pairs from ``icons [s, styles, 4, n, n]`` (uint8)."""
    subject, style = (torch.tensor(column) for column in zip(*numbers, strict=True))
    layers = place_icons(icons[subject, style].float() / 255, [draw_place(rng) for _ in numbers], SIZE)
    background = torch.from_numpy(rng.integers(len(COLOURS), size=len(numbers)))
    below = plain([tinted(COLOURS[int(number)], rng) for number in background], SIZE, layers).clone()
    for row in np.nonzero(rng.random(len(numbers)) < OTHER_BACKGROUND_SHARE)[0]:
        below[row] = wild_background(rng)
        background[row] = BACKGROUND_LABELS.index("other")
    return Labelled(degrade(over(layers, below), rng) * 2 - 1, subject, style, background)


def draw_numbers(
    present: Sequence[tuple[int, int]], taught: Sequence[tuple[int, int]], count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """``(subject, style)`` pairs: TAUGHT_SHARE of them from ``taught``."""
    pools = [taught if rng.random() < TAUGHT_SHARE else present for _ in range(count)]
    return [pool[int(rng.integers(len(pool)))] for pool in pools]


def log_prior(present: Sequence[tuple[int, int]], taught: Sequence[tuple[int, int]], count: int) -> Tensor:
    """Logarithms of the shares ``[count]`` that ``draw_numbers`` gives each subject."""
    share = torch.zeros(count)
    for pool, weight in ((taught, TAUGHT_SHARE), (present, 1 - TAUGHT_SHARE)):
        share += weight / len(pool) * torch.bincount(torch.tensor([subject for subject, _ in pool]), minlength=count)
    return share.log()


def pairs_present(icons: Tensor) -> list[tuple[int, int]]:
    """``(subject, style)`` of every icon that is there (an absent one is all transparent)."""
    return [(int(s), int(k)) for s, k in torch.nonzero(icons[:, :, 3].flatten(2).any(-1))]


def loss_of(evaluator: Evaluator, batch: Labelled) -> Tensor:
    """Cross-entropies of the three answers; cut-outs (on white, which says nothing) count for subject and style."""
    cut = int(len(batch.pictures) * CUT_OUT_SHARE)
    pictures = torch.cat([cut_out(batch.pictures[:cut]), batch.pictures[cut:]])
    with torch.autocast("cpu", torch.bfloat16):
        seen = evaluator(pictures)
    return (
        functional.cross_entropy(seen.subject.float(), batch.subject)
        + 0.3 * functional.cross_entropy(seen.style.float(), batch.style)
        + 0.5 * functional.cross_entropy(seen.background.float()[cut:], batch.background[cut:])
    )


def train_evaluator(
    icon_set: IconSet, taught_icons: Sequence[str], minutes: float, file: Path, seed: int = 0
) -> None:
    """Train for ``minutes`` and write ``file``; ``taught_icons`` (in the first style) are shown more often."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    names = [subject.icon for subject in icon_set.subjects]
    present = pairs_present(icon_set.icons)
    taught = [(names.index(icon), 0) for icon in taught_icons]
    model, average = (Evaluator(names, list(icon_set.styles)) for _ in range(2))
    model.log_prior.copy_(log_prior(present, taught, len(names)))
    average.load_state_dict(model.state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.02, fused=True)
    start, step = time.monotonic(), 0
    while (elapsed := time.monotonic() - start) < minutes * 60:
        for group in optimiser.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * learning_rate_share(elapsed / (minutes * 60), step)
        loss = loss_of(model, make_batch(icon_set.icons, draw_numbers(present, taught, BATCH, rng), rng))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        update_average(average, model, step)
        if step % 100 == 0:
            print(f"step {step} {elapsed:.0f} s loss {loss.item():.3f}", flush=True)
    average.save(file)


@dataclass(frozen=True)
class OwnAccuracy:
    """Shares (0..1) of unseen augmented renders that the judge names rightly."""

    subject: float
    style: float
    background: float
    count: int


@torch.no_grad()
def own_accuracy(
    evaluator: Evaluator, icons: Tensor, pairs: Sequence[tuple[int, int]], count: int, seed: int
) -> OwnAccuracy:
    """How good the judge itself is, on renders from another seed than training's."""
    rng = np.random.default_rng(seed)
    right = torch.zeros(3)
    for first in range(0, count, BATCH):
        numbers = [pairs[(first + k) % len(pairs)] for k in range(min(BATCH, count - first))]
        batch = make_batch(icons, numbers, rng)
        seen = evaluator(batch.pictures)
        answers = ((seen.subject, batch.subject), (seen.style, batch.style), (seen.background, batch.background))
        right += torch.stack([(logits.argmax(-1) == truth).sum() for logits, truth in answers])
    subject, style, background = (right / count).tolist()
    return OwnAccuracy(subject, style, background, count)


def main() -> None:
    """``python -m training.base_model.evaluator_training --icons full/icons.pack``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--icons", type=Path, required=True, help="icons.pack of `full`")
    parser.add_argument("--minutes", type=float, default=22)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "judge.safetensors")
    arguments = parser.parse_args()
    taught = [subject.icon for subject in subjects()]
    train_evaluator(load_icons(arguments.icons), taught, arguments.minutes, arguments.output)


if __name__ == "__main__":
    main()
