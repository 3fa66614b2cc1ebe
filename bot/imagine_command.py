"""`atelier imagine`: pictures on the command line, with the same request, engine and recipe as in chat.

Runs outside the bot process, so it may load the model here.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bot.concept_notes import NoConceptFile, read_notes
from bot.settings import Settings, SettingsError, load_settings
from generation.image_input import ImageRefused, read_image
from generation.request import ConceptUse, ImageRequest, InvalidRequest
from training.names import concept_name


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The command's options as typed; `ImageRequest` is where they are checked."""

    prompts: list[str]
    negative_prompt: str
    guidance_scale: float
    num_inference_steps: int | None
    seed: int | None
    count: int
    width: int | None
    height: int | None
    image: Path | None
    strength: float | None
    scheduler: str | None
    model: str | None
    concepts: list[str] = field(default_factory=list)
    """`NAME=FILE` each."""

    def request(self) -> ImageRequest:
        """The checked request; a missing seed is drawn now, so that the recipe can name it."""
        return ImageRequest(
            prompt=self.prompts[0] if len(self.prompts) == 1 else self.prompts,
            negative_prompt=self.negative_prompt,
            guidance_scale=self.guidance_scale,
            num_inference_steps=self.num_inference_steps,
            seed=secrets.randbelow(2**32) if self.seed is None else self.seed,
            width=self.width,
            height=self.height,
            count=self.count,
            init_image=None if self.image is None else str(self.image),
            strength=self.strength,
            scheduler=self.scheduler,
            concepts=[concept_use(text) for text in self.concepts],
        )


def concept_use(text: str) -> ConceptUse:
    """`NAME=FILE`, as typed. What `<NAME>` reads as is in the file, where `atelier` has made it.

    Raises:
        InvalidRequest: it is neither.
        NoConceptFile, OSError: it can't be read.
    """
    name, equals, file = text.partition("=")
    if not equals or not file:
        allowed = "NAME=FILE, for example my-cat=my-cat.safetensors"
        raise InvalidRequest("concept", text, allowed, f"--concept must be {allowed}, not {text}.")
    notes = read_notes(Path(file))
    return ConceptUse(name=concept_name(name), path=file, trigger="" if notes is None else notes.trigger)


def imagine_to_files(wanted: Wanted, output: Path) -> int:
    """Draw and write PNG files with their recipes; returns the exit code (2 = it could not be done as asked)."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        settings = load_settings()
        request = wanted.request()
        # Both before torch is loaded, which takes seconds, and before anything is drawn that could not be kept.
        output.parent.mkdir(parents=True, exist_ok=True)
        if wanted.image is not None:
            read_image(wanted.image)
    except (SettingsError, InvalidRequest, NoConceptFile) as error:
        errors.print(str(error), markup=False, style="red")
        return 2
    except (ImageRefused, OSError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else f"{wanted.image}: {error}"
        errors.print(text, markup=False, style="red")
        return 2

    from generation.generate import GenerationFailed
    from generation.model import ModelError

    try:
        paths = _draw(request, wanted.model or settings.model, settings, output, errors)
    except (InvalidRequest, ModelError, GenerationFailed, OSError) as error:
        errors.print(str(error), markup=False, style="red")
        return 2
    for path in paths:
        print(path)  # noqa: T201 - the command's result
    return 0


def _draw(request: ImageRequest, model_source: str, settings: Settings, output: Path, errors: Console) -> list[Path]:
    from generation.events import Event
    from generation.events import Progress as Step
    from generation.generate import generate
    from generation.model import load_model
    from generation.recipe import save_png

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        report = reporter(bar)
        model = load_model(model_source, device=settings.device, dtype=settings.dtype, report=report)
        task = bar.add_task("drawing", total=1)

        def on_event(event: Event) -> None:
            if isinstance(event, Step):
                bar.update(task, completed=event.step, total=event.total_steps)

        pictures = generate(model, request, on_event)
    for words in {tuple(picture.words_not_read) for picture in pictures} - {()}:
        errors.print(f"Not read, the prompt is too long for this model: {' '.join(words)}", style="yellow")
    paths = _paths(output, len(pictures))
    for path, picture in zip(paths, pictures, strict=True):
        save_png(picture.image, path, picture.recipe)
    return paths


def reporter(bar: Progress) -> Callable[[str, float | None], None]:
    task = bar.add_task("loading the model", total=None)

    def report(text: str, fraction: float | None) -> None:
        if fraction is None:
            bar.update(task, description=text)
        else:
            bar.update(task, description=text, total=100, completed=100 * fraction)

    return report


def _paths(output: Path, count: int) -> list[Path]:
    """`out.png` for one picture; `out-1.png`, `out-2.png` … for several."""
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{index}{output.suffix}") for index in range(1, count + 1)]
