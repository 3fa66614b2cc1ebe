"""Train the autoencoder: pictures ``[b, 3, n, n]`` ↔ latents ``[b, c, 16, 16]``.

The architecture is TAESD's (diffusers ``AutoencoderTiny``), trained from nothing on a pixel loss. It sees
all pictograms, every style and gradients, not only the subjects of the diffusion model, so that it also
carries the pictures that members bring. Subjects held out for concept training are only measured with.
"""

from __future__ import annotations

import copy
import math
import time
from functools import partial
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from PIL import Image
from torch import Tensor, nn

from training.base_model.compiling import compile_checked
from training.base_model.configs import Config
from training.base_model.icons import IconSet, present
from training.base_model.pictures import over, place_icons, uniform
from training.base_model.schedule import learning_rate_share, update_average

PEAK_LEARNING_RATE = 2e-3
LATENT_NOISE = 0.05  # the decoder must not depend on the last digit of what diffusion draws
LOG_EVERY_STEPS = 100
WHITE_SHARE, GRADIENT_SHARE = 0.33, 0.2  # of backgrounds; the others are of one colour, any
PICTURES_PER_HELD_OUT_ICON = 16


def build_autoencoder(config: Config) -> AutoencoderTiny:
    """A small AutoencoderTiny; its encoder needs one width for all levels."""
    levels = len(config.encoder_blocks)
    return AutoencoderTiny(
        latent_channels=config.latent_channels,
        encoder_block_out_channels=(config.autoencoder_channels,) * levels,
        decoder_block_out_channels=(config.autoencoder_channels,) * levels,
        num_encoder_blocks=config.encoder_blocks,
        num_decoder_blocks=config.decoder_blocks,
        scaling_factor=1.0,
        force_upcast=False,
    )


def load_autoencoder(work: Path) -> AutoencoderTiny:
    """The trained autoencoder of a run, for drawing and encoding."""
    return AutoencoderTiny.from_pretrained(work / "autoencoder").float().eval()


def training_icons(icon_set: IconSet) -> Tensor:
    """``[n, 4, s, s]``: every icon that may be trained on."""
    return torch.cat([icon_set.icons[present(icon_set.icons)], icon_set.others])


def random_backgrounds(count: int, size: int, generator: torch.Generator) -> Tensor:
    """``[count, 3, size, size]`` in 0..1: white, one colour, or a smooth gradient between four corners' colours."""
    device = generator.device
    kind = uniform(count, 0.0, 1.0, generator)[:, None, None, None]
    corners = torch.rand(count, 3, 2, 2, generator=generator, device=device)
    corners = torch.where(kind < 1 - GRADIENT_SHARE, corners[:, :, :1, :1].expand_as(corners), corners)
    corners = torch.where(kind < WHITE_SHARE, torch.ones_like(corners), corners)
    return nn.functional.interpolate(corners, (size, size), mode="bilinear", align_corners=True)


