"""How an engine shares out the memory of its device: how many rows a forward has, and what waits outside."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from generation.memory import Plan, card_bytes, make_plan, measured_needs, set_tiling
from generation.offload import Offload

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from generation.model import LoadedModel

_TOO_LARGE = "A picture of this size"


class Card:
    """The device of one model. Where nothing is planned (a CPU, MPS), everything stays and all rows fit."""

    def __init__(self, model: LoadedModel, max_rows: int) -> None:
        self._model, self._max_rows = model, max_rows
        self._needs = None if model.memory is None else model.memory.needs
        self._offloaded = () if model.memory is None else model.memory.plan.offloaded
        parts = {"text_encoders": model.text_encoders, "vae": [model.vae]}
        self._offload = Offload(parts, model.device, self._offloaded)
        self._plans: dict[tuple[int, int], Plan] = {}

    def measure(self) -> None:
        """Replace what was computed about a forward by what one takes here: runs the UNet with one and two rows."""
        if self._needs is None:
            return
        height, width = self._model.latent_size
        tokens = self._model.tokenizers[0].model_max_length
        self._needs = measured_needs(self._needs, self._model.unet, height, width, tokens)
        self._plans.clear()

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
        if self._needs is None:
            return Plan(self._max_rows)
        if latent_size not in self._plans:
            total, area = card_bytes(self._model.device), latent_size[0] * latent_size[1]
            # What is outside was decided when the model was loaded.
            plan = make_plan(self._needs, total, area, offloads=[self._offloaded], what=_TOO_LARGE)
            self._plans[latent_size] = plan
        return self._plans[latent_size]
