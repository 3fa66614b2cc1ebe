"""What the model does when asked, in figures: each function draws pictures and has the judge look at them.

Drawing is stock diffusers; judging is ``evaluator``. Intervals are over subjects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline
from torch import Tensor

from training.base_model.captions import with_article
from training.base_model.evaluator import BACKGROUND_LABELS, Evaluator, Judgement, cut_out, shrink
from training.base_model.icons import present
from training.base_model.intervals import Interval, mean_interval, ratio_interval
from training.base_model.pictures import compose
from training.base_model.scenes import COLOURS, Scene, unseen_background
from training.base_model.subjects import Subject

BATCH = 16
STRENGTHS = (0.2, 0.4, 0.6, 0.8)
MOST_SUBJECTS = 250  # are asked for one by one; more tell no more
UNRELATED_NEGATIVE = "a photo of a violin"


@dataclass(frozen=True)
class Bench:
    """The model, its judge, what it was taught and the icons of that ``[s, styles, 4, n, n]``."""

    pipeline: StableDiffusionPipeline
    judge: Evaluator
    subjects: Sequence[Subject]
    icons: Tensor
    styles: Sequence[str]
    steps: int
    guidance_scale: float

    def sample(self) -> list[int]:
        """All subjects, or MOST_SUBJECTS spread evenly over them."""
        count = min(len(self.subjects), MOST_SUBJECTS)
        return np.linspace(0, len(self.subjects) - 1, count).round().astype(int).tolist()

    def judge_numbers(self) -> Tensor:
        """``[subjects]``: where the judge's logits have each subject."""
        return torch.tensor([self.judge.subject_number(subject.icon) for subject in self.subjects])


@torch.no_grad()
def draw(
    bench: Bench,
    prompts: Sequence[str],
    guidance_scale: float | None = None,
    negative_prompt: str = "",
) -> Tensor:
    """Pictures ``[n, 3, size, size]`` in -1..1; picture *k* from seed *k*."""
    bench.pipeline.set_progress_bar_config(disable=True)
    parts: list[Tensor] = []
    for start in range(0, len(prompts), BATCH):
        some = list(prompts[start : start + BATCH])
        generators = [torch.Generator().manual_seed(start + k) for k in range(len(some))]
        drawn = bench.pipeline(
            some,
            negative_prompt=[negative_prompt] * len(some),
            num_inference_steps=bench.steps,
            guidance_scale=bench.guidance_scale if guidance_scale is None else guidance_scale,
            generator=generators,
            output_type="pt",
        )
        parts.append(drawn.images.cpu() * 2 - 1)  # type: ignore[union-attr]
    return torch.cat(parts)


@torch.no_grad()
def look(judge: Evaluator, pictures: Tensor) -> Judgement:
    """The judge's view of any number of pictures."""
    views = [judge(some) for some in shrink(pictures).split(64)]
    fields = ("subject", "style", "background", "features", "embedding")
    return Judgement(*(torch.cat([getattr(view, field) for view in views]) for field in fields))


def name_of(subject: Subject) -> str:
    """ "an apple", "the sun"."""
    return with_article(subject.names[0])


@dataclass(frozen=True)
class Named:
    """Pictures of "a <subject>": ``seeds`` of each subject, one after the other."""

    pictures: Tensor
    subject: list[int]
    right: list[float]
    background: list[str]

    def accuracy(self) -> Interval:
        """Share of pictures in which the judge's first guess is what was asked for."""
        return mean_interval(self.right, self.subject)

    def by_subject(self) -> dict[int, float]:
        """Share of right pictures per subject."""
        return {
            s: float(np.mean([r for r, t in zip(self.right, self.subject, strict=True) if t == s]))
            for s in dict.fromkeys(self.subject)
        }


