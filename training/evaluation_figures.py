"""The figures of an evaluation: everything is taken from the pictures that `evaluation` has kept, by the judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from training.base_model.intervals import Interval, mean_interval, ratio_interval
from training.evaluation import DRIFT_SEED, Cell, Variant, colours_asked, read_sheet
from training.judge import alike
from training.order import Method
from training.views import ALL_UNSEEN, UNSEEN, other_views, views

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image
    from torch import Tensor

    from training.judge import Judge

COPY_QUANTILE: Final = 0.05
"""A picture is a copy of a training view if it is nearer to it than all but this share of new views on the same
background are; distances are root mean squares over all pixels. So this share of new views counts as copies."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one method; None where there is nothing to take it from yet."""

    similarity: Interval | None
    """To held-out views: 0 is another thing of the same group, 1 is as alike as training views are to them."""
    similarity_coloured: Interval | None
    """The same where a background was asked for."""
    untrained: Interval | None
    """The same of the rare word and the class word before any training."""
    above_untrained: Interval | None
    """Similarity less the untrained one of the same thing and seed: things differ more from each other than this."""
    rate_zero: Interval | None
    """The same of trainings at learning rate 0, of one seed: what the methods begin with."""
    other_photos: Interval | None
    """The same of trainings of other things of the group."""
    fidelity: Interval | None
    """Backgrounds right, against the base asked for the class word."""
    copies: Interval | None
    drift: Interval | None
    """1 - cosine to the base's picture of the same prompt and seed, the concept being active, on 50 class prompts."""
    drift_without_prior: Interval | None
    drift_ratio: Interval | None


class Pictures:
    """Reads what is there, and looks at each once."""

    def __init__(self, folder: Path, judge: Judge, seeds: int) -> None:
        self._folder, self._judge = folder, judge
        self.seeds = range(seeds)
        self._things: dict[Path, Tensor] = {}
        self._scales: dict[tuple[str, int], tuple[Tensor, float, float]] = {}

    def images(self, cell: Cell, kind: str) -> list[Image.Image] | None:
        """None where the cell is not finished, or has no such pictures."""
        file = self._folder / cell.folder / f"{kind}.png"
        return read_sheet(file) if file.is_file() and file.with_name("outcome.json").is_file() else None

    def things(self, cell: Cell, kind: str) -> Tensor | None:
        file = self._folder / cell.folder / f"{kind}.png"
        if file not in self._things:
            images = self.images(cell, kind)
            if images is None:
                return None
            self._things[file] = self._judge.things(images)
        return self._things[file]

    def similarities(self, things: Tensor, icon: str, seed: int) -> list[float]:
        """Of each of `things` [n, width] to the held-out views of `icon`."""
        held_out, zero, one = self._scale(icon, seed)
        return ((alike(things, held_out) - zero) / (one - zero)).tolist()

    def right(self, cell: Cell) -> list[float] | None:
        """Is the background of each `coloured` picture as asked for?"""
        images = self.images(cell, "coloured")
        if images is None:
            return None
        seen = self._judge.backgrounds(images)
        return [float(colour == asked) for colour, asked in zip(seen, colours_asked(), strict=True)]

    def _scale(self, icon: str, seed: int) -> tuple[Tensor, float, float]:
        """The held-out views' features, and the cosines that stand for 0 and 1."""
        if (icon, seed) not in self._scales:
            training, held_out = (self._judge.things(some) for some in views(icon, seed))
            group = next(subject.group for subject in ALL_UNSEEN if subject.icon == icon)
            others = [subject.icon for subject in ALL_UNSEEN if subject.group == group and subject.icon != icon]
            zeros = [float(alike(self._judge.things(views(other, seed)[0]), held_out).mean()) for other in others]
            self._scales[icon, seed] = held_out, float(np.mean(zeros)), float(alike(training, held_out).mean())
        return self._scales[icon, seed]


