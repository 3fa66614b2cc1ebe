"""The worker's loop around the engine: one step, then messages. Everything it hands out is on disk and checked.

It gets the engine and the output check from outside and imports neither torch nor diffusers itself.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from PIL import Image

from bot.errors import INTERNAL_ERROR, NOT_CHECKED, StartImageGone, sentence
from bot.worker.messages import (
    Cancel,
    Cancelled,
    Done,
    Draw,
    DrawnImage,
    Failed,
    FromWorker,
    Progress,
)
from bot.worker.pictures import CheckedFiles, CheckFailed, drawn_first, start_path
from generation import events
from generation.image_input import ImageRefused
from generation.request import ImageRequest, InvalidRequest

log = logging.getLogger(__name__)

PREVIEW_SECONDS = 0.5
PREVIEW_SHARE = 0.1
"""Of the time, at most, for previews (drawn, checked and written), however many jobs are being drawn."""
_PACE_WEIGHT = 0.3
_ENDS_THE_JOB = (CheckFailed, InvalidRequest, ImageRefused, StartImageGone, OSError)


class Engine(Protocol):
    """What is used of `generation.engine.Engine`."""

    @property
    def busy(self) -> bool: ...
    @property
    def stalled(self) -> bool: ...
    def beside(self) -> Self: ...
    def total_steps(self, request: ImageRequest) -> int: ...
    def admit(self, request_id: str, request: ImageRequest) -> None: ...
    def step(self) -> list[events.Event]: ...
    def cancel(self, request_id: str) -> bool: ...
    def preview(self, request_id: str) -> Image.Image | None: ...
    def holds(self, request_id: str) -> bool: ...
    def forget_concept(self, sha256: str) -> None: ...
    def forget_files(self, folder: Path) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Drawing:
    draw: Draw
    request_id: str = ""
    """As which the engine has it. Its start image, where that is drawn again, is a request before its own."""
    redrawing: bool = False
    steps_before: int = 0
    steps_after: int = 0
    """The engine's steps for the other of the two requests: members see one count."""
    images: dict[int, DrawnImage] = field(default_factory=dict[int, DrawnImage])
    step_began: float = 0.0
    seconds_per_step: float = 0.0
    previewed: float = 0.0
    has_preview: bool = False
    """It is between its first step and its last."""

    @property
    def folder(self) -> Path:
        return Path(self.draw.output_dir)

    @property
    def preview_path(self) -> Path:
        return self.folder / "preview.webp"