def draw_pictures(icons: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures ``[b, 3, n, n]`` in -1..1 of ``icons [b, 4, n, n]`` (uint8), anywhere near the middle, of any size."""
    count, size = len(icons), icons.shape[-1]
    upright, unflipped = torch.zeros(count, device=icons.device), torch.ones(count, device=icons.device)
    scale = uniform(count, 0.6, 1.3, generator)
    right, down = (uniform(count, -0.125, 0.125, generator) for _ in range(2))
    placements = torch.stack([scale, right, down, upright, unflipped], -1)
    layers = place_icons(icons.float() / 255, placements, size)
    return over(layers, random_backgrounds(count, size, generator)) * 2 - 1


def held_out_pictures(icon_set: IconSet, device: torch.device) -> Tensor:
    """``[n, 3, s, s]`` in -1..1, always the same: what reconstruction is measured with."""
    icons = icon_set.held_out_icons[present(icon_set.held_out_icons)].to(device)
    return draw_pictures(icons.repeat(PICTURES_PER_HELD_OUT_ICON, 1, 1, 1), torch.Generator(device).manual_seed(0))


def reconstruction_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """L1 + L2 + L1 of the differences of neighbouring pixels (sharp edges are what pictograms are)."""
    error = made - wanted
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 2 * error.square().mean() + edges


@torch.no_grad()
def psnr(model: AutoencoderTiny, pictures: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of reconstructions of ``pictures [n, 3, s, s]``."""
    errors = [
        (decode(model, encode(model, part)).clamp(-1, 1) - part).square().mean((1, 2, 3))
        for part in pictures.split(64)
    ]
    return -10 * math.log10(torch.cat(errors).mean().item() / 4)


def encode(model: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Unscaled latents ``[b, c, 16, 16]``."""
    (latents,) = model.encode(pictures, return_dict=False)
    return latents


def decode(model: AutoencoderTiny, latents: Tensor) -> Tensor:
    """Pictures ``[b, 3, n, n]`` of unscaled latents."""
    (pictures,) = model.decode(latents, return_dict=False)
    return pictures


def autoencoder_loss(model: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Loss of reconstructing ``pictures [b, 3, n, n]`` from slightly noisy latents."""
    with torch.autocast(pictures.device.type, torch.bfloat16):  # twice as fast as float32, on a CPU too
        latents = encode(model, pictures)
        made = decode(model, latents + LATENT_NOISE * torch.randn_like(latents))
    # A weak pull keeps latents in the range that the decoder's tanh(x / 3) * 3 lets through.
    return reconstruction_loss(made.float(), pictures) + 1e-3 * latents.float().square().mean()


def compile_autoencoder(model: AutoencoderTiny) -> None:
    """Run both halves through ``torch.compile`` from now on."""
    model.encoder.compile()
    model.decoder.compile()


def train_autoencoder(
    work: Path,
    icon_set: IconSet,
    config: Config,
    *,
    minutes: float,
    device: torch.device,
    compiled: bool = False,
    decoder_only: bool = False,
    seed: int = 0,
) -> None:
    """Train for ``minutes``, not counting what compiling takes, and save to ``work/autoencoder``.

    With ``decoder_only`` go on with what lies there but leave the encoder as it is, so that latents cached
    meanwhile, and a diffusion model that learns them, stay valid.
    """
    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    icons, unseen = training_icons(icon_set).to(device), held_out_pictures(icon_set, device)
    model = load_autoencoder(work) if decoder_only else build_autoencoder(config)
    nn.Module.to(model, device)
    model.encoder.requires_grad_(not decoder_only)
    average = copy.deepcopy(model).eval()

    def loss_of_a_batch() -> Tensor:
        chosen = torch.randint(len(icons), (config.autoencoder_batch,), generator=generator, device=device)
        return autoencoder_loss(model, draw_pictures(icons[chosen], generator))

    if compiled:
        compile_checked(model, partial(compile_autoencoder, model), loss_of_a_batch)
    learning = [value for value in model.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    start, step = time.monotonic(), 0
    while (elapsed := time.monotonic() - start) < minutes * 60:
        for group in optimiser.param_groups:
            group["lr"] = PEAK_LEARNING_RATE * learning_rate_share(elapsed / (minutes * 60), step)
        loss = loss_of_a_batch()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        step += 1
        update_average(average, model, step)
        if step % LOG_EVERY_STEPS == 0:
            quality = psnr(average, unseen[:64])
            print(f"step {step} {elapsed:.0f} s loss {loss.item():.4f} unseen PSNR {quality:.2f} dB", flush=True)
    seen = draw_pictures(icons[torch.randint(len(icons), (256,), generator=generator, device=device)], generator)
    if not decoder_only:
        set_scaling_factor(average, seen)
    print(f"{step} steps, unseen PSNR {psnr(average, unseen):.2f} dB, seen {psnr(average, seen):.2f} dB", flush=True)
    nn.Module.to(average, "cpu")
    average.save_pretrained(work / "autoencoder")
    draw_comparison(average, unseen[:16].cpu(), work / "autoencoder.png")


@torch.no_grad()
def set_scaling_factor(model: AutoencoderTiny, pictures: Tensor) -> None:
    """The factor that gives the latents of ``pictures`` unit standard deviation goes into the configuration."""
    latents = torch.cat([encode(model, part) for part in pictures.split(64)])
    model.register_to_config(scaling_factor=1 / latents.std().item())
    print(f"latents mean {latents.mean((0, 2, 3)).tolist()} std {latents.std((0, 2, 3)).tolist()}")


@torch.no_grad()
def draw_comparison(model: AutoencoderTiny, pictures: Tensor, file: Path) -> None:
    """Pictures ``[n, 3, s, s]`` above their reconstructions."""
    both = torch.cat([pictures, decode(model, encode(model, pictures)).clamp(-1, 1)])
    grid = both.unflatten(0, (2, -1)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    Image.fromarray(grid.add(1).mul(127.5).round().byte().numpy()).save(file)
