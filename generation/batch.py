"""The pictures that share one network forward: how they take seats, and one denoising step of all of them.

Everything but the shape of the latents may differ from row to row: prompts, guidance, timesteps, samplers,
concepts. The update x' = a·x + b·e + Σ (cⱼ·x₋ⱼ + dⱼ·e₋ⱼ) + n·z moves all pictures at once (see `solver`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from generation.memory import is_out_of_memory
from generation.picture import OwnCourse, Picture

if TYPE_CHECKING:
    from generation.forward import Forward


_STEPS_TO_RECOVER: Final = 100


class NoMemory(Exception):
    """Not even one row of this picture fits."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        super().__init__(picture.request_id)


@dataclass(slots=True)
class _Rows:
    """What the rows of a forward have in common from step to step, until somebody joins or leaves."""

    picture_of: torch.Tensor
    """`[rows]`, unconditional rows first."""
    guided: torch.Tensor
    """`[guided pictures]`: which pictures have two rows."""
    guidance_scale: torch.Tensor
    """`[guided pictures, 1, 1, 1]`."""
    hidden: torch.Tensor
    added: dict[str, torch.Tensor]
    timestep_cond: torch.Tensor | None
    slots: torch.Tensor | None
    """`[rows, 4]`; None where no row has a concept."""
    weights: torch.Tensor | None


