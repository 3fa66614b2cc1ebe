"""One picture in flight, and the course that its sampler takes through the timesteps.

The picture is the unit that joins and leaves a batch: picture *k* of a request has a seed, a generator and a
place of its own, so a request of sixteen can share seats with others on a small card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from generation.schedulers import build_scheduler, select_timesteps, step_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from generation.conditioning import Conditioning
    from generation.solver import SolverTable

NO_SLOTS = (0, 0, 0, 0)
_NUMBERS = 11
"""Numbers of a row: timestep, input scale, and the nine factors of `SolverTable.coefficients`."""


class Course(Protocol):
    """The way of a sampler, one row of numbers per network evaluation."""

    rows: np.ndarray[Any, np.dtype[np.float64]]
    """`[evaluations, 11]`: timestep, input scale, factors of x, e, x₁, e₁, x₂, e₂, x₃, e₃ and noise."""
    history: int
    """How many earlier samples and outputs the factors reach back to, 0 to 3."""

    def draws_noise(self, evaluation: int) -> bool:
        """Does this evaluation take one standard normal from the picture's generator?"""
        ...


class TableCourse:
    """A sampler that is affine: the whole batch moves in one tensor update. Shared by a request's pictures."""

    def __init__(self, table: SolverTable) -> None:
        self.rows = np.column_stack([table.timesteps, table.input_scale, table.coefficients])
        self.history = table.history
        self._draws = table.draws_noise

    def draws_noise(self, evaluation: int) -> bool:
        return self._draws[evaluation]


class OwnCourse:
    """A sampler that is not affine, or has its own noise process: its own `step`, for this one picture."""

    history = 0

    def __init__(
        self,
        config: Mapping[str, Any],
        name: str | None,
        steps: int,
        strength: float | None,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self._scheduler = build_scheduler(config, name)
        self._timesteps = select_timesteps(self._scheduler, steps, strength, device)
        self._options = step_options(self._scheduler, [generator])
        self.rows = np.zeros((len(self._timesteps), _NUMBERS))
        self.rows[:, 0] = self._timesteps.cpu().double().numpy()

    def draws_noise(self, evaluation: int) -> bool:
        del evaluation
        return False  # `step` draws for itself

    def model_input(self, latents: torch.Tensor, evaluation: int) -> torch.Tensor:
        """What the network sees of `[1, channels, h, w]`."""
        return self._scheduler.scale_model_input(latents, self._timesteps[evaluation])

    def step(self, model_output: torch.Tensor, latents: torch.Tensor, evaluation: int) -> torch.Tensor:
        """The next sample, `[1, channels, h, w]`."""
        timestep = self._timesteps[evaluation]
        return self._scheduler.step(model_output, timestep, latents, **self._options, return_dict=False)[0]


@dataclass(slots=True, eq=False)
class Picture:
    """Picture `index` of a request, ready to be denoised."""

    request_id: str
    index: int
    generator: torch.Generator
    guidance_scale: float
    course: Course
    conditional: Conditioning
    unconditional: Conditioning | None
    """None without guidance: one row instead of two."""
    latents: torch.Tensor
    """`[1, channels, h, w]` float32: the first ones until it is seated, then the latest ones."""
    timestep_cond: torch.Tensor | None = None
    """`[1, n]` for a network that is told the guidance scale; None for all others."""
    slots: tuple[int, int, int, int] = NO_SLOTS
    weights: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    evaluation: int = 0
    """How many network evaluations are done."""
    latest: tuple[torch.Tensor, torch.Tensor, float] | None = None
    """The network's last input and guided output, each `[1, channels, h, w]`, and its timestep."""

    @property
    def rows(self) -> int:
        return 1 if self.unconditional is None else 2

    @property
    def evaluations(self) -> int:
        return len(self.course.rows)

    @property
    def denoised(self) -> bool:
        return self.evaluation == self.evaluations
