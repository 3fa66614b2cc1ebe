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
    """Standard normal `[images, channels, h / factor, w / factor]`, drawn as the stock pipelines draw it."""
    factor = model.vae_scale_factor
    channels = model.unet_config.in_channels
    shape = (len(generators), channels, height // factor, width // factor)
    return randn_tensor(shape, generator=generators, device=model.device, dtype=model.dtype)


@torch.no_grad()
def encode_image(
    model: LoadedModel, image: Image.Image, generators: list[torch.Generator], width: int, height: int
) -> torch.Tensor:
    """Scaled latents of the picture, cut to cover `width`×`height`: one per generator, one encode for all."""
    encoded: Any = model.vae.encode(to_tensor(image, width, height).to(model.device, model.dtype))
    if hasattr(encoded, "latent_dist"):
        latents = torch.cat([encoded.latent_dist.sample(generator) for generator in generators])
    else:
        latents = encoded.latents.repeat(len(generators), 1, 1, 1)
    return model.vae_config.scaling_factor * latents


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
    pixels: torch.Tensor = model.vae.decode(latents / model.vae_config.scaling_factor, return_dict=False)[0]
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
