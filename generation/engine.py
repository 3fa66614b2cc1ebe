"""The engine: step-level continuous batching.

Everybody's pictures share one network forward per step, whatever their prompts, guidance, seeds, steps,
strengths, samplers and concepts. They join and leave at step boundaries; only another shape of the latents (or
a concept that can't share a batch) makes another group, and groups take turns. Texts and start images are
encoded, and pictures decoded, one at a time between two forwards.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

import torch

from generation.batch import Batch, NoMemory
from generation.card import Card
from generation.concepts.files import ConceptRefused
from generation.concepts.store import ConceptStore
from generation.conditioning import TextConditioning
from generation.drawing import Drawing
from generation.events import Cancelled, Event, Failed, Finished, ImageReady, Progress
from generation.forward import WARM_BUCKETS, Forward
from generation.image_input import ImageRefused
from generation.latents import NotFinite
from generation.memory import DoesNotFit
from generation.packed import pack_convolutions
from generation.preview import Previewer
from generation.request import InvalidRequest
from generation.schedulers import estimate_original, noise_levels

if TYPE_CHECKING:
    from PIL import Image

    from generation.concepts.store import Ticket
    from generation.model import LoadedModel
    from generation.picture import Picture
    from generation.request import ImageRequest

logger = logging.getLogger(__name__)

MAX_ROWS: Final = 32
"""Of one forward. Above, a step only gets longer: a row costs the same at 16 and at 32."""
REPRODUCIBLE_ROWS: Final = 8
"""Of every forward with `reproducible`: a kernel's sums depend on how many rows it gets, not on what is in them."""
_CONCEPT_WAIT_SECONDS: Final = 0.01

_NOT_FINITE = "The model's numbers ran out of range, so there is no picture; try lower guidance or another seed."
_OUT_OF_MEMORY = "This needs more memory than there is; ask for fewer or smaller pictures."
_ALLOCATORS = ("DefaultCPUAllocator", "MPS backend out of memory")
"""Where torch has no `OutOfMemoryError` of its own, the text of its RuntimeError has one of these."""
_NO_START_IMAGE = "The start image's file is gone or can't be read; send it again."


