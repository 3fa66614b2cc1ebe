"""The steps themselves: what a step draws, its gradient in pieces, the optimizer, and a loss without chance.

Prior preservation as in Ruiz et al. 2022 (arXiv:2208.12242, equation 2): rows of photos and rows of class pictures,
each with its own timestep and its own weight of it; the two means are added, the second times `prior_loss_weight`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from generation.conditioning import Conditioning
from generation.schedulers import noise_levels
from training.chance import choose, generator_of, pick, spread_timesteps
from training.checkpoint import load_optimizer, optimizer_tensors
from training.losses import noised, row_losses, snr_weights, target
from training.networks import attention
from training.teacher import Teacher
from training.templates import PLAIN, class_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from torch import Tensor

    from generation.model import LoadedModel
    from training.dataset import Latents
    from training.defaults import TrainingSettings
    from training.learner import Learner
    from training.order import TrainingOrder

_HALF_SCALE = 1024.0
"""Losses are multiplied by it in float16, where small gradients would be zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What a step trains on, on the CPU."""

    latents: Tensor
    """[rows, channels, h, w]"""
    noise: Tensor
    timesteps: Tensor
    """[rows]"""
    captions: list[str]
    weights: Tensor
    """How much each row's loss counts, [rows]."""
    of_class: Tensor
    """Which rows are class pictures, bool [rows]."""

    def part(self, which: slice) -> Rows:
        return Rows(
            self.latents[which],
            self.noise[which],
            self.timesteps[which],
            self.captions[which],
            self.weights[which],
            self.of_class[which],
        )

    def parts(self, rows: int) -> list[Rows]:
        """In pieces of at most so many rows."""
        return [self.part(slice(start, start + rows)) for start in range(0, len(self.captions), rows)]


