"""Train the text encoder and the UNet together, within a budget of minutes, on a CPU or a CUDA GPU.

Noise prediction is v-prediction (Salimans & Ho 2022, https://arxiv.org/abs/2202.00512) with a plain
mean squared error, most often at the noise levels that decide shapes (``timestep_shares``).
"""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.base_model.compiling import compile_checked
from training.base_model.configs import Config
from training.base_model.networks import TextToLatents, build_noise_schedule
from training.base_model.samples import draw_grid
from training.base_model.schedule import learning_rate_share, update_average

WEIGHT_DECAY = 0.01
LITTLE_NOISE, WRONG_CAPTION_SHARE = 300, 0.5  # below that timestep so many captions are wrong, see training_loss
EVEN_SHARE, LOGIT_MEAN, LOGIT_DEVIATION = 0.25, -0.3, 0.9  # of timesteps, see timestep_shares
SAVE_EVERY_S, SHOW_EVERY_S, LOG_EVERY_STEPS = 120, 600, 100
ENDING_S = 20
"""What the last checkpoint and the last pictures of a call need."""


class TrainingSet(Protocol):
    """Where batches come from."""

    def batch(self, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Latents ``[size, c, h, w]`` and token ids ``[size, 32]``."""
        ...


@dataclass
class Run:
    """Everything that a checkpoint keeps."""

    config: Config
    model: TextToLatents
    average: TextToLatents
    optimiser: torch.optim.Optimizer
    step: int = 0
    elapsed: float = 0.0
    losses: list[Tensor] = field(default_factory=list[Tensor])

    def state(self) -> dict[str, Any]:
        """What ``restore`` takes."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "config": self.config.name,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.elapsed = state["step"], state["elapsed"]


def new_run(config: Config, device: torch.device, start_from: Path | None = None) -> Run:
    """Fresh networks, or those of a model folder, with their optimiser."""
    model, average = TextToLatents(config), TextToLatents(config)
    if start_from is not None:
        model.load_folder(start_from)
    average.load_state_dict(model.state_dict())
    average.requires_grad_(False).eval()
    model.text_encoder.set_attn_implementation("eager")  # 5 % faster on a CPU; changes no result
    model.to(device)
    average.to(device)
    named = list(model.named_parameters())
    # Decay would pull the embeddings of words that no caption has to zero: concept training needs them alive.
    decaying = [value for name, value in named if value.ndim > 1 and "embedding" not in name]
    others = [value for name, value in named if value.ndim <= 1 or "embedding" in name]
    groups = [{"params": decaying, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=config.peak_learning_rate, betas=(0.9, 0.99), fused=True)
    return Run(config, model, average, optimiser)


@cache
def timestep_shares(count: int) -> Tensor:
    """How often to train at each of ``count`` timesteps ``[count]``: a quarter evenly, the rest in the middle.

    The middle is a logit-normal distribution (Esser et al. 2024, https://arxiv.org/abs/2403.03206): there the shapes
    are decided. Even shares would give four steps of ten to almost pure noise, where only the background is.
    """
    position = (torch.arange(count) + 0.5) / count
    logit = position.logit()
    middle = torch.exp(-(((logit - LOGIT_MEAN) / LOGIT_DEVIATION) ** 2) / 2) / (position * (1 - position))
    return EVEN_SHARE / count + (1 - EVEN_SHARE) * middle / middle.sum()


def training_loss(model: TextToLatents, latents: Tensor, token_ids: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Mean squared error of v for latents ``[b, c, h, w]`` at random timesteps.

    At little noise half of the captions are those of other rows. There the picture should decide, not the words, so
    that image to image keeps what it started from at small strengths. (What guidance does there is mostly harm:
    Kynkäänniemi et al. 2024, https://arxiv.org/abs/2404.07724.)
    """
    noise = torch.randn_like(latents)
    shares = timestep_shares(len(alphas_cumprod))
    timesteps = torch.multinomial(shares, len(latents), replacement=True).to(latents.device)
    wrong = (timesteps < LITTLE_NOISE) & (torch.rand(len(latents)) < WRONG_CAPTION_SHARE).to(latents.device)
    token_ids = torch.where(wrong[:, None], token_ids.roll(1, 0), token_ids)
    signal_share = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    signal, noise_level = signal_share.sqrt(), (1 - signal_share).sqrt()
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(latents.device.type, torch.bfloat16))
        if latents.device.type == "cpu":
            # PyTorch's flash attention for CPUs is slow backwards: without it a step takes a quarter less time.
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        predicted = model(signal * latents + noise_level * noise, timesteps, token_ids)
    return (predicted.float() - (signal * noise - noise_level * latents)).square().mean()


def train(
    work: Path,
    training_set: TrainingSet,
    config: Config,
    *,
    minutes: float,
    deadline: float = math.inf,
    start_from: Path | None = None,
    device: torch.device,
    compiled: bool = False,
    seed: int = 0,
) -> Run:
    """Train for ``minutes`` in all; see the log, ``grids/`` and ``checkpoint.pt``, from which a further call goes on.

    A call is over by the ``deadline`` (of ``time.monotonic``), checkpoint and pictures included. The learning rate
    follows the share of ``minutes`` that has gone by, so that the run ends when told, whatever else the machine does.
    Compiling doesn't count as training.
    """
    torch.manual_seed(seed)
    run = new_run(config, device, start_from)
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        run.restore(load_checkpoint(checkpoint, config, device))
        print(f"going on from step {run.step}, {run.elapsed / 60:.1f} minutes", flush=True)
    alphas_cumprod = build_noise_schedule().alphas_cumprod.to(device)
    if compiled:
        batch = training_set.batch(config.batch, device)
        loss = partial(training_loss, run.model, *batch, alphas_cumprod)
        compile_checked(run.model, run.model.compile_unet, loss)
    before, start = run.elapsed, time.monotonic()
    last = min(minutes * 60, before + deadline - ENDING_S - start)
    reporter = Reporter(work, run.elapsed, run.elapsed)
    while run.elapsed < last:
        rate = config.peak_learning_rate * learning_rate_share(run.elapsed / (minutes * 60), run.step)
        for group in run.optimiser.param_groups:
            group["lr"] = rate
        torch.manual_seed(seed + run.step)  # a run that goes on draws what it would have drawn uninterrupted
        train_step(run, *training_set.batch(config.batch, device), alphas_cumprod)
        run.elapsed = before + time.monotonic() - start
        reporter.report(run)
    if run.elapsed > before:
        reporter.save(run)
        reporter.show(run)
    return run


def load_checkpoint(file: Path, config: Config, device: torch.device, mmap: bool = False) -> dict[str, Any]:
    """What ``Run.state`` gave; raises RuntimeError if it is of another configuration."""
    state: dict[str, Any] = torch.load(file, weights_only=True, map_location=device, mmap=mmap)
    name = state.get("config", config.name)  # checkpoints didn't always have it
    if name != config.name:
        message = f"{file} is a run of the configuration {name}, not {config.name}: delete it, or take another folder"
        raise RuntimeError(message)
    return state


def minutes_trained(checkpoint: Path, config: Config) -> float:
    """How much of the budget is used up."""
    if not checkpoint.exists():
        return 0.0
    return load_checkpoint(checkpoint, config, torch.device("cpu"), mmap=True)["elapsed"] / 60


def train_step(run: Run, latents: Tensor, token_ids: Tensor, alphas_cumprod: Tensor) -> None:
    """One step of the optimiser and the average."""
    loss = training_loss(run.model, latents, token_ids, alphas_cumprod)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimiser.step()
    run.step += 1
    run.losses.append(loss.detach())  # not .item(): that would wait for the GPU at every step
    update_average(run.average, run.model, run.step)


@dataclass
class Reporter:
    """Log, checkpoint and pictures of a run, each in its own rhythm."""

    work: Path
    saved: float
    shown: float

    def report(self, run: Run) -> None:
        """Whatever is due after a step."""
        if run.step % LOG_EVERY_STEPS == 0:
            mean = torch.stack(run.losses).mean().item()
            rows = run.step * run.config.batch
            print(f"step {run.step} rows {rows} {run.elapsed:.0f} s loss {mean:.4f}", flush=True)
            run.losses.clear()
        if run.elapsed - self.saved > SAVE_EVERY_S:
            self.save(run)
        if run.elapsed - self.shown > SHOW_EVERY_S:
            self.show(run)

    def save(self, run: Run) -> None:
        """Write beside and rename, so that a broken-off write never costs the run."""
        file = self.work / "checkpoint.pt"
        torch.save(run.state(), file.with_suffix(".tmp"))
        file.with_suffix(".tmp").replace(file)
        self.saved = run.elapsed

    def show(self, run: Run) -> None:
        """Draw the sample pictures."""
        draw_grid(self.work, run.average, self.work / "grids" / f"{run.step:06d}.png")
        self.shown = run.elapsed
