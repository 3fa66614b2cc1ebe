"""Pictures ↔ latents, always one picture at a time, and the first noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from generation.model import LoadedModel
    from generation.schedulers import Scheduler


class NotFinite(ArithmeticError):
    """The model's numbers ran out of range (NaN or infinity), so there is no picture."""


def generators_of(seeds: list[int]) -> list[torch.Generator]:
    """One CPU generator per picture, so that a seed means the same on every device."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def noise(model: LoadedModel, generators: list[torch.Generator], width: int, height: int) -> torch.Tensor:
    """Standard normal `[images, channels, h / factor, w / factor]` float32, drawn as the stock pipelines draw it."""
    factor = model.vae_scale_factor
    channels = model.unet_config.in_channels
    shape = (len(generators), channels, height // factor, width // factor)
    return randn_tensor(shape, generator=generators, device=model.device, dtype=torch.float32)


@torch.no_grad()
def encode_image(
    model: LoadedModel, image: Image.Image, generators: list[torch.Generator], width: int, height: int
) -> torch.Tensor:
    """Scaled latents of the picture, cut to cover `width`×`height`: one per generator, one encode for all."""
    encoded: Any = model.vae.encode(to_tensor(image, width, height).to(model.device, model.vae.dtype))
    if hasattr(encoded, "latent_dist"):
        latents = torch.cat([encoded.latent_dist.sample(generator) for generator in generators])
    else:
        latents = encoded.latents.repeat(len(generators), 1, 1, 1)
    return scaled(model, latents)


def scaled(model: LoadedModel, raw: torch.Tensor) -> torch.Tensor:
    """What the VAE made, `[images, channels, h, w]`, as the UNet wants it: of about unit variance."""
    mean, deviation = _statistics(model, raw)
    return (raw - mean) * model.vae_config.scaling_factor / deviation


def unscaled(model: LoadedModel, latents: torch.Tensor) -> torch.Tensor:
    """The way back, for the VAE, in its precision."""
    mean, deviation = _statistics(model, latents)
    return (latents * deviation / model.vae_config.scaling_factor + mean).to(model.vae.dtype)


def _statistics(model: LoadedModel, like: torch.Tensor) -> tuple[torch.Tensor | float, torch.Tensor | float]:
    """Mean and deviation of each channel where the VAE's configuration has them, as diffusers' SDXL pipelines do."""
    config: Any = model.vae_config
    mean, deviation = config.get("latents_mean"), config.get("latents_std")
    if mean is None or deviation is None:
        return 0.0, 1.0
    return like.new_tensor(mean).view(1, -1, 1, 1), like.new_tensor(deviation).view(1, -1, 1, 1)


def noised(scheduler: Scheduler, latents: torch.Tensor, fresh: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """Where image-to-image starts: `latents` with as much of `fresh` noise as there is at `timestep`."""
    return scheduler.add_noise(latents, fresh, timestep.reshape(1).repeat(len(latents)))


@torch.no_grad()
def decode_latents(model: LoadedModel, latents: torch.Tensor) -> Image.Image:
    """One picture from scaled latents `[1, channels, h, w]`.

    Raises:
        NotFinite: in the latents, or in what the decoder makes of them (float16 overflows there).
    """
    if not torch.isfinite(latents).all():
        raise NotFinite("latents")
    vae: Any = model.vae
    pixels: torch.Tensor = vae.decode(unscaled(model, latents), return_dict=False)[0]
    if not torch.isfinite(pixels).all():
        raise NotFinite("pixels")
    return to_image(pixels[0])


def to_tensor(image: Image.Image, width: int, height: int) -> torch.Tensor:
    """`[1, 3, height, width]` in −1…1; what sticks out of the wanted shape is cut off evenly."""
    fitted = ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(fitted, dtype=np.float32) / 255.0)
    return pixels.permute(2, 0, 1).unsqueeze(0) * 2.0 - 1.0


def to_image(pixels: torch.Tensor) -> Image.Image:
    """A picture from `[3, height, width]` in −1…1, as diffusers' `VaeImageProcessor` makes it."""
    unit = (pixels / 2 + 0.5).clamp(0, 1).float().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray((unit * 255).round().astype(np.uint8))
