"""`atelier train`: photos → a concept's file, without a bot.

Runs outside the bot process, so it may load the model here. What it works with lies beside the file that it makes, in
`FILE.training/`, until it is done: the same command goes on where it was stopped.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bot.concept_notes import ConceptNotes, copy_with_notes
from bot.imagine_command import reporter
from bot.settings import Settings, SettingsError, load_settings
from generation import limits
from generation.request import InvalidRequest, ModelInfo
from training.events import Phase, Sampled, Stepped, TrainingEvent, TrainingRefused
from training.names import class_word, concept_name
from training.order import PHOTOS, Depicts, Method, TrainedConcept, TrainingOrder, Verdict
from training.photo_reading import PhotoProcessBroken, read_photos
from training.photos import PhotoStatus, too_few, usable

_COLOURS = {PhotoStatus.REJECTED: "red", PhotoStatus.WARNED: "yellow"}
_PHASES = {
    Phase.PREPARING: "preparing photos",
    Phase.CLASS_PICTURES: "drawing class pictures",
    Phase.TRAINING: "training",
    Phase.SAMPLING: "drawing samples",
    Phase.JUDGING: "did it learn?",
}
_SAID = {
    Verdict.LEARNED: "It learned.",
    Verdict.PARTLY: "It learned a part of it.",
    Verdict.NOT_LEARNED: "It did not learn: try more photos, from other sides and before other grounds.",
}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The command's options as typed."""

    photos: list[Path]
    method: Method
    name: str
    class_word: str
    depicts: Depicts
    output: Path | None
    steps: int | None
    prior_preservation: bool | None
    seed: int
    model: str | None

    def order(self) -> TrainingOrder:
        """Checked. Raises InvalidRequest."""
        if not PHOTOS[0] <= len(self.photos) <= PHOTOS[1]:
            allowed = f"{PHOTOS[0]} to {PHOTOS[1]} files"
            raise InvalidRequest("photos", len(self.photos), allowed, f"A training takes {allowed}.")
        return TrainingOrder(
            job=f"seed {self.seed}",
            method=self.method,
            name=concept_name(self.name),
            class_word=class_word(self.class_word),
            depicts=self.depicts,
            max_steps=self.steps,
            prior_preservation=self.prior_preservation,
        )


def train_to_file(wanted: Wanted) -> int:
    """Returns the exit code (2 = it could not be done as asked)."""
    says = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        settings = load_settings()
        order = wanted.order()
        output = _file(wanted.output or Path(f"{order.name}.safetensors"))
        files = [(path.name, _content(path)) for path in wanted.photos]
        output.parent.mkdir(parents=True, exist_ok=True)
    except (SettingsError, InvalidRequest) as error:
        return _failed(says, error)
    except OSError as error:
        return _failed(says, f"{error.filename}: {error.strerror}")

    from generation.model import ModelError

    try:
        concept = _train(order, files, output, wanted.model or settings.model, settings, says)
    except (InvalidRequest, ModelError, TrainingRefused, PhotoProcessBroken, OSError) as error:
        return _failed(says, error)
    says.print(_SAID[concept.card.verdict], style="bold", markup=False)
    says.print(f'Use it: atelier imagine "a photo of <{order.name}>" --concept {order.name}={output}', markup=False)
    print(output)  # noqa: T201 - the command's result
    return 0


def _failed(says: Console, error: object) -> int:
    says.print(str(error), markup=False, style="red")
    return 2


def _file(output: Path) -> Path:
    """Before anything is trained that could not be kept. Raises InvalidRequest."""
    if not output.name or output.is_dir():
        allowed = "a file that can be written, such as my-cat.safetensors"
        raise InvalidRequest("output", str(output), allowed, f"output must be {allowed}; {output} is a folder.")
    return output


def _content(path: Path) -> bytes:
    """Of a file that is too large, no more than it takes to see that."""
    with path.open("rb") as file:
        return file.read(limits.IMAGE_BYTES + 1)


def _train(
    order: TrainingOrder,
    files: list[tuple[str, bytes]],
    output: Path,
    model_source: str,
    settings: Settings,
    says: Console,
) -> TrainedConcept:
    from generation.engine import Engine
    from generation.model import load_model
    from training.judge import judge_for
    from training.trainer import Folders, Trainer

    work = output.with_name(f"{output.name}.training")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=says, transient=True) as bar:
        model = load_model(model_source, device=settings.device, dtype=settings.dtype, report=reporter(bar))
        photos = _photos(files, work / "photos", model.info, says)
        engine = Engine(model)
        try:
            folders = Folders(work=work, prior=settings.data_dir / "prior", concept=work / "concept")
            trainer = Trainer(model, order, photos, folders, engine, judge_for(model))
            try:
                samples, concept = _followed(trainer.steps(), bar)
            finally:
                trainer.close()
        finally:
            engine.close()
    copy_with_notes(Path(concept.file), output, _notes(order, concept, model.info))
    _write_strip(samples, concept, output.with_name(f"{output.stem}-strip.png"), says)
    shutil.rmtree(work)
    return concept


def _photos(files: list[tuple[str, bytes]], folder: Path, info: ModelInfo, says: Console) -> list[Path]:
    """The clean ones. Raises TrainingRefused where they are too few."""
    verdicts = read_photos(files, folder, side=max(info.defaults.width, info.defaults.height))
    for verdict in verdicts:
        says.print(f"{verdict.name}: {verdict.sentence}", markup=False, style=_COLOURS.get(verdict.status))
    if (sentence := too_few(verdicts)) is not None:
        shutil.rmtree(folder.parent, ignore_errors=True)  # other photos will come: nothing here is of use for them
        raise TrainingRefused(sentence)
    return usable(verdicts)


def _followed(events: Iterable[TrainingEvent], bar: Progress) -> tuple[list[Sampled], TrainedConcept]:
    """To the end."""
    tasks: dict[Phase, TaskID] = {}
    samples: list[Sampled] = []
    for event in events:
        if isinstance(event, Stepped):
            if event.phase not in tasks:
                tasks[event.phase] = bar.add_task(_PHASES[event.phase], total=event.total)
            bar.update(tasks[event.phase], completed=event.step, total=event.total)
        elif isinstance(event, Sampled):
            samples.append(event)
        else:
            return samples, event.concept
    raise RuntimeError("the training ended without an end")


def _notes(order: TrainingOrder, concept: TrainedConcept, info: ModelInfo) -> ConceptNotes:
    return ConceptNotes(
        name=order.name,
        trigger=concept.trigger,
        class_word=order.class_word,
        method=order.method,
        depicts=order.depicts,
        model_hash=info.hash,
        model_name=info.name,
    )


def _write_strip(samples: Iterable[Sampled], concept: TrainedConcept, path: Path, says: Console) -> None:
    """How it looked on the way, and the card; the figures are said as well."""
    from training.strip import card_lines, strip_picture

    rows = [(sampled.fraction, [image for image, _ in sampled.images]) for sampled in samples]
    strip_picture(rows, concept.card).save(path)
    stopped = ", then it got no better" if concept.stopped_early else ""
    for line in (*card_lines(concept.card), f"{concept.steps} steps{stopped}, {concept.seconds:.0f} s", f"{path}"):
        says.print(line, markup=False)
