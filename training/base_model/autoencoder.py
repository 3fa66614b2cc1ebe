"""Train the factor-4 autoencoder: pictures ``[b, 3, 64, 64]`` ↔ latents ``[b, 4, 16, 16]``.

The architecture is TAESD's (diffusers ``AutoencoderTiny``), trained from nothing on a pixel loss. It sees
all plain icons, several styles and gradients, not only the subjects of the diffusion model, so that it
also carries the pictures that members bring. Subjects held out for concept training are never shown.
"""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from PIL import Image
from torch import Tensor, nn

from training.base_model.data import (
    PICTURE_SIZE,
    Colour,
    Geometry,
    Pixels,
    compose,
    crop_to_content,
    is_plain_icon,
    load_icon_set,
    render_icon,
)
from training.base_model.schedule import learning_rate_share, update_average
from training.base_model.subjects import held_out_icons

LATENT_CHANNELS = 4
CHANNELS = 48
BATCH = 32
PEAK_LEARNING_RATE = 2e-3
LATENT_NOISE = 0.05  # the decoder must not depend on the last digit of what diffusion draws
STYLES = {"iconify-json-noto": 2, "iconify-json-twemoji": 1, "iconify-json-fluent-emoji-flat": 1}
"""Icon sets and how many pictures are made of each icon."""


def build_autoencoder() -> AutoencoderTiny:
    """A small AutoencoderTiny; its encoder needs one width for all three levels."""
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(CHANNELS,) * 3,
        decoder_block_out_channels=(CHANNELS,) * 3,
        num_encoder_blocks=(1, 2, 2),
        num_decoder_blocks=(3, 2, 1),
        scaling_factor=1.0,
        force_upcast=False,
    )


def is_held_out(name: str) -> bool:
    """Does the icon show a held-out subject, in any style or combination ("circus-tent")?"""
    words = f"-{name}-"
    return name == "camping" or any(f"-{subject}-" in words for subject in held_out_icons())


def random_background(rng: np.random.Generator) -> Colour | Pixels:
    """A plain colour (white a third of the time) or, one time in five, a smooth gradient."""
    kind = rng.random()
    if kind < 0.33:
        return (255, 255, 255)
    if kind < 0.8:
        red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
        return (red, green, blue)
    corners = rng.uniform(0, 255, (2, 2, 3))
    ramp = np.linspace(0, 1, PICTURE_SIZE)
    across = corners[:, :1] * (1 - ramp)[None, :, None] + corners[:, 1:] * ramp[None, :, None]
    both = across[:1] * (1 - ramp)[:, None, None] + across[1:] * ramp[:, None, None]
    return both.astype(np.uint8)


def make_pictures(packages: Path, held_out: bool, seed: int = 0) -> Pixels:
    """Pictures ``[n, 64, 64, 3]`` of plain icons in random places and sizes.

    Either of every icon that is not held out (for training), or of the held-out ones (to measure with).
    """
    rng = np.random.default_rng(seed)
    pictures: list[Pixels] = []
    for style, copies in STYLES.items():
        for name, svg in load_icon_set(packages / style).items():
            if not is_plain_icon(name) or is_held_out(name) != held_out:
                continue
            icon = crop_to_content(render_icon(svg))
            for _ in range(copies):
                geometry = Geometry(rng.uniform(0.6, 1.3), rng.uniform(-8, 8), rng.uniform(-8, 8))
                pictures.append(compose(icon, random_background(rng), geometry))
    rng.shuffle(pictures)  # type: ignore[arg-type]
    return np.stack(pictures)


def to_unit_range(pictures: Tensor) -> Tensor:
    """uint8 ``[n, 64, 64, 3]`` → float ``[n, 3, 64, 64]`` in -1..1, as diffusers pipelines have it."""
    return pictures.permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


def reconstruction_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """L1 + L2 + L1 of the differences of neighbouring pixels (sharp edges are what pictograms are)."""
    error = made - wanted
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 2 * error.square().mean() + edges


@torch.no_grad()
def psnr(model: AutoencoderTiny, pictures: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of reconstructions of ``pictures [n, 3, 64, 64]``."""
    model.eval()
    error = decode(model, encode(model, pictures)).clamp(-1, 1) - pictures
    model.train()
    return -10 * math.log10(error.square().mean().item() / 4)


def encode(model: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Unscaled latents ``[b, 4, 16, 16]``."""
    (latents,) = model.encode(pictures, return_dict=False)
    return latents


def decode(model: AutoencoderTiny, latents: Tensor) -> Tensor:
    """Pictures ``[b, 3, 64, 64]`` of unscaled latents."""
    (pictures,) = model.decode(latents, return_dict=False)
    return pictures


def train_autoencoder(work: Path, packages: Path, minutes: float, decoder_only: bool = False, seed: int = 0) -> None:
    """Train for ``minutes`` and save to ``work/autoencoder``.

    With ``decoder_only`` go on with what lies there but leave the encoder as it is, so that latents cached
    meanwhile, and a diffusion model that learns them, stay valid.
    """
    torch.manual_seed(seed)
    pictures = torch.from_numpy(make_pictures(packages, held_out=False, seed=seed))
    unseen = to_unit_range(torch.from_numpy(make_pictures(packages, held_out=True)))
    model = AutoencoderTiny.from_pretrained(work / "autoencoder") if decoder_only else build_autoencoder()
    model.encoder.requires_grad_(not decoder_only)
    average = copy.deepcopy(model)
    learning = [value for value in model.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    start, step = time.monotonic(), 0
    while (elapsed := time.monotonic() - start) < minutes * 60:
        for group in optimiser.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * learning_rate_share(elapsed / (minutes * 60), step)
        loss = autoencoder_loss(model, to_unit_range(pictures[torch.randint(len(pictures), (BATCH,))]))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        step += 1
        update_average(average, model, step)
        if step % 100 == 0:
            quality = psnr(average, unseen[:64])
            print(f"step {step} {elapsed:.0f} s loss {loss.item():.4f} unseen PSNR {quality:.2f} dB", flush=True)
    save(average, unseen, work)


def autoencoder_loss(model: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Loss of reconstructing ``pictures [b, 3, 64, 64]`` from slightly noisy latents."""
    with torch.autocast("cpu", torch.bfloat16):  # twice as fast as float32
        latents = encode(model, pictures)
        made = decode(model, latents + LATENT_NOISE * torch.randn_like(latents))
    # A weak pull keeps latents in the range that the decoder's tanh(x / 3) * 3 lets through.
    return reconstruction_loss(made.float(), pictures) + 1e-3 * latents.float().square().mean()


@torch.no_grad()
def save(model: AutoencoderTiny, unseen: Tensor, work: Path) -> None:
    """Write the model with the scaling factor that gives its latents unit standard deviation."""
    latents = encode(model, unseen)
    model.register_to_config(scaling_factor=1 / latents.std().item())
    model.save_pretrained(work / "autoencoder")
    print(f"unseen PSNR {psnr(model, unseen):.2f} dB, latents mean {latents.mean((0, 2, 3))} std {latents.std()}")
    both = torch.cat([unseen[:16], decode(model, latents[:16]).clamp(-1, 1)])
    grid = both.unflatten(0, (2, 16)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    Image.fromarray(grid.add(1).mul(127.5).round().byte().numpy()).save(work / "autoencoder.png")