def name_subjects(bench: Bench, seeds: int, guidance_scale: float | None = None, negative_prompt: str = "") -> Named:
    """Draw "a <subject>" for every subject, ``seeds`` times, and name what came out."""
    subject = [number for number in bench.sample() for _ in range(seeds)]
    prompts = [name_of(bench.subjects[number]) for number in subject]
    pictures = draw(bench, prompts, guidance_scale, negative_prompt)
    seen = look(bench.judge, pictures)
    right = (seen.subject.argmax(-1) == bench.judge_numbers()[subject]).float().tolist()
    background = [BACKGROUND_LABELS[int(number)] for number in seen.background.argmax(-1)]
    return Named(pictures, subject, right, background)


def mottling(pictures: Tensor, border: int = 3) -> float:
    """Mean standard deviation (of 255 steps) of the outermost pixels: plain backgrounds should be plain."""
    edge = torch.ones(pictures.shape[-2:], dtype=torch.bool)
    edge[border:-border, border:-border] = False
    return float(pictures[:, :, edge].std(dim=2).mean() * 127.5)


@dataclass(frozen=True)
class Combination:
    """Subject and background asked for together, and the style where there are several."""

    pictures: Tensor
    subject: Interval
    background: Interval
    style: Interval | None
    both: Interval
    """Subject and background; with styles, style and background."""


def combine(
    bench: Bench, numbers: Sequence[int], backgrounds: Sequence[str], guidance_scale: float | None = None
) -> Combination:
    """Draw subject ``numbers[k]`` on ``backgrounds[k]``, in turn in each of its styles."""
    styles = [_style(bench, number, turn) for turn, number in enumerate(numbers)]
    several = len(bench.styles) > 1
    prompts = [
        f"{name_of(bench.subjects[s])}{f' in {bench.styles[style]} style' if several else ''}"
        f" on {with_article(b)} background"
        for s, b, style in zip(numbers, backgrounds, styles, strict=True)
    ]
    pictures = draw(bench, prompts, guidance_scale)
    seen = look(bench.judge, pictures)
    subject = (seen.subject.argmax(-1) == bench.judge_numbers()[list(numbers)]).float()
    wanted = torch.tensor([COLOURS.index(background) for background in backgrounds])
    background = (seen.background.argmax(-1) == wanted).float()
    wanted_style = torch.tensor([bench.judge.styles.index(bench.styles[style]) for style in styles])
    style = (seen.style.argmax(-1) == wanted_style).float()
    both = background * (style if several else subject)
    by_subject = [mean_interval(right.tolist(), numbers) for right in (subject, background, style, both)]
    return Combination(pictures, by_subject[0], by_subject[1], by_subject[2] if several else None, by_subject[3])


def _style(bench: Bench, number: int, turn: int) -> int:
    """One of the styles that a subject has an icon in."""
    having = torch.nonzero(present(bench.icons[number])).flatten().tolist()
    return having[turn % len(having)] if having else 0


def seen_combinations(bench: Bench, per_subject: int) -> Combination:
    """Every subject on some of the backgrounds that it had in training."""
    pairs = [
        (number, COLOURS[(number + 3 * k) % len(COLOURS)])
        for number in bench.sample()
        for k in range(per_subject + 1)
    ]
    pairs = [pair for pair in pairs if pair[1] != unseen_background(pair[0])]
    return combine(bench, *zip(*pairs, strict=True))


def unseen_combinations(
    bench: Bench, numbers: Sequence[int], seeds: int, guidance_scale: float | None = None
) -> Combination:
    """``numbers`` on the one background that each of them never had in training."""
    repeated = [number for number in numbers for _ in range(seeds)]
    return combine(bench, repeated, [unseen_background(number) for number in repeated], guidance_scale)


