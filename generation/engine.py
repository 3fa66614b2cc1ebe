"""The denoising loop, one unit of work at a time.

Requests are admitted, and `step` moves one of them on: by one text or image encode, one network
evaluation, or one decode. Between two steps a caller can look, cancel, admit more or do something else.
One request is drawn at a time for now, in the order of admission.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from generation.conditioning import TextConditioning
from generation.drawing import Drawing
from generation.events import Cancelled, Event, Failed, Finished, ImageReady, Progress
from generation.image_input import ImageRefused
from generation.latents import NotFinite
from generation.preview import Previewer

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

    from generation.model import LoadedModel
    from generation.recipe import Recipe
    from generation.request import ImageRequest

logger = logging.getLogger(__name__)

_NOT_FINITE = "The model's numbers ran out of range, so there is no picture; try lower guidance or another seed."
_OUT_OF_MEMORY = "This needs more memory than there is; ask for fewer or smaller pictures."
_ALLOCATORS = ("DefaultCPUAllocator", "MPS backend out of memory")
"""Where torch has no `OutOfMemoryError` of its own, the text of its RuntimeError has one of these."""
_NO_START_IMAGE = "The start image's file is gone or can't be read; send it again."


class GenerationFailed(Exception):
    """A request of `generate` ended without its pictures. The text is one sentence."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture with what makes it again."""

    image: Image.Image
    recipe: Recipe
    words_not_read: list[str]


class Engine:
    """Draws requests on one model. Not thread-safe: one thread owns it."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._unet: Any = model.unet
        self._conditioning = TextConditioning(model.tokenizer, model.text_encoder)
        self._previewer = Previewer(model)
        self._drawings: dict[str, Drawing] = {}
        self._order: deque[str] = deque()
        self._cancelled: list[str] = []
        self._preview: tuple[str, int, Image.Image] | None = None

    @property
    def busy(self) -> bool:
        """Is there anything that `step` would do or report?"""
        return bool(self._order)

    def admit(self, request_id: str, request: ImageRequest) -> None:
        """Take a request up; it is drawn when those before it are done.

        Raises:
            InvalidRequest: this model can't draw it.
            ValueError: the id is in use.
        """
        if request_id in self._drawings:
            raise ValueError(f"request {request_id} is already being drawn")
        self._drawings[request_id] = Drawing(self._model, request.with_defaults(self._model.info.defaults))
        self._order.append(request_id)

    def cancel(self, request_id: str) -> bool:
        """Drop a request at the next step, which reports it. False if there is no such request."""
        if request_id not in self._drawings or request_id in self._cancelled:
            return False
        self._cancelled.append(request_id)
        return True

    @torch.no_grad()  # not inference_mode: what is made under it can't be trained through
    def step(self) -> list[Event]:
        """Do one unit of work and say what happened; nothing to do, nothing happens.

        Errors of one request (numbers out of range, out of memory, a start image that is gone) end it with
        `Failed`. Any other exception is a fault of the program: the request is dropped and it is raised.
        """
        if self._cancelled:
            return [self._report_cancelled(request_id) for request_id in self._take_cancelled()]
        if not self._order:
            return []
        request_id = self._order[0]
        drawing = self._drawings[request_id]
        reason = _OUT_OF_MEMORY
        try:
            events = self._advance(request_id, drawing)
        except NotFinite as error:
            logger.warning("request %s: %s are not finite", request_id, error)
            reason = _NOT_FINITE
        except ImageRefused as error:
            reason = str(error)
        except OSError as error:
            logger.warning("request %s: %s", request_id, error)
            reason = _NO_START_IMAGE
        except BaseException as error:
            if not _is_out_of_memory(error):
                self._drop(request_id)
                raise
            logger.warning("request %s: %s", request_id, error)
        else:
            if drawing.finished:
                self._drop(request_id)
            return events
        # Outside of the except block: the traceback no longer holds the tensors.
        self._drop(request_id)
        return [Failed(request_id, reason)]

    def preview(self, request_id: str) -> Image.Image | None:
        """What the pictures may become, a grid if there are several; None before the first step.

        Drawn at most once between two steps: asking again gives the same picture.
        """
        drawing = self._drawings.get(request_id)
        if drawing is None:
            return None
        if self._preview is not None and self._preview[:2] == (request_id, drawing.step):
            return self._preview[2]
        estimate = drawing.estimate()
        if estimate is None:
            return None
        self._preview = request_id, drawing.step, self._previewer.draw(estimate)
        return self._preview[2]

    def _advance(self, request_id: str, drawing: Drawing) -> list[Event]:
        if not drawing.started:
            drawing.encode_text(self._conditioning)
            drawing.start()
            return [Progress(request_id, 0, drawing.total_steps)]
        if not drawing.denoised:
            sample, timestep, conditioning = drawing.model_input()
            output = self._unet(sample, timestep, encoder_hidden_states=conditioning, return_dict=False)[0]
            drawing.accept(output)
            return [Progress(request_id, drawing.step, drawing.total_steps)]
        index, image, recipe, words_not_read = drawing.decode()
        events: list[Event] = [ImageReady(request_id, index, image, recipe, words_not_read)]
        if drawing.finished:
            events.append(Finished(request_id))
        return events

    def _take_cancelled(self) -> list[str]:
        taken, self._cancelled = self._cancelled, []
        return taken

    def _report_cancelled(self, request_id: str) -> Event:
        self._drop(request_id)
        return Cancelled(request_id)

    def _drop(self, request_id: str) -> None:
        del self._drawings[request_id]
        self._order.remove(request_id)
        if self._preview is not None and self._preview[0] == request_id:
            self._preview = None
        if request_id in self._cancelled:
            self._cancelled.remove(request_id)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(name in str(error) for name in _ALLOCATORS)


def generate(
    model: LoadedModel, request: ImageRequest, on_event: Callable[[Event], None] | None = None
) -> list[Drawn]:
    """Draw one request from beginning to end.

    Raises:
        InvalidRequest: this model can't draw it.
        GenerationFailed: it could not be drawn; the text says why.
    """
    engine = Engine(model)
    engine.admit("only", request)
    drawn: list[Drawn] = []
    while engine.busy:
        for event in engine.step():
            if on_event is not None:
                on_event(event)
            if isinstance(event, ImageReady):
                drawn.append(Drawn(event.image, event.recipe, event.words_not_read))
            if isinstance(event, Failed):
                raise GenerationFailed(event.reason)
    return drawn