class Optimization:
    """One learner on its photos."""

    def __init__(
        self,
        model: LoadedModel,
        learner: Learner,
        order: TrainingOrder,
        settings: TrainingSettings,
        photos: Latents,
        held_out: Latents | None,
        prior: Latents | None,
    ) -> None:
        """`photos` are trained on; the deterministic loss is taken on `held_out`, or on all of them without it."""
        self.step = 0
        self._model, self._learner, self._order, self._settings = model, learner, order, settings
        self._photos, self._held_out, self._prior = photos, held_out, prior
        self._levels = noise_levels(model.scheduler_config)
        self._encoded: dict[str, Conditioning] = {}
        taught = prior is not None and settings.prior_from_model
        self._teacher = Teacher(model, *settings.picture_size(model.info)) if taught else None
        self._groups = learner.groups()
        self._parameters = [parameter for group in self._groups for parameter in group.parameters]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": group.parameters, "lr": group.learning_rate, "weight_decay": group.weight_decay}
                for group in self._groups
            ],
            fused=True,
        )
        self._scale = _HALF_SCALE if model.dtype == torch.float16 else 1.0

    def take_step(self) -> Generator[None, None, None]:
        """One step of the optimizer; yields between its micro-steps."""
        generator = generator_of(self._order.job, self.step)
        parts = self._draw(generator).parts(self._settings.micro_rows)
        for number, part in enumerate(parts):
            if number:
                yield
            self._add_gradient(part)
        self._update()

    def evaluate(self) -> Generator[None, None, float]:
        """The deterministic loss: the same timesteps and noise each time; yields between its micro-steps."""
        total = 0.0
        rows = self._evaluation_rows()
        for number, part in enumerate(rows.parts(max(self._settings.micro_rows, 1))):
            if number:
                yield
            with torch.no_grad(), attention(self._model):
                total += float(self._losses(part).sum())
        return total / len(rows.captions)

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint; not copied."""
        learner = {f"learner.{name}": value for name, value in self._learner.state().items()}
        return learner | {f"optimizer.{key}": value for key, value in optimizer_tensors(self._optimizer).items()}

    def load(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        parts: dict[str, dict[str, Tensor]] = {"learner": {}, "optimizer": {}}
        for key, value in tensors.items():
            kind, name = key.split(".", 1)
            parts[kind][name] = value
        self._learner.load_state(parts["learner"])
        load_optimizer(self._optimizer, parts["optimizer"])
        self.step = step

    # ── what a step is made of ──

    def _draw(self, generator: torch.Generator) -> Rows:
        """All chance of a step, in a fixed order."""
        settings, size = self._settings, self._settings.batch_size
        caption = self._learner.instance_caption(pick(settings.templates, generator))
        own = self._rows(self._photos, size, settings.flip, caption, 1 / size, generator)
        if self._prior is None:
            return own
        weight = settings.prior_loss_weight / size
        unconditional = float(torch.rand(1, generator=generator)) < settings.unconditional_prior
        of_class = "" if unconditional else class_prompt(self._order.class_word)
        prior = self._rows(self._prior, size, 0.0, of_class, weight, generator)
        # One of each side by side, so that every micro-step has both.
        at = torch.arange(2 * size).view(2, size).T.flatten()
        captions = [*own.captions, *prior.captions]
        return Rows(
            torch.cat([own.latents, prior.latents])[at],
            torch.cat([own.noise, prior.noise])[at],
            torch.cat([own.timesteps, prior.timesteps])[at],
            [captions[index] for index in at.tolist()],
            torch.cat([own.weights, prior.weights])[at],
            at >= size,
        )

    def _rows(
        self, pictures: Latents, size: int, flip: float, caption: str, weight: float, generator: torch.Generator
    ) -> Rows:
        which = choose(len(pictures), size, generator)
        mirrored = torch.rand(size, generator=generator) < flip
        latents = pictures.draw(which, mirrored, generator)
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = spread_timesteps(size, self._settings.first_timestep, len(self._levels), generator)
        snr = snr_weights(self._model.info.prediction_type, self._levels[timesteps], self._settings.snr_gamma)
        named = torch.rand(size, generator=generator) < self._settings.name_backgrounds
        captions = [
            pictures.caption(caption, index) if with_words and caption else caption
            for index, with_words in zip(which.tolist(), named.tolist(), strict=True)
        ]
        return Rows(latents, noise, timesteps, captions, weight * snr, torch.zeros(size, dtype=torch.bool))

    def _evaluation_rows(self) -> Rows:
        pictures = self._photos if self._held_out is None else self._held_out
        count, generator = self._settings.evaluation_rows, generator_of(self._order.job, "evaluation")
        first, last = self._settings.first_timestep, len(self._levels)
        timesteps = (first + (torch.arange(count) + 0.5) / count * (last - first)).long()
        which = torch.arange(count) % len(pictures)
        latents = pictures.mean[which, 0]
        noise = torch.randn(latents.shape, generator=generator)
        caption = self._learner.instance_caption(PLAIN[0])
        captions = [pictures.caption(caption, index) for index in which.tolist()]
        return Rows(latents, noise, timesteps, captions, torch.ones(count), torch.zeros(count, dtype=torch.bool))

    def _losses(self, rows: Rows) -> Tensor:
        """Of each row, weighted, [rows]."""
        device, kind = self._model.device, self._model.info.prediction_type
        levels = self._levels[rows.timesteps].to(device)
        latents, noise = rows.latents.to(device), rows.noise.to(device)
        noisy, timesteps = noised(latents, noise, levels), rows.timesteps.to(device)
        predicted = self._learner.predict(noisy, timesteps, self._conditioning(rows.captions))
        goal = target(kind, latents, noise, levels)
        if self._teacher is not None and bool(rows.of_class.any()):
            which = rows.of_class.nonzero()[:, 0]
            captions, at = [rows.captions[index] for index in which.tolist()], which.to(device)
            goal = goal.index_copy(0, at, self._teacher.predict(noisy[at], timesteps[at], captions))
        return row_losses(predicted, goal) * rows.weights.to(device)

    def _add_gradient(self, rows: Rows) -> None:
        with torch.enable_grad(), attention(self._model):
            (self._losses(rows).sum() * self._scale).backward()
        if self._model.device.type == "cuda":
            torch.cuda.synchronize()  # who shares the card out has to see how long it took

    @torch.no_grad()
    def _update(self) -> None:
        if self._scale != 1.0:
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad /= self._scale
        norm = nn.utils.clip_grad_norm_(self._parameters, self._settings.max_grad_norm)
        warmup = min(1.0, (self.step + 1) / max(1, self._settings.warmup_steps))
        decay = 1 - (1 - self._settings.final_rate) * self.step / self._settings.max_steps
        for group, own in zip(self._optimizer.param_groups, self._groups, strict=True):
            group["lr"] = own.learning_rate * warmup * decay
        if self._scale == 1.0 or bool(torch.isfinite(norm)):  # in float16 a gradient may overflow: skip that step
            self._optimizer.step()
            self._learner.after_step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1

    # ── captions ──

    def _conditioning(self, captions: Sequence[str]) -> Conditioning:
        """One row for each caption; equal ones are encoded once."""
        unique = list(dict.fromkeys(captions))
        if self._learner.trains_text:
            encoded = self._learner.encode(unique)
        else:
            encoded = _stacked([self._known(caption) for caption in unique])
        if len(unique) == 1:
            return _each(encoded, lambda values: values.expand(len(captions), *values.shape[1:]))
        at = torch.tensor([unique.index(caption) for caption in captions], device=encoded.hidden.device)
        # Not `values[at]`: several threads sum its gradient in any order, and a resumed training would differ.
        return _each(encoded, lambda values: values.index_select(0, at))

    @torch.no_grad()
    def _known(self, caption: str) -> Conditioning:
        if caption not in self._encoded:
            with attention(self._model):
                self._encoded[caption] = self._learner.encode([caption])
        return self._encoded[caption]


def _stacked(texts: Sequence[Conditioning]) -> Conditioning:
    added = {name: torch.cat([text.added[name] for text in texts]) for name in texts[0].added}
    return Conditioning(torch.cat([text.hidden for text in texts]), added)


def _each(text: Conditioning, change: Callable[[Tensor], Tensor]) -> Conditioning:
    return Conditioning(change(text.hidden), {name: change(values) for name, values in text.added.items()})