def diversity(bench: Bench, numbers: Sequence[int], guidance_scale: float, seeds: int = 16) -> Interval:
    """Mean pairwise distance (1 - cosine of features) between pictures of one prompt, over ``seeds`` seeds."""
    prompts = [name_of(bench.subjects[number]) for number in numbers for _ in range(seeds)]
    features = look(bench.judge, draw(bench, prompts, guidance_scale)).features.unflatten(0, (len(numbers), seeds))
    unit = torch.nn.functional.normalize(features, dim=-1)
    cosines = unit @ unit.transpose(1, 2)
    off_diagonal = (cosines.sum((1, 2)) - seeds) / (seeds * (seeds - 1))
    interval = mean_interval((1 - off_diagonal).tolist(), list(numbers))
    return Interval(interval.value, interval.low, interval.high, len(prompts))


@dataclass(frozen=True)
class Avoidance:
    """How often the most frequent background comes with an unrelated negative prompt, and with one that names it."""

    colour: str
    unrelated: Interval
    named: Interval
    times_fewer: Interval


def avoid_colour(bench: Bench, plain: Named, seeds: int) -> Avoidance:
    """Name the colour that ``plain`` has most in the negative prompt, against UNRELATED_NEGATIVE."""
    colour = Counter(found for found in plain.background if found in COLOURS).most_common(1)[0][0]
    named = name_subjects(bench, seeds, negative_prompt=f"{colour} background")
    unrelated = name_subjects(bench, seeds, negative_prompt=UNRELATED_NEGATIVE)
    has = [[float(found == colour) for found in shots.background] for shots in (unrelated, named)]
    return Avoidance(
        colour,
        mean_interval(has[0], unrelated.subject),
        mean_interval(has[1], named.subject),
        ratio_interval(has[0], has[1], named.subject),
    )


@torch.no_grad()
def redraw(bench: Bench, pictures: Tensor, prompts: Sequence[str], strength: float) -> Tensor:
    """Image to image from ``pictures [n, 3, size, size]`` (-1..1); picture *k* from seed *k*."""
    pipeline = StableDiffusionImg2ImgPipeline(**bench.pipeline.components)  # type: ignore[arg-type]
    pipeline.set_progress_bar_config(disable=True)
    parts: list[Tensor] = []
    for start in range(0, len(prompts), BATCH):
        some = list(prompts[start : start + BATCH])
        drawn = pipeline(
            some,
            image=(pictures[start : start + BATCH] + 1) / 2,
            strength=strength,
            num_inference_steps=bench.steps,
            guidance_scale=bench.guidance_scale,
            generator=[torch.Generator().manual_seed(start + k) for k in range(len(some))],
            output_type="pt",
        )
        parts.append(drawn.images.cpu() * 2 - 1)  # type: ignore[union-attr]
    return torch.cat(parts)


@dataclass(frozen=True)
class Remix:
    """Image to image at one strength: cosines to the start picture and to the subject asked for."""

    strength: float
    to_start: Interval
    to_prompt: Interval


def remix(bench: Bench, strengths: Sequence[float] = STRENGTHS, count: int = 232) -> list[Remix]:
    """Start from a render of one subject and ask for another, on no particular background; compare cut-outs."""
    number = len(bench.subjects)
    start = [k % number for k in range(count)]
    wanted = [(s + 1 + 37 * k % (number - 1)) % number for k, s in enumerate(start)]  # never the start's own
    scenes = [Scene(s, 0, COLOURS[k % len(COLOURS)], names_background=True) for k, s in enumerate(start)]
    pictures = compose(bench.icons[start, 0], scenes, bench.icons.shape[-1], np.random.default_rng(0))
    before = look(bench.judge, cut_out(shrink(pictures))).embedding
    goal = torch.nn.functional.normalize(bench.judge.subject_directions.detach(), dim=-1)[
        bench.judge_numbers()[wanted]
    ]
    results: list[Remix] = []
    for strength in strengths:
        drawn = redraw(bench, pictures, [name_of(bench.subjects[s]) for s in wanted], strength)
        after = look(bench.judge, cut_out(shrink(drawn))).embedding
        to_start, to_prompt = (before * after).sum(-1), (goal * after).sum(-1)
        results.append(
            Remix(strength, mean_interval(to_start.tolist(), start), mean_interval(to_prompt.tolist(), start))
        )
    return results
