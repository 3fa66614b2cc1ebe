"""Do the three methods learn? The bundled model is trained on things that it has never seen, and draws them.

This module trains and draws, one cell after the other, and keeps every picture; `evaluation_figures` looks at them. A
cell that is there is not made again, so a run that was ended goes on where it was.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from PIL import Image

from generation.request import ConceptUse, ImageRequest
from training.base_model.scenes import COLOURS
from training.defaults import settings_for
from training.events import Finished
from training.order import Method, TrainingOrder
from training.pictures import draw
from training.rare_tokens import rare_token
from training.templates import with_article
from training.trainer import Folders, Trainer
from training.views import SIZE, UNSEEN, Unseen, views

if TYPE_CHECKING:
    from generation.engine import Engine
    from generation.model import LoadedModel
    from training.defaults import TrainingSettings

NAME: Final = "it"
PICTURES: Final = 12
"""Of a cell, each of the concept alone and on a colour: 18 trainings of a method make 216."""
PHRASES: Final = ("a photo of {}", "a picture of {}", "a drawing of {}")
CLASS_PHRASES: Final = ("a photo of {}", "an icon of {}", "a picture of {}", "{}", "a drawing of {}")
DRIFT_SEED: Final = 0
"""Of the trainings whose drift is looked at."""
STEPS_AT_RATE_ZERO: Final = 5


class Variant(StrEnum):
    BASE = "base"
    """No training: the words alone, what drift and prompt fidelity are measured against."""
    TRAINED = "trained"
    WITHOUT_PRIOR = "without_prior"
    RATE_ZERO = "rate_zero"
    """A training at learning rate 0: the untrained token, as it is drawn."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One training of one thing, or (`BASE`) none; `Unseen` by its icon."""

    variant: Variant
    icon: str
    seed: int
    method: Method | None = None

    @property
    def folder(self) -> str:
        return f"{self.seed}/{self.icon}/{self.method or 'none'}/{self.variant}"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is written beside a cell's pictures."""

    cell: Cell
    steps: int = 0
    stopped_early: bool = False
    seconds: float = 0.0
    base_unmoved: bool = True
    """Is every weight of the model, byte for byte, what it was before?"""
    sheets: dict[str, int] = {}
    """How many pictures there are of each kind."""


