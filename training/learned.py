"""Did it learn? A few pictures with the new concept and without it, looked at by a judge, become a small card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from PIL import Image

from generation.request import ImageRequest
from training.events import Phase, Stepped
from training.judge import alike
from training.order import Card, Method, Verdict
from training.pictures import draw
from training.templates import class_prompt

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from torch import Tensor

    from generation.engine import Engine
    from generation.model import LoadedModel
    from generation.request import ConceptUse
    from training.judge import Judge
    from training.order import TrainingOrder

PICTURES: Final = 6
"""Of the concept, of the class word, and of the class word while the concept is active: the same seeds for all."""
COLOURS: Final = ("red", "green", "blue", "yellow")
LEARNED, PARTLY = 0.5, 0.25
"""Least similarity for each verdict."""
LOSS_LEARNED, LOSS_PARTLY = 0.02, 0.005
"""Where nobody can judge pictures: least fall of the loss, relative."""


def did_it_learn(
    engine: Engine,
    model: LoadedModel,
    judge: Judge | None,
    order: TrainingOrder,
    use: ConceptUse,
    photos: Sequence[Path],
    held_out: Path | None,
    loss_before: float | None,
    loss_after: float | None,
) -> Generator[Stepped, None, Card]:
    """Draw and judge; yields between two units of the engine's work. Without a judge the loss alone has to tell.

    `photos` were trained on, `held_out` was not. The engine is the trainer's own.

    Raises:
        GenerationFailed: a picture can't be drawn.
    """
    if judge is None:
        verdict = verdict_of_losses(loss_before, loss_after)
        return Card(verdict=verdict, loss_before=loss_before, loss_after=loss_after)
    drawn = yield from _draw_all(engine, model, order, use)
    reference = [_opened(photo) for photo in ([held_out] if held_out is not None else photos)]
    real, targets = judge.things([_opened(photo) for photo in photos]), judge.things(reference)
    concept, base = judge.things(drawn.concept), judge.things(drawn.base)
    photos_alike = float(alike(real, targets).mean()) if held_out is not None else among(real)
    similarity = scaled_between(
        float(alike(concept, targets).mean()), float(alike(base, targets).mean()), photos_alike
    )
    return Card(
        verdict=verdict_of_similarity(similarity),
        similarity=similarity,
        held_out=held_out is not None,
        loss_before=loss_before,
        loss_after=loss_after,
        prompt_fidelity=fidelity(judge.backgrounds(drawn.coloured), judge.backgrounds(drawn.base_coloured)),
        drift=0.0 if drawn.active is None else drift(judge.things(drawn.active), base, real),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    concept: list[Image.Image]
    base: list[Image.Image]
    coloured: list[Image.Image]
    """The concept on COLOURS."""
    base_coloured: list[Image.Image]
    """The class word on COLOURS."""
    active: list[Image.Image] | None
    """The class word while the concept is active; None where that can't change anything (words of their own)."""


def _draw_all(
    engine: Engine, model: LoadedModel, order: TrainingOrder, use: ConceptUse
) -> Generator[Stepped, None, _Drawn]:
    own, of_class = f"a photo of <{order.name}>", class_prompt(order.class_word)
    requests = {
        "concept": _request([own], [use], PICTURES),
        "base": _request([of_class], [], PICTURES),
        "coloured": _request([f"{own} on a {colour} background" for colour in COLOURS], [use]),
        "base-coloured": _request([f"{of_class} on a {colour} background" for colour in COLOURS], []),
    }
    if order.method is not Method.TEXTUAL_INVERSION:
        requests["active"] = _request([of_class], [use], PICTURES)
    total = sum(request.total_images for request in requests.values())
    pictures: dict[str, list[Image.Image]] = {}
    done = 0
    for kind, request in requests.items():
        units = draw(engine, f"training-judging-{kind}", [request])
        while True:
            try:
                next(units)
            except StopIteration as end:
                pictures[kind] = [image for image, _ in end.value]
                break
            yield Stepped(Phase.JUDGING, done, total)
        done += request.total_images
    yield Stepped(Phase.JUDGING, total, total)
    return _Drawn(
        pictures["concept"], pictures["base"], pictures["coloured"], pictures["base-coloured"], pictures.get("active")
    )


def _request(prompts: list[str], concepts: list[ConceptUse], count: int = 1) -> ImageRequest:
    return ImageRequest(prompt=prompts, seed=0, count=count, concepts=concepts)


def _opened(photo: Path) -> Image.Image:
    with Image.open(photo, formats=["PNG"]) as image:
        return image.convert("RGB")


# ── the figures ──


def scaled_between(value: float, zero: float, one: float) -> float:
    """`value` on a scale on which `zero` is 0 and `one` is 1; 0 where the two are (nearly) the same."""
    return 0.0 if one - zero < 1e-3 else (value - zero) / (one - zero)


def among(features: Tensor) -> float:
    """Mean cosine between two different ones of `[n, width]`, n ≥ 2."""
    cosines, n = features @ features.T, len(features)
    return float((cosines.sum() - cosines.diagonal().sum()) / (n * (n - 1)))


def fidelity(seen: Sequence[str], seen_of_base: Sequence[str]) -> float | None:
    """How many of COLOURS are behind it, against how many the model gets right without it; None if it gets none."""
    right, of_base = (
        sum(colour == asked for colour, asked in zip(colours, COLOURS, strict=True))
        for colours in (seen, seen_of_base)
    )
    return right / of_base if of_base else None


def drift(active: Tensor, base: Tensor, photos: Tensor) -> float:
    """How far `active` [n, width] moved from `base` [n, width], pair by pair: 1 is as far as `photos` [m, width] are.

    Not against the distance between seeds: a model that draws a class nearly the same each time has next to none.
    """
    away = 1 - float(alike(base, photos).mean())
    moved = 1 - float((active * base).sum(-1).mean())
    return scaled_between(moved, 0.0, away)


def verdict_of_similarity(similarity: float) -> Verdict:
    if similarity >= LEARNED:
        return Verdict.LEARNED
    return Verdict.PARTLY if similarity >= PARTLY else Verdict.NOT_LEARNED


def verdict_of_losses(before: float | None, after: float | None) -> Verdict:
    """By how much the loss fell, relative; numbers that are none say that nothing was learned."""
    if before is None or after is None or not torch.isfinite(torch.tensor([before, after])).all() or before <= 0:
        return Verdict.NOT_LEARNED
    fall = 1 - after / before
    if fall >= LOSS_LEARNED:
        return Verdict.LEARNED
    return Verdict.PARTLY if fall >= LOSS_PARTLY else Verdict.NOT_LEARNED
