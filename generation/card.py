"""How an engine shares out the memory of its device: how many rows a forward has, and what waits outside."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import torch

from generation.memory import (
    RESERVED,
    DoesNotFit,
    Needs,
    Plan,
    concept_share,
    is_out_of_memory,
    make_plan,
    measured_needs,
    set_tiling,
    share_bytes,
)
from generation.offload import Offload

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from generation.model import LoadedModel

logger = logging.getLogger(__name__)

_TOO_LARGE = "A picture of this size"


class Card:
    """The device of one model. Where nothing is planned (a CPU, MPS), everything stays and all rows fit."""

    def __init__(self, model: LoadedModel, max_rows: int) -> None:
        self._model, self._max_rows = model, max_rows
        self._needs = None if model.memory is None else model.memory.needs
        self._offloaded = () if model.memory is None else model.memory.plan.offloaded
        # Of when the model was loaded: plans don't depend on who else is using the card at the moment.
        self._total = 0.0 if model.memory is None else model.memory.plan.total
        self._concepts = None if self._needs is None else concept_share(self._needs, self._left(self._needs))
        parts = {"text_encoders": model.text_encoders, "vae": [model.vae]}
        self._offload = Offload(parts, model.device, self._offloaded)
        self._plans: dict[tuple[int, int], Plan] = {}

    def measure(self) -> None:
        """Raise what was computed about a forward to what one takes here: runs the UNet with one and two rows.

        Nothing changes where two rows don't fit.
        """
        height, width = self._model.latent_size
        if self._needs is None or self.rows((height, width)) < 2:
            return
        tokens = self._model.tokenizers[0].model_max_length
        try:
            self._needs = measured_needs(self._needs, self._model.unet, height, width, tokens)
            self._plans.clear()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("what a forward takes can't be measured: %s", error)
        torch.cuda.empty_cache()

    def concept_limits(self) -> dict[str, int]:
        """Arguments for `ConceptStore`: what the weights and a forward of the model's own size leave to concepts.

        Empty where nothing is planned: its defaults stay.
        """
        return {} if self._concepts is None else asdict(self._concepts)

    def rows(self, latent_size: tuple[int, int]) -> int:
        """How many rows a forward of latents with this height and width may have.

        Raises:
            DoesNotFit: not even one; the sentence says how much it needs.
        """
        return min(self._plan(latent_size).rows, self._max_rows)

    def using(self, part: str) -> AbstractContextManager[None]:
        """`text_encoders` or `vae` are on the device inside of the block."""
        return self._offload.using(part)

    @contextmanager
    def using_vae(self, latent_size: tuple[int, int]) -> Generator[None]:
        """As `using("vae")`; it works in tiles where a picture of this size wouldn't fit in one piece."""
        if self._needs is not None:
            set_tiling(self._model.vae, latent_size, tiled=self._plan(latent_size).tiled)
        with self.using("vae"):
            yield

    def _plan(self, latent_size: tuple[int, int]) -> Plan:
        if self._needs is None or self._concepts is None:
            return Plan(self._max_rows)
        if latent_size not in self._plans:
            concepts = min(share_bytes(self._needs, self._concepts), self._left(self._needs))
            try:
                plan = self._make_plan(self._needs, latent_size, concepts)
            except DoesNotFit:  # beside all concepts that there may be; most often there are fewer
                plan = self._make_plan(self._needs, latent_size, 0)
            self._plans[latent_size] = plan
        return self._plans[latent_size]

    def _left(self, needs: Needs) -> int:
        """Bytes that neither weights nor a forward of the model's own size need."""
        height, width = self._model.latent_size
        plan = self._make_plan(needs, (height, width), None)
        most = needs.at_worst(replace(plan, rows=min(plan.rows, self._max_rows)), height * width)
        return int(self._total - RESERVED - most)

    def _make_plan(self, needs: Needs, latent_size: tuple[int, int], concepts: float | None) -> Plan:
        # What is outside was decided when the model was loaded.
        offloads, area = [self._offloaded], latent_size[0] * latent_size[1]
        return make_plan(needs, self._total, area, concepts=concepts, offloads=offloads, what=_TOO_LARGE)
