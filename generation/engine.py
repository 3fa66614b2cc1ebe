"""The engine: step-level continuous batching.

Everybody's pictures share one network forward per step, whatever their prompts, guidance, seeds, steps,
strengths, samplers and concepts. They join and leave at step boundaries; only another shape of the latents (or
a concept that can't share a batch) makes another group, and groups take turns. Texts and start images are
encoded, and pictures decoded, one at a time between two forwards.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from typing import TYPE_CHECKING, Final

import torch

from generation.batch import Batch, NoMemory
from generation.between import Between
from generation.card import Card
from generation.concepts.store import ConceptStore
from generation.conditioning import TextConditioning
from generation.drawing import Drawing
from generation.events import Cancelled, Event, Failed, Finished, ImageReady, Progress
from generation.failures import OUT_OF_MEMORY, failure_sentence
from generation.forward import Forward, warm_buckets
from generation.latents import decode_latents
from generation.memory import is_out_of_memory, set_tiling
from generation.packed import pack_convolutions
from generation.preview import Previewer
from generation.schedulers import estimate_original, noise_levels

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from generation.model import LoadedModel
    from generation.picture import Picture
    from generation.request import ImageRequest

logger = logging.getLogger(__name__)

MAX_ROWS: Final = 32
"""Of one forward. Above, a step only gets longer: a row costs the same at 16 and at 32."""
REPRODUCIBLE_ROWS: Final = 8
"""Of every forward with `reproducible`: a kernel's sums depend on how many rows it gets, not on what is in them."""


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
        self._reproducible = reproducible
        self._threads = (threads or torch.get_num_threads()) if reproducible else threads
        self._card = Card(model, self._max_rows)
        self._conditioning = TextConditioning(model, self._card.using)
        self._concepts = ConceptStore(model, **self._card.concept_limits(), reproducible=reproducible)
        pack_convolutions(model.unet)
        self._previewer = Previewer(model)
        self._noise_levels = noise_levels(model.scheduler_config)
        self._forward = Forward(model.unet, model.device, model.dtype, route=self._concepts.route)
        self._drawings: dict[str, Drawing] = {}
        self._between = Between(self._concepts)
        self._batches: dict[tuple[str, int, int], Batch] = {}
        """By lane and latent shape; who is first has the next turn."""
        self._forward_is_next = False
        self._cancelled: list[str] = []
        self._preview: tuple[str, int, Image.Image] | None = None
        self._stalled = False
        self._is_beside = False

    def beside(self) -> Engine:
        """A second line of requests on the same model, slots, networks, texts and memory: `step` of the one never
        advances the other's. For a training's own pictures; the same thread owns both.
        """
        other = copy.copy(self)
        other._drawings, other._batches, other._cancelled = {}, {}, []
        other._between = Between(self._concepts)
        other._forward_is_next = other._stalled = False
        other._preview = None
        other._is_beside = True
        return other

    def prepare(self) -> None:
        """What is better done before the first request: measure memory, fit the previews, start to compile."""
        self._card.measure()
        self._fit_previews()
        height, width = self._model.latent_size
        guided = self._model.info.defaults.guidance_scale > 1 and not self._model.guidance_embedded
        most = self._card.rows((height, width))
        fitting = [rows for rows in warm_buckets(guided=guided) if rows <= most]
        self._forward.warm_up(height, width, self._model.tokenizers[0].model_max_length, fitting)

    @property
    def busy(self) -> bool:
        """Is there anything that `step` would do or report?"""
        return bool(self._drawings)

    @property
    def stalled(self) -> bool:
        """Could the last step only wait, for concepts that are being read or that others hold?"""
        return self._stalled

    def admit(self, request_id: str, request: ImageRequest) -> None:
        """Take a request up; its pictures join the batch at a step boundary.

        Raises:
            InvalidRequest: this model can't draw it.
            ValueError: the id is in use.
        """
        if request_id in self._drawings:
            raise ValueError(f"request {request_id} is already being drawn")
        drawing = Drawing(self._model, request_id, request.with_defaults(self._model.info.defaults))
        self._drawings[request_id] = drawing
        self._between.admit(drawing)

    def total_steps(self, request: ImageRequest) -> int:
        """To how many steps `Progress` would count. Raises InvalidRequest, as `admit` would."""
        return Drawing(self._model, "", request.with_defaults(self._model.info.defaults)).total_steps

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
        self._stalled = False
        if self._cancelled:
            return self._report_cancelled()
        if self._forward_is_next or not self._between:
            self._forward_is_next = False
            if self._batches:
                return self._run_batch()
        unit = self._between.next(denoising=self._denoising)
        if unit is None:
            if self._batches:
                return self._run_batch()
            self._stalled = bool(self._between)
            self._between.wait()
            return []
        events = self._do_between(unit)
        # While nobody is denoising nobody waits for a forward: the first one starts with all who are here.
        full = any(batch.full for batch in self._batches.values())
        self._forward_is_next = self._denoising or full or not self._between.requests_wait
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
        self._fit_previews()
        self._preview = request_id, drawing.step, self._previewer.draw(torch.cat(estimates))
        return self._preview[2]

    def holds(self, request_id: str) -> bool:
        """Is it still to be drawn? (After a fault: was it not struck?)"""
        return request_id in self._drawings

    def forget_concept(self, sha256: str) -> None:
        """Let go of a deleted concept: its slot, its merged copy, its file as read."""
        self._concepts.forget(sha256)
        self._conditioning.forget_concepts()

    def forget_files(self, folder: Path) -> None:
        """`forget_concept`, for all that was read from files in `folder`."""
        self._concepts.forget_files(folder)
        self._conditioning.forget_concepts()

    def close(self) -> None:
        """Drop all requests, and stop the threads that read concepts and compile (those of a line beside go on: they
        are the other's)."""
        for request_id in list(self._drawings):
            self._drop(request_id)
        if self._is_beside:
            return
        self._concepts.close()
        self._forward.close()

    # ── batches ──

    def _run_batch(self) -> list[Event]:
        """One step of the batch whose turn it is."""
        key, batch = next(iter(self._batches.items()))
        self._batches[key] = self._batches.pop(key)
        struck: list[str] = []
        try:
            batch.seat()
            moved = batch.requests
            self._between.decode(batch.step())
        except NoMemory as error:
            struck = [error.picture.request_id]
        except BaseException as error:
            # Some have drawn their noise for this step: nobody in this batch could go on as alone.
            struck = batch.requests
            if not is_out_of_memory(error):
                for request_id in struck:
                    self._drop(request_id)
                raise
        else:
            if batch.empty:
                del self._batches[key]
            return [event for request_id in moved for event in self._progress(self._drawings[request_id])]
        logger.warning("out of memory: requests %s", ", ".join(struck))
        for request_id in struck:
            self._drop(request_id)
        return [Failed(request_id, OUT_OF_MEMORY) for request_id in struck]

    def _batch_for(self, drawing: Drawing) -> Batch:
        placement, model = drawing.placement, self._model
        lane = "" if placement is None else placement.lane
        key = (lane, *drawing.latent_size)
        if key not in self._batches:
            rows = self._card.rows(drawing.latent_size)
            network = self._forward
            if placement is not None and lane:
                network = Forward(placement.unet, model.device, model.dtype, compile=False)
            elif self._reproducible:
                network = Forward(model.unet, model.device, model.dtype, compile=False, route=self._concepts.route)
            if self._reproducible:
                network.pin(rows)
            self._batches[key] = Batch(network, model.device, rows)
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

    def _do_between(self, unit: Drawing | Picture) -> list[Event]:
        request_id = unit.request_id
        try:
            return self._prepare(unit) if isinstance(unit, Drawing) else self._decode(unit)
        except BaseException as error:
            reason = failure_sentence(error)
            if reason is None:
                self._drop(request_id)
                raise
            logger.warning("request %s: %s", request_id, error)
        # Outside of the except block: the traceback no longer holds the tensors.
        self._drop(request_id)
        return [Failed(request_id, reason)]

    def _prepare(self, drawing: Drawing) -> list[Event]:
        """The next of its texts, or its start: then its pictures wait for seats."""
        self._between.place_concepts(drawing)
        if drawing.texts:
            drawing.encode_texts(self._conditioning)
            if drawing.texts or drawing.request.init_image is not None:
                self._between.go_on(drawing)
                return []
        batch = self._batch_for(drawing)
        with self._card.using_vae(drawing.latent_size) if drawing.request.init_image else contextlib.nullcontext():
            drawing.start()
        batch.waiting.extend(drawing.pictures)
        return [Progress(drawing.request_id, 0, drawing.total_steps)]

    def _decode(self, picture: Picture) -> list[Event]:
        drawing = self._drawings[picture.request_id]
        image = self._decoded(drawing, picture)
        recipe, words_not_read = drawing.made(picture)
        events: list[Event] = [ImageReady(picture.request_id, picture.index, image, recipe, words_not_read)]
        if drawing.finished:
            self._drop(picture.request_id)
            events.append(Finished(picture.request_id))
        return events

    def _decoded(self, drawing: Drawing, picture: Picture) -> Image.Image:
        """In one piece, or, where memory doesn't suffice for that, in tiles."""
        try:
            with self._card.using_vae(drawing.latent_size):
                return decode_latents(self._model, picture.latents)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("request %s: decoded in tiles: %s", picture.request_id, error)
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        with self._card.using_vae(drawing.latent_size):
            set_tiling(self._model.vae, drawing.latent_size, tiled=True)
            try:
                return decode_latents(self._model, picture.latents)
            finally:
                set_tiling(self._model.vae, drawing.latent_size, tiled=False)

    # ── the rest ──

    def _fit_previews(self) -> None:
        if not self._previewer.ready:
            with self._card.using("vae"):
                self._previewer.prepare()

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
        self._between.drop(request_id)
        for batch in self._batches.values():
            batch.drop(request_id)
        self._batches = {key: batch for key, batch in self._batches.items() if not batch.empty}
        if drawing.placement is not None:
            self._concepts.release(drawing.placement)
        if self._preview is not None and self._preview[0] == request_id:
            self._preview = None
        if request_id in self._cancelled:
            self._cancelled.remove(request_id)
