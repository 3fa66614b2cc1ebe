"""Train the text encoder and the UNet together on cached latents, within a budget of minutes.

Noise prediction is v-prediction (Salimans & Ho 2022, https://arxiv.org/abs/2202.00512) with uniform
timesteps and a plain mean squared error.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTokenizer

from training.base_model.captions import BACKGROUNDS, make_caption
from training.base_model.networks import TextToLatents, build_noise_schedule
from training.base_model.samples import draw_grid
from training.base_model.schedule import learning_rate_share, update_average
from training.base_model.subjects import subjects

BATCH = 32
PEAK_LEARNING_RATE = 4e-4
WEIGHT_DECAY = 0.01
CAPTION_POOL = 200_000
SAVE_EVERY_S, SHOW_EVERY_S, LOG_EVERY_STEPS = 120, 600, 100


@dataclass(frozen=True)
class Rows:
    """Captions with what they say: token ids ``[n, 32]``, subject numbers ``[n]``, background numbers ``[n]``."""

    token_ids: Tensor
    subject: Tensor
    background: Tensor


@dataclass
class Run:
    """Everything that a checkpoint keeps."""

    model: TextToLatents
    average: TextToLatents
    optimiser: torch.optim.Optimizer
    step: int = 0
    elapsed: float = 0.0
    losses: list[float] = field(default_factory=list[float])

    def state(self) -> dict[str, Any]:
        """What ``restore`` takes."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.elapsed = state["step"], state["elapsed"]


def new_run(config: str) -> Run:
    """Fresh networks with their optimiser; only matrices outside the embeddings decay."""
    model, average = TextToLatents(config), TextToLatents(config)
    average.load_state_dict(model.state_dict())
    average.requires_grad_(False).eval()
    model.text_encoder.set_attn_implementation("eager")  # 5 % faster here; changes no result
    named = list(model.named_parameters())
    # Decay would pull the embeddings of words that no caption has to zero: concept training needs them alive.
    decaying = [value for name, value in named if value.ndim > 1 and "embedding" not in name]
    others = [value for name, value in named if value.ndim <= 1 or "embedding" in name]
    groups = [{"params": decaying, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.99), fused=True)
    return Run(model, average, optimiser)


def make_rows(tokenizer: CLIPTokenizer, count: int, seed: int) -> Rows:
    """Draw ``count`` captions, every subject equally often, and tokenise them once."""
    rng = np.random.default_rng(seed)
    subject = torch.arange(count) % len(subjects())
    captions = [make_caption(subjects()[int(number)], rng) for number in subject]
    colours = {name: number for number, name in enumerate(BACKGROUNDS)}
    ids = tokenizer(
        [caption.text for caption in captions],
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    ).input_ids
    return Rows(ids.int(), subject, torch.tensor([colours[caption.background] for caption in captions]))


def training_loss(model: TextToLatents, latents: Tensor, token_ids: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Mean squared error of v for latents ``[b, 4, 16, 16]`` at random timesteps."""
    noise = torch.randn_like(latents)
    timesteps = torch.randint(len(alphas_cumprod), (len(latents),))
    signal_share = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    signal, noise_level = signal_share.sqrt(), (1 - signal_share).sqrt()
    # PyTorch's flash attention for CPUs is slow backwards: without it a step takes a quarter less time.
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        predicted = model(signal * latents + noise_level * noise, timesteps, token_ids)
    return (predicted.float() - (signal * noise - noise_level * latents)).square().mean()


def train(work: Path, minutes: float, config: str, resume: bool, seed: int = 0) -> None:
    """Train for ``minutes`` in all (time before a resume counts); see the log, ``grids/`` and ``checkpoint.pt``."""
    torch.manual_seed(seed)
    run = new_run(config)
    if resume:
        run.restore(torch.load(work / "checkpoint.pt", weights_only=True))
    torch.manual_seed(seed + run.step)
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    rows = make_rows(tokenizer, CAPTION_POOL, seed)
    latents: Tensor = torch.load(work / "latents.pt", weights_only=True)
    alphas_cumprod = build_noise_schedule().alphas_cumprod
    before, start = run.elapsed, time.monotonic()
    reporter = Reporter(work, run.elapsed, run.elapsed)
    while run.elapsed < minutes * 60:
        for group in run.optimiser.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * learning_rate_share(run.elapsed / (minutes * 60), run.step)
        train_step(run, rows, latents, alphas_cumprod)
        run.elapsed = before + time.monotonic() - start
        reporter.report(run)
    reporter.save(run)
    reporter.show(run)


def train_step(run: Run, rows: Rows, latents: Tensor, alphas_cumprod: Tensor) -> None:
    """One step of the optimiser and the average on a random batch."""
    chosen = torch.randint(len(rows.subject), (BATCH,))
    variant = torch.randint(latents.shape[2], (BATCH,))
    wanted = latents[rows.subject[chosen], rows.background[chosen], variant].float()
    loss = training_loss(run.model, wanted, rows.token_ids[chosen].long(), alphas_cumprod)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimiser.step()
    run.step += 1
    run.losses.append(loss.item())
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
            mean = sum(run.losses) / len(run.losses)
            print(f"step {run.step} rows {run.step * BATCH} {run.elapsed:.0f} s loss {mean:.4f}", flush=True)
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