class DrawingLoop:
    """`files`: what writes checked pictures. `send`: to the bot."""

    def __init__(self, engine: Engine, files: CheckedFiles, send: Callable[[FromWorker], None]) -> None:
        self._engine, self._files, self._send = engine, files, send
        self._drawings: dict[str, _Drawing] = {}
        self._enlarging: dict[str, _Drawing] = {}
        """Without the engine, one between two of its steps: it takes as long as a decode. By job."""
        self._next_preview = 0.0

    @property
    def busy(self) -> bool:
        return self._engine.busy or bool(self._enlarging)

    @property
    def stalled(self) -> bool:
        """Could the last step only wait, for concepts that are being read?"""
        return self._engine.stalled and not self._enlarging

    @property
    def jobs(self) -> list[str]:
        """Those that it holds."""
        return [*(drawing.draw.job for drawing in self._drawings.values()), *self._enlarging]

    def forget(self, sha256: str) -> None:
        """A concept was deleted."""
        self._engine.forget_concept(sha256)

    def take(self, message: Draw | Cancel) -> None:
        if isinstance(message, Cancel):
            if message.job in self._enlarging:
                drawing = self._enlarging.pop(message.job)
                self._end(drawing, Cancelled(job=message.job, attempt=drawing.draw.attempt))
            for request_id, drawing in self._drawings.items():
                if drawing.draw.job == message.job:
                    self._engine.cancel(request_id)
            return
        now = time.monotonic()
        drawing = _Drawing(message, step_began=now, previewed=now)
        try:
            drawing.folder.mkdir(parents=True, exist_ok=True)
            self._begin(drawing)
        except _ENDS_THE_JOB as error:
            self._send(Failed(job=message.job, attempt=message.attempt, reason=_reason(error)))

    def _begin(self, drawing: _Drawing) -> None:
        """Admit what comes first: its start image, if that is gone, or else its own request."""
        draw = drawing.draw
        request_id = f"{draw.job}:{draw.attempt}"
        first = drawn_first(draw)
        if first is not None:
            drawing.steps_after = 0 if draw.resample else self._engine.total_steps(draw.request)
            drawing.redrawing = True
            self._admit(f"{request_id}:redraw", first, drawing)
        elif draw.resample is not None:
            self._drawings.pop(drawing.request_id, None)
            self._enlarging[draw.job] = drawing
        else:
            self._admit(request_id, draw.request, drawing)

    def _admit(self, request_id: str, request: ImageRequest, drawing: _Drawing) -> None:
        self._engine.admit(request_id, request)
        self._drawings.pop(drawing.request_id, None)
        drawing.request_id = request_id
        self._drawings[request_id] = drawing

    def step(self) -> None:
        """One unit of the engine's work and what follows from it, and one picture to enlarge."""
        if self._enlarging:
            self._enlarge(self._enlarging.pop(next(iter(self._enlarging))))
        if not self._engine.busy:
            return
        try:
            happened = self._engine.step()
        except Exception:
            log.exception("the engine failed")
            # It let go of those that the fault struck. If it holds all of them still, it would fail again and again.
            struck = [request_id for request_id in self._drawings if not self._engine.holds(request_id)]
            for request_id in struck or list(self._drawings):
                self._engine.cancel(request_id)
                self._fail(self._drawings[request_id], INTERNAL_ERROR)
            return
        for event in happened:
            if event.request_id in self._drawings:
                self._follow(event)

    def _enlarge(self, drawing: _Drawing) -> None:
        draw = drawing.draw
        assert draw.resample is not None
        try:
            image = self._files.enlarge(start_path(draw), self._path(drawing, 0), draw.resample)
        except _ENDS_THE_JOB as error:
            log.exception("job %s", draw.job)
            self._fail(drawing, _reason(error))
        else:
            self._end(drawing, Done(job=draw.job, attempt=draw.attempt, images=[image]))

    def _follow(self, event: events.Event) -> None:
        drawing = self._drawings[event.request_id]
        try:
            self._report(event, drawing)
        except _ENDS_THE_JOB as error:
            log.exception("request %s", event.request_id)
            self._engine.cancel(event.request_id)
            self._fail(drawing, _reason(error))

    def _report(self, event: events.Event, drawing: _Drawing) -> None:
        job, attempt = drawing.draw.job, drawing.draw.attempt
        match event:
            case events.Progress():
                self._progress(event, drawing)
            case events.ImageReady() if drawing.redrawing:
                self._keep(event, start_path(drawing.draw))
            case events.ImageReady():
                drawing.images[event.index] = self._keep(event, self._path(drawing, event.index))
            case events.Finished() if drawing.redrawing:
                drawing.redrawing = False
                self._begin(drawing)
            case events.Finished():
                images = [image for _, image in sorted(drawing.images.items())]
                self._end(drawing, Done(job=job, attempt=attempt, images=images))
            case events.Failed():
                self._fail(drawing, event.reason)
            case events.Cancelled():
                self._end(drawing, Cancelled(job=job, attempt=attempt))

    def _keep(self, event: events.ImageReady, path: Path) -> DrawnImage:
        return self._files.keep(event.image, path, event.recipe, event.words_not_read)

    def _path(self, drawing: _Drawing, index: int) -> Path:
        return drawing.folder / f"{drawing.draw.attempt}-{index}.png"

    def _fail(self, drawing: _Drawing, reason: str) -> None:
        self._end(drawing, Failed(job=drawing.draw.job, attempt=drawing.draw.attempt, reason=reason))

    def _end(self, drawing: _Drawing, message: Done | Failed | Cancelled) -> None:
        self._drawings.pop(drawing.request_id, None)
        drawing.preview_path.unlink(missing_ok=True)
        self._send(message)

    def _progress(self, event: events.Progress, drawing: _Drawing) -> None:
        now = time.monotonic()
        taken, drawing.step_began = now - drawing.step_began, now
        before = drawing.seconds_per_step
        # The first one is the text encoder's: not a step.
        if event.step > 0:
            drawing.seconds_per_step = before + _PACE_WEIGHT * (taken - before) if before else taken
        if drawing.redrawing:
            drawing.steps_before = event.total_steps
        before, after = (0, drawing.steps_after) if drawing.redrawing else (drawing.steps_before, 0)
        self._send(
            Progress(
                job=drawing.draw.job,
                attempt=drawing.draw.attempt,
                step=before + event.step,
                total_steps=before + event.total_steps + after,
                seconds_per_step=drawing.seconds_per_step,
                preview=self._preview(event, drawing),
            )
        )

    def _preview(self, event: events.Progress, drawing: _Drawing) -> str | None:
        """The path of a new preview, if it is time for one and it may be seen."""
        now = time.monotonic()
        drawing.has_preview = 0 < event.step < event.total_steps
        waiting = [other.previewed for other in self._drawings.values() if other.has_preview]
        if not drawing.has_preview or drawing.previewed > min(waiting):
            return None
        if now < self._next_preview or now - drawing.previewed < PREVIEW_SECONDS:
            return None
        drawing.previewed = now
        try:
            return self._write_preview(event.request_id, drawing)
        finally:
            took = time.monotonic() - now
            self._next_preview = now + took / PREVIEW_SHARE

    def _write_preview(self, request_id: str, drawing: _Drawing) -> str | None:
        image = self._engine.preview(request_id)
        if image is None or not self._files.preview(image, drawing.preview_path):
            return None
        return str(drawing.preview_path)


def _reason(error: Exception) -> str:
    return NOT_CHECKED if isinstance(error, CheckFailed) else sentence(error)