def plan(subjects: Sequence[Unseen] = UNSEEN, seeds: Sequence[int] = range(3)) -> list[Cell]:
    """All cells, in an order in which the first ones alone already tell something: one seed of all methods, the runs
    without prior preservation and at learning rate 0, the other seeds."""
    cells: list[Cell] = []
    for seed in seeds:
        for subject in subjects:
            cells.append(Cell(variant=Variant.BASE, icon=subject.icon, seed=seed))
            cells += [Cell(variant=Variant.TRAINED, icon=subject.icon, seed=seed, method=method) for method in Method]
        if seed == DRIFT_SEED:
            cells += [
                Cell(variant=Variant.WITHOUT_PRIOR, icon=subject.icon, seed=seed, method=method)
                for method in (Method.LORA, Method.DREAMBOOTH)
                for subject in subjects
            ]
            cells += [
                Cell(variant=Variant.RATE_ZERO, icon=subject.icon, seed=seed, method=method)
                for subject in subjects
                for method in Method
            ]
    return cells


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Where cells are made."""

    model: LoadedModel
    engine: Engine
    folder: Path

    def run(self, cells: Sequence[Cell]) -> Iterator[Outcome]:
        """Make each cell that is missing; yields all of them."""
        for cell in cells:
            file = self.folder / cell.folder / "outcome.json"
            if file.is_file():
                yield msgspec.json.decode(file.read_bytes(), type=Outcome)
                continue
            outcome = self._base(cell) if cell.method is None else self._trained(cell, cell.method)
            temporary = file.with_suffix(".tmp")
            temporary.write_bytes(msgspec.json.encode(outcome))
            temporary.replace(file)
            yield outcome

    # ── cells ──

    def _base(self, cell: Cell) -> Outcome:
        subject = subject_of(cell.icon)
        rare = f"{rare_token(self.model.tokenizers[0], job_of(cell))} {subject.class_word}"
        requests = {
            "untrained": _own(f"a {rare}", cell.seed, []),
            "coloured": _coloured(with_article(subject.class_word), cell.seed, []),
        }
        if cell.seed == DRIFT_SEED:
            requests["class"] = _of_class(subject.class_word, [])
        return Outcome(cell=cell, sheets=self._draw(cell, requests))

    def _trained(self, cell: Cell, method: Method) -> Outcome:
        subject, before = subject_of(cell.icon), weights_digest(self.model)
        order = TrainingOrder(job=job_of(cell), method=method, name=NAME, class_word=subject.class_word)
        work = self.folder / cell.folder
        work.mkdir(parents=True, exist_ok=True)
        photos = _written(views(cell.icon, cell.seed)[0], work / "photos")
        folders = Folders(work=work / "work", prior=self.folder / "prior", concept=work)
        settings = self._settings(cell, method)
        trainer = Trainer(self.model, order, photos, folders, self.engine, settings=settings)
        (finished,) = (event for event in trainer.steps() if isinstance(event, Finished))
        trainer.close()
        shutil.rmtree(folders.work, ignore_errors=True)
        concept = finished.concept
        use = ConceptUse(name=NAME, path=concept.file, trigger=concept.trigger)
        requests = {
            "own": _own(f"<{NAME}>", cell.seed, [use]),
            "coloured": _coloured(f"<{NAME}>", cell.seed, [use]),
        }
        if cell.seed == DRIFT_SEED and method is not Method.TEXTUAL_INVERSION:
            requests["class"] = _of_class(subject.class_word, [use])
        return Outcome(
            cell=cell,
            steps=concept.steps,
            stopped_early=concept.stopped_early,
            seconds=concept.seconds,
            sheets=self._draw(cell, requests),
            base_unmoved=weights_digest(self.model) == before,
        )

    def _settings(self, cell: Cell, method: Method) -> TrainingSettings:
        settings = msgspec.structs.replace(settings_for(self.model.info, method), samples=0)
        if cell.variant is Variant.WITHOUT_PRIOR:
            return msgspec.structs.replace(settings, prior_images=0)
        if cell.variant is Variant.RATE_ZERO:
            return msgspec.structs.replace(
                settings,
                learning_rate=0.0,
                text_learning_rate=0.0,
                max_steps=STEPS_AT_RATE_ZERO,
                min_steps=STEPS_AT_RATE_ZERO,
                prior_images=0,
            )
        return settings

    def _draw(self, cell: Cell, requests: dict[str, list[ImageRequest]]) -> dict[str, int]:
        folder = self.folder / cell.folder
        folder.mkdir(parents=True, exist_ok=True)
        for kind, some in requests.items():
            units = draw(self.engine, f"evaluation-{kind}", some)
            while True:
                try:
                    next(units)
                except StopIteration as end:
                    write_sheet([image for image, _ in end.value], folder / f"{kind}.png")
                    break
        return {kind: len(some) for kind, some in requests.items()}


def job_of(cell: Cell) -> str:
    """The same with prior preservation and without, so that both see the same noise."""
    return f"evaluation-{cell.icon}-{cell.seed}"


def subject_of(icon: str) -> Unseen:
    return next(subject for subject in UNSEEN if subject.icon == icon)


def weights_digest(model: LoadedModel) -> str:
    """SHA-256 over every weight of the text encoders, the UNet and the VAE."""
    digest = hashlib.sha256()
    for network in (*model.text_encoders, model.unet, model.vae):
        for weight in network.parameters():
            digest.update(weight.detach().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


# ── what is asked for: picture k of a kind has the same seed whoever draws it ──


def _request(prompt: str, seed: int, number: int, concepts: list[ConceptUse]) -> ImageRequest:
    return ImageRequest(prompt=prompt, seed=1000 * (seed + 1) + number, concepts=concepts)


def _own(words: str, seed: int, concepts: list[ConceptUse]) -> list[ImageRequest]:
    return [
        _request(PHRASES[number % len(PHRASES)].format(words), seed, number, concepts) for number in range(PICTURES)
    ]


def colours_asked() -> list[str]:
    """The background of each `coloured` picture."""
    return [COLOURS[number % len(COLOURS)] for number in range(PICTURES)]


def _coloured(words: str, seed: int, concepts: list[ConceptUse]) -> list[ImageRequest]:
    return [
        _request(f"a photo of {words} on {with_article(colour)} background", seed, number, concepts)
        for number, colour in enumerate(colours_asked())
    ]


def _of_class(class_word: str, concepts: list[ConceptUse]) -> list[ImageRequest]:
    """50 prompts about the class."""
    prompts = [
        f"{phrase.format(with_article(class_word))} on {with_article(colour)} background"
        for phrase in CLASS_PHRASES
        for colour in COLOURS
    ]
    return [_request(prompt, DRIFT_SEED, number, concepts) for number, prompt in enumerate(prompts)]


# ── pictures side by side in one file ──


def write_sheet(images: Sequence[Image.Image], file: Path) -> None:
    """All of one size."""
    width, height = images[0].size
    sheet = Image.new("RGB", (width * len(images), height))
    for number, image in enumerate(images):
        sheet.paste(image, (number * width, 0))
    sheet.save(file)


def read_sheet(file: Path) -> list[Image.Image]:
    """Square pictures."""
    with Image.open(file) as opened:
        sheet = opened.convert("RGB")
    side = sheet.height
    return [sheet.crop((left, 0, left + side, side)) for left in range(0, sheet.width, side)]


def _written(images: Sequence[Image.Image], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number}.png" for number in range(len(images))]
    for image, file in zip(images, files, strict=True):
        assert image.size == (SIZE, SIZE)
        image.save(file)
    return files