class Batch:
    """All pictures of one latent shape and one lane. `rows_at_once`: how many rows a forward may have."""

    def __init__(
        self,
        network: Forward,
        device: torch.device,
        rows_at_once: int,
    ) -> None:
        self.seated: list[Picture] = []
        self.waiting: list[Picture] = []
        self.rows_at_once = self._most_rows = rows_at_once
        self._steps_since_shortage = 0
        self._network, self._device = network, device
        self._latents: torch.Tensor = torch.empty(0)
        self._history: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._rows: _Rows | None = None

    # ── seats ──

    @property
    def empty(self) -> bool:
        return not self.seated and not self.waiting

    @property
    def full(self) -> bool:
        """Would no further guided picture find a seat?"""
        return sum(picture.rows for picture in (*self.seated, *self.waiting)) + 2 > self.rows_at_once

    @property
    def requests(self) -> list[str]:
        """Whose pictures are seated; where nobody is, who waits."""
        return list(dict.fromkeys(picture.request_id for picture in self.seated or self.waiting))

    def seat(self) -> None:
        """Fill the free rows: first whoever has the fewest pictures in the batch, then whoever came first."""
        joining: list[Picture] = []
        left = list(self.waiting)
        seats = Counter(picture.request_id for picture in self.seated)
        free = self.rows_at_once - sum(picture.rows for picture in self.seated)
        while left:
            picture = min(left, key=lambda waiting: seats[waiting.request_id])
            if picture.rows > free and (self.seated or joining):
                break  # who is next waits for rows; nobody overtakes
            left.remove(picture)
            joining.append(picture)
            seats[picture.request_id] += 1
            free -= picture.rows
        if joining:
            self._join(joining)
            self.waiting = left

    def drop(self, request_id: str) -> None:
        """Let the pictures of a request go, wherever they are."""
        self.waiting = [picture for picture in self.waiting if picture.request_id != request_id]
        self._leave([picture for picture in self.seated if picture.request_id == request_id])

    def _join(self, pictures: list[Picture]) -> None:
        fresh = torch.cat([picture.latents for picture in pictures])
        blank = torch.zeros_like(fresh)
        if self.seated:
            self._latents = torch.cat([self._latents, fresh])
            self._history = [(torch.cat([x, blank]), torch.cat([e, blank])) for x, e in self._history]
        else:
            self._latents, self._history = fresh, []
        self.seated += pictures
        self._rows = None

    def _leave(self, pictures: list[Picture]) -> None:
        if not pictures:
            return
        stays = [index for index, picture in enumerate(self.seated) if picture not in pictures]
        kept = torch.tensor(stays, dtype=torch.long, device=self._device)
        self._latents = self._latents[kept]
        self._history = [(x[kept], e[kept]) for x, e in self._history]
        self.seated = [self.seated[index] for index in stays]
        self._rows = None

    # ── one step ──

    def step(self) -> list[Picture]:
        """One network evaluation of every seated picture; returns those that are denoised, which leave.

        Raises:
            NoMemory: one row alone is too much; nobody has moved.
        """
        if self._rows is None:
            self._rows = self._arrange()
        numbers = np.stack([picture.course.rows[picture.evaluation] for picture in self.seated])
        on_device = torch.from_numpy(numbers).float().to(self._device)
        model_input = self._model_input(on_device)
        output = self._guided(self._evaluate(model_input, on_device[:, 0]), self._rows)
        self._advance(numbers, on_device[:, 2:], output)
        for index, picture in enumerate(self.seated):
            at = slice(index, index + 1)
            picture.latest = model_input[at], output[at], float(numbers[index, 0])
            picture.latents = self._latents[at]
            picture.evaluation += 1
        done = [picture for picture in self.seated if picture.denoised]
        self._leave(done)
        self._recover()
        return done

    def _recover(self) -> None:
        """Memory that was short may be there again: try twice the rows after a while."""
        self._steps_since_shortage += 1
        if self.rows_at_once < self._most_rows and self._steps_since_shortage >= _STEPS_TO_RECOVER:
            self.rows_at_once = min(2 * self.rows_at_once, self._most_rows)
            self._steps_since_shortage = 0

    def _arrange(self) -> _Rows:
        guided = [index for index, picture in enumerate(self.seated) if picture.unconditional is not None]
        negatives = [self.seated[index].unconditional for index in guided]
        conditionings = [c for c in negatives if c is not None] + [picture.conditional for picture in self.seated]
        pictures = [self.seated[index] for index in guided] + self.seated
        slots, weights = None, None
        if any(any(picture.slots) for picture in pictures):
            # On the CPU: they are read there, to find out whether anything changed.
            slots = torch.tensor([picture.slots for picture in pictures])
            weights = torch.tensor([picture.weights for picture in pictures])
        names = conditionings[0].added
        told = [picture.timestep_cond for picture in pictures if picture.timestep_cond is not None]
        scales = [self.seated[index].guidance_scale for index in guided]
        return _Rows(
            picture_of=torch.tensor([*guided, *range(len(self.seated))], device=self._device),
            guided=torch.tensor(guided, dtype=torch.long, device=self._device),
            guidance_scale=torch.tensor(scales, device=self._device).view(-1, 1, 1, 1),
            hidden=torch.cat([conditioning.hidden for conditioning in conditionings]),
            added={name: torch.cat([c.added[name] for c in conditionings]) for name in names},
            timestep_cond=torch.cat(told) if told else None,
            slots=slots,
            weights=weights,
        )

    def _model_input(self, numbers: torch.Tensor) -> torch.Tensor:
        scaled = self._latents * numbers[:, 1].view(-1, 1, 1, 1)
        for index, picture in enumerate(self.seated):
            if isinstance(picture.course, OwnCourse):
                at = slice(index, index + 1)
                scaled[at] = picture.course.model_input(self._latents[at], picture.evaluation)
        return scaled

    def _evaluate(self, model_input: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """The network's output for all rows, `[rows, channels, h, w]` float32, in as many forwards as must be."""
        assert self._rows is not None
        picture_of = self._rows.picture_of
        outputs: list[torch.Tensor] = []
        begin = 0
        while begin < len(picture_of):
            rows = slice(begin, begin + self.rows_at_once)
            output = self._forward(rows, model_input[picture_of[rows]], timesteps[picture_of[rows]])
            if output is not None:
                outputs.append(output.float())
                begin += len(output)
                continue
            tried = len(picture_of[rows])
            if tried == 1:
                raise NoMemory(self.seated[int(picture_of[begin])])
            # Half as many, to a power of two: these are the sizes that the network is made ready for.
            self.rows_at_once = 1 << ((tried - 1).bit_length() - 1)
            self._steps_since_shortage = 0
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _forward(self, rows: slice, sample: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor | None:
        """None where memory ran out. The caller tries again outside of the except block, whose traceback would
        hold the tensors."""
        shared = self._rows
        assert shared is not None
        added = {name: values[rows] for name, values in shared.added.items()}
        rest = (None if v is None else v[rows] for v in (shared.timestep_cond, shared.slots, shared.weights))
        try:
            return self._network(sample, timesteps, shared.hidden[rows], added or None, *rest)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        return None

    def _guided(self, output: torch.Tensor, rows: _Rows) -> torch.Tensor:
        """Classifier-free guidance (arXiv 2207.12598) where a picture has two rows: u + s·(c − u)."""
        without, with_prompt = output[: len(rows.guided)], output[len(rows.guided) :]
        if not len(rows.guided):
            return with_prompt
        prompted = with_prompt[rows.guided]
        return with_prompt.index_copy(0, rows.guided, without + rows.guidance_scale * (prompted - without))

    def _advance(self, numbers: np.ndarray[Any, Any], factors: torch.Tensor, output: torch.Tensor) -> None:
        """Move all samples on, and remember what the next steps look back to."""
        factor = factors.view(*factors.shape, 1, 1, 1)
        used = [bool(column.any()) for column in numbers[:, 2:].T]
        latents = factor[:, 0] * self._latents + factor[:, 1] * output
        for age, (sample, earlier) in enumerate(self._history):
            if used[2 + 2 * age]:
                latents = latents + factor[:, 2 + 2 * age] * sample
            if used[3 + 2 * age]:
                latents = latents + factor[:, 3 + 2 * age] * earlier
        noise = self._noise()
        if used[8] and noise is not None:
            latents = latents + factor[:, 8] * noise
        for index, picture in enumerate(self.seated):
            if isinstance(picture.course, OwnCourse):
                at = slice(index, index + 1)
                latents[at] = picture.course.step(output[at], self._latents[at], picture.evaluation)
        reach = max(picture.course.history for picture in self.seated)
        self._history = [(self._latents, output), *self._history][:reach]
        self._latents = latents

    def _noise(self) -> torch.Tensor | None:
        """One standard normal for every picture whose sampler draws one now, zeros for the others."""
        drawing = [picture.course.draws_noise(picture.evaluation) for picture in self.seated]
        if not any(drawing):
            return None
        shape = (1, *self._latents.shape[1:])
        drawn = [
            torch.randn(shape, generator=picture.generator) if draws else torch.zeros(shape)
            for picture, draws in zip(self.seated, drawing, strict=True)
        ]
        return torch.cat(drawn).to(self._device)