class Engine:
    """Draws requests on one model. Not thread-safe: one thread owns it.

    With `reproducible` the same recipe gives the same bytes on the same machine, whoever else is in the batch:
    every forward has the same number of rows, and torch keeps to `threads`. A lone picture then takes as long
    as a full batch.
    """

    def __init__(
        self, model: LoadedModel, *, max_rows: int = MAX_ROWS, reproducible: bool = False, threads: int | None = None
    ) -> None:
        if max_rows < 1:
            raise ValueError(f"max_rows must be at least 1, not {max_rows}")
        self._model = model
        self._max_rows = min(max_rows, REPRODUCIBLE_ROWS) if reproducible else max_rows
        self._pinned_rows = self._max_rows if reproducible else None
        self._threads = (threads or torch.get_num_threads()) if reproducible else threads
        self._card = Card(model, self._max_rows)
        self._conditioning = TextConditioning(model)
        self._concepts = ConceptStore(model, reproducible=reproducible)
        pack_convolutions(model.unet)
        self._previewer = Previewer(model)
        self._noise_levels = noise_levels(model.scheduler_config)
        self._forward = Forward(model.unet, model.device, model.dtype, route=self._concepts.route)
        if self._pinned_rows is not None:
            self._forward.pin(self._pinned_rows)
        self._drawings: dict[str, Drawing] = {}
        self._tickets: dict[str, Ticket] = {}
        self._between: deque[Drawing | Picture] = deque()
        """To be done between two forwards: requests to prepare, pictures to decode, in the order they came."""
        self._batches: dict[tuple[str, int, int], Batch] = {}
        """By lane and latent shape; who is first has the next turn."""
        self._forward_is_next = False
        self._cancelled: list[str] = []
        self._preview: tuple[str, int, Image.Image] | None = None

    def prepare(self) -> None:
        """What is better done before the first request: measure memory, fit the previews, start to compile."""
        self._card.measure()
        self._previewer.prepare()
        height, width = self._model.latent_size
        fitting = [rows for rows in WARM_BUCKETS if rows <= self._card.rows((height, width))]
        self._forward.warm_up(height, width, self._model.tokenizers[0].model_max_length, fitting)

    @property
    def busy(self) -> bool:
        """Is there anything that `step` would do or report?"""
        return bool(self._drawings)

    def admit(self, request_id: str, request: ImageRequest) -> None:
        """Take a request up; its pictures join the batch at a step boundary.

        Raises:
            InvalidRequest: this model can't draw it.
            ValueError: the id is in use.
        """
        if request_id in self._drawings:
            raise ValueError(f"request {request_id} is already being drawn")
        drawing = Drawing(self._model, request_id, request.with_defaults(self._model.info.defaults))
        if request.concepts:
            self._tickets[request_id] = self._concepts.begin(request.concepts)
        self._drawings[request_id] = drawing
        self._between.append(drawing)

    def cancel(self, request_id: str) -> bool:
        """Drop a request at the next step, which reports it. False if there is no such request."""
        if request_id not in self._drawings or request_id in self._cancelled:
            return False
        self._cancelled.append(request_id)
        return True

    @torch.no_grad()  # not inference_mode: what is made under it can't be trained through
    def step(self) -> list[Event]:
        """Do one unit of work and say what happened: one forward of a batch, or one request's texts and start
        image, or one picture's decode. Nothing to do, nothing happens.

        Errors of one request (numbers out of range, out of memory, a start image that is gone) end it with
        `Failed`. Any other exception is a fault of the program: the requests that it struck are dropped and it
        is raised.
        """
        if self._threads is not None and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        if self._cancelled:
            return self._report_cancelled()
        if self._forward_is_next or not self._between:
            self._forward_is_next = False
            if self._batches:
                return self._run_batch()
        unit = self._next_between()
        if unit is None:
            return self._run_batch() if self._batches else []
        events = self._do_between(unit)
        # While nobody is denoising nobody waits for a forward: the first one starts with all who are here.
        more = any(isinstance(waiting, Drawing) for waiting in self._between)
        self._forward_is_next = self._denoising or not more or any(batch.full for batch in self._batches.values())
        return events

    def preview(self, request_id: str) -> Image.Image | None:
        """What the pictures may become, a grid if there are several; None before the first step.

        Drawn at most once between two steps: asking again gives the same picture.
        """
        drawing = self._drawings.get(request_id)
        if drawing is None:
            return None
        if self._preview is not None and self._preview[:2] == (request_id, drawing.step):
            return self._preview[2]
        estimates = [self._estimate(picture) for picture in drawing.pictures if picture.latest is not None]
        if not estimates:
            return None
        self._preview = request_id, drawing.step, self._previewer.draw(torch.cat(estimates))
        return self._preview[2]

    def forget_concept(self, sha256: str) -> None:
        """Let go of a deleted concept: its slot, its merged copy, its file as read."""
        self._concepts.forget(sha256)

    def close(self) -> None:
        """Stop the threads that read concepts and compile."""
        self._concepts.close()
        self._forward.close()

    # ── batches ──

    def _run_batch(self) -> list[Event]:
        """One step of the batch whose turn it is."""
        key, batch = next(iter(self._batches.items()))
        self._batches[key] = self._batches.pop(key)
        batch.seat()
        moved = list(dict.fromkeys(picture.request_id for picture in batch.seated))
        stuck: str | None = None
        try:
            self._between += batch.step()
        except NoMemory as error:
            stuck = error.picture.request_id
            logger.warning("request %s: not even one row fits", stuck)
        except BaseException as error:
            if not _is_out_of_memory(error):
                for request_id in moved:
                    self._drop(request_id)
                raise
            stuck = batch.seated[-1].request_id
            logger.warning("request %s: %s", stuck, error)
        if stuck is not None:
            self._drop(stuck)
            return [Failed(stuck, _OUT_OF_MEMORY)]
        if batch.empty:
            del self._batches[key]
        return [event for request_id in moved for event in self._progress(self._drawings[request_id])]

    def _batch_for(self, drawing: Drawing) -> Batch:
        placement = drawing.placement
        lane = "" if placement is None else placement.lane
        key = (lane, *drawing.latent_size)
        if key not in self._batches:
            network = self._forward
            if placement is not None and lane:
                network = Forward(placement.unet, self._model.device, self._model.dtype, compile=False)
                if self._pinned_rows is not None:
                    network.pin(self._pinned_rows)
            rows = self._card.rows(drawing.latent_size)
            self._batches[key] = Batch(network, self._model.device, rows, _is_out_of_memory)
        return self._batches[key]

    def _progress(self, drawing: Drawing) -> list[Event]:
        if drawing.step == drawing.reported:
            return []
        drawing.reported = drawing.step
        return [Progress(drawing.request_id, drawing.step, drawing.total_steps)]

    # ── between two forwards ──

    @property
    def _denoising(self) -> bool:
        return any(batch.seated for batch in self._batches.values())

    def _next_between(self) -> Drawing | Picture | None:
        """What can be done first; to prepare goes before to decode where the network would stand idle."""
        ready: list[Drawing | Picture] = []
        short: set[bool] = set()
        for unit in self._between:
            ticket = self._tickets.get(unit.request_id) if isinstance(unit, Drawing) else None
            if isinstance(unit, Drawing) and ticket is not None:
                # Nobody overtakes a request that waits for slots, or for a lane: it would wait for ever.
                if ticket.needs_lane in short or not ticket.ready():
                    continue
                if not self._take_concepts(unit, ticket):
                    short.add(ticket.needs_lane)
                    continue
            ready.append(unit)
        if not ready:
            if self._between and not self._batches:
                self._concepts.wait(_CONCEPT_WAIT_SECONDS)
            return None
        to_prepare = (unit for unit in ready if isinstance(unit, Drawing))
        unit = ready[0] if self._denoising else next(to_prepare, ready[0])
        self._between.remove(unit)
        return unit

    def _take_concepts(self, drawing: Drawing, ticket: Ticket) -> bool:
        """False where it has to wait. A concept that is refused is left to `_prepare`, which says why."""
        if drawing.placement is not None:
            return True
        try:
            drawing.placement = self._concepts.acquire(ticket)
        except ConceptRefused:
            return True
        except BaseException:
            self._drop(drawing.request_id)
            raise
        return drawing.placement is not None

    def _do_between(self, unit: Drawing | Picture) -> list[Event]:
        request_id = unit.request_id
        reason = _OUT_OF_MEMORY
        try:
            return self._prepare(unit) if isinstance(unit, Drawing) else self._decode(unit)
        except NotFinite as error:
            logger.warning("request %s: %s are not finite", request_id, error)
            reason = _NOT_FINITE
        except (ImageRefused, ConceptRefused, InvalidRequest, DoesNotFit) as error:
            reason = str(error)
        except OSError as error:
            logger.warning("request %s: %s", request_id, error)
            reason = _NO_START_IMAGE
        except BaseException as error:
            if not _is_out_of_memory(error):
                self._drop(request_id)
                raise
            logger.warning("request %s: %s", request_id, error)
        # Outside of the except block: the traceback no longer holds the tensors.
        self._drop(request_id)
        return [Failed(request_id, reason)]

    def _prepare(self, drawing: Drawing) -> list[Event]:
        ticket = self._tickets.pop(drawing.request_id, None)
        if ticket is not None and drawing.placement is None:
            self._concepts.acquire(ticket)  # says why it is refused
        batch = self._batch_for(drawing)
        with self._card.using("text_encoders"):
            drawing.encode_texts(self._conditioning)
        with self._card.using_vae(drawing.latent_size) if drawing.request.init_image else contextlib.nullcontext():
            drawing.start()
        batch.waiting.extend(drawing.pictures)
        return [Progress(drawing.request_id, 0, drawing.total_steps)]

    def _decode(self, picture: Picture) -> list[Event]:
        drawing = self._drawings[picture.request_id]
        with self._card.using_vae(drawing.latent_size):
            image, recipe, words_not_read = drawing.decode(picture)
        events: list[Event] = [ImageReady(picture.request_id, picture.index, image, recipe, words_not_read)]
        if drawing.finished:
            self._drop(picture.request_id)
            events.append(Finished(picture.request_id))
        return events

    # ── the rest ──

    def _estimate(self, picture: Picture) -> torch.Tensor:
        assert picture.latest is not None
        if picture.denoised:
            return picture.latents
        return estimate_original(self._noise_levels, self._model.info.prediction_type, *picture.latest)

    def _report_cancelled(self) -> list[Event]:
        cancelled, self._cancelled = self._cancelled, []
        for request_id in cancelled:
            self._drop(request_id)
        return [Cancelled(request_id) for request_id in cancelled]

    def _drop(self, request_id: str) -> None:
        """Forget a request, wherever its pictures are."""
        drawing = self._drawings.pop(request_id)
        self._between = deque(unit for unit in self._between if unit.request_id != request_id)
        for batch in self._batches.values():
            batch.drop(request_id)
        self._batches = {key: batch for key, batch in self._batches.items() if not batch.empty}
        ticket = self._tickets.pop(request_id, None)
        if ticket is not None:
            self._concepts.abandon(ticket)
        if drawing.placement is not None:
            self._concepts.release(drawing.placement)
        if self._preview is not None and self._preview[0] == request_id:
            self._preview = None
        if request_id in self._cancelled:
            self._cancelled.remove(request_id)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(name in str(error) for name in _ALLOCATORS)