class _Values:
    """Numbers by thing, for an interval."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.subjects: list[int] = []

    def add(self, values: Sequence[float], icon: str) -> None:
        self.values += values
        self.subjects += [[subject.icon for subject in UNSEEN].index(icon)] * len(values)

    def interval(self) -> Interval | None:
        return mean_interval(self.values, self.subjects) if self.values else None


def figures(pictures: Pictures, method: Method) -> Figures:
    """Of all cells that are there."""
    own, coloured, untrained, gained, still, other, copies = (_Values() for _ in range(7))
    right, base_right = _Values(), _Values()
    for seed in pictures.seeds:
        for subject in UNSEEN:
            zero = Cell(variant=Variant.RATE_ZERO, icon=subject.icon, seed=seed, method=method)
            unmoved = pictures.things(zero, "own")
            if unmoved is not None:
                still.add(pictures.similarities(unmoved, subject.icon, seed), subject.icon)
            cell = Cell(variant=Variant.TRAINED, icon=subject.icon, seed=seed, method=method)
            base = Cell(variant=Variant.BASE, icon=subject.icon, seed=seed)
            things = pictures.things(cell, "own")
            if things is None:
                continue
            similarities = pictures.similarities(things, subject.icon, seed)
            own.add(similarities, subject.icon)
            copies.add(
                copied(pictures.images(cell, "own") or [], views(subject.icon, seed)[0], subject.icon), subject.icon
            )
            on_colours, before = pictures.things(cell, "coloured"), pictures.things(base, "untrained")
            if on_colours is not None:
                coloured.add(pictures.similarities(on_colours, subject.icon, seed), subject.icon)
            if before is not None:
                already = pictures.similarities(before, subject.icon, seed)
                untrained.add(already, subject.icon)
                gained.add([value - float(np.mean(already)) for value in similarities], subject.icon)
            for target in UNSEEN:
                if target.group == subject.group and target.icon != subject.icon:
                    other.add(pictures.similarities(things, target.icon, seed), target.icon)
            followed, followed_by_base = pictures.right(cell), pictures.right(base)
            if followed is not None and followed_by_base is not None:
                right.add(followed, subject.icon)
                base_right.add(followed_by_base, subject.icon)
    moved, moved_without = _drifts(pictures, method)
    return Figures(
        similarity=own.interval(),
        similarity_coloured=coloured.interval(),
        untrained=untrained.interval(),
        above_untrained=gained.interval(),
        rate_zero=still.interval(),
        other_photos=other.interval(),
        fidelity=_ratio(right, base_right),
        copies=copies.interval(),
        drift=moved.interval(),
        drift_without_prior=moved_without.interval(),
        drift_ratio=_ratio(moved, moved_without),
    )


def _ratio(above: _Values, below: _Values) -> Interval | None:
    return ratio_interval(above.values, below.values, above.subjects) if above.values and below.values else None


def _drifts(pictures: Pictures, method: Method) -> tuple[_Values, _Values]:
    """With prior preservation and without, of the things that have both."""
    moved, moved_without = _Values(), _Values()
    for subject in UNSEEN:
        base = pictures.things(Cell(variant=Variant.BASE, icon=subject.icon, seed=DRIFT_SEED), "class")
        both = [
            pictures.things(Cell(variant=variant, icon=subject.icon, seed=DRIFT_SEED, method=method), "class")
            for variant in (Variant.TRAINED, Variant.WITHOUT_PRIOR)
        ]
        for values, things in zip((moved, moved_without), both, strict=True):
            if base is not None and all(each is not None for each in both) and things is not None:
                values.add((1 - (things * base).sum(-1)).tolist(), subject.icon)
    return moved, moved_without


def copied(images: Sequence[Image.Image], photos: Sequence[Image.Image], icon: str) -> list[float]:
    """1 for each of `images` that is one of `photos` of `icon`, as good as, else 0."""
    drawn, seen = _pixels(images), _pixels(photos)
    near = [
        float(torch.cdist(_pixels(other_views(photo, icon, number)), seen[number, None]).quantile(COPY_QUANTILE))
        for number, photo in enumerate(photos)
    ]
    return (torch.cdist(drawn, seen) < torch.tensor(near)).any(1).float().tolist()


def _pixels(images: Sequence[Image.Image]) -> Tensor:
    """`[n, 3 · height · width]` in 0..1."""
    return torch.stack([torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).flatten() for image in images])


def table(folder: Path, judge: Judge, seeds: int) -> str:
    """A Markdown table of all methods, as far as there is something."""
    pictures = Pictures(folder, judge, seeds)
    columns = {method: figures(pictures, method) for method in Method}
    rows = ["| measure | " + " | ".join(method.value for method in columns) + " |", "|---|" + "---|" * len(columns)]
    for name in Figures.__slots__:
        intervals = [getattr(column, name) for column in columns.values()]
        cells = ["–" if each is None else f"{each.as_number()}, n = {each.count}" for each in intervals]
        rows.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(rows)
