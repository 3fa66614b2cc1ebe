"""A cheap picture of latents that are not finished yet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from PIL import Image
from torch.nn import functional

from generation.latents import to_image

if TYPE_CHECKING:
    from generation.model import LoadedModel

_DECODED_PIXELS: Final = 512 * 512
"""Up to here a small decoder draws the preview; above, a linear map does."""
_FIT_SIDE: Final = 256
_SMALLEST_SIDE: Final = 64


class Previewer:
    """Draws previews for one model: by its own decoder where that is small, else by a linear map.

    Latents of an image autoencoder are close to a blurred picture: colour is nearly a linear function of
    the channels at each place. The map is fitted once, when it is first needed.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._to_rgb: torch.Tensor | None = None

    @torch.no_grad()
    def draw(self, latents: torch.Tensor) -> Image.Image:
        """One picture from scaled latents `[images, channels, h, w]`: a grid if there are several."""
        model = self._model
        pixels = latents.shape[0] * latents.shape[2] * latents.shape[3] * model.vae_scale_factor**2
        if isinstance(model.vae, AutoencoderTiny) and pixels <= _DECODED_PIXELS:
            vae: Any = model.vae
            scaled = (latents / model.vae_config.scaling_factor).to(model.dtype)
            rgb: torch.Tensor = vae.decode(scaled, return_dict=False)[0]
        else:
            rgb = self._linear(latents)
        return grid([to_image(picture) for picture in torch.nan_to_num(rgb)])

    def _linear(self, latents: torch.Tensor) -> torch.Tensor:
        """`[images, 3, h, w]` in −1…1 at the latents' own size, enlarged if that is tiny."""
        if self._to_rgb is None:
            self._to_rgb = fit_linear_map(self._model)
        weights = self._to_rgb
        rgb = torch.einsum("nchw,cr->nrhw", latents.float(), weights[:-1]) + weights[-1].view(1, 3, 1, 1)
        side = min(rgb.shape[2:])
        return functional.interpolate(rgb, scale_factor=max(1, math.ceil(_SMALLEST_SIDE / side)))


@torch.no_grad()
def fit_linear_map(model: LoadedModel) -> torch.Tensor:
    """Least squares from scaled latents to colour, `[channels + 1, 3]` float32 (the last row is the offset).

    Fitted on one encoded field of smooth random colours; the global random state is left alone.
    """
    vae: Any = model.vae
    factor = model.vae_scale_factor
    generator = torch.Generator("cpu").manual_seed(0)
    coarse = torch.rand((1, 3, 12, 12), generator=generator) * 2 - 1
    picture = functional.interpolate(coarse, size=(_FIT_SIDE, _FIT_SIDE), mode="bicubic").clamp(-1, 1)
    encoded: Any = vae.encode(picture.to(model.device, model.dtype))
    latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
    latents = (latents * model.vae_config.scaling_factor).float()
    colours = functional.avg_pool2d(picture, factor).to(model.device)
    rows = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    rows = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
    wanted = colours.permute(0, 2, 3, 1).reshape(-1, 3)
    # On the CPU in float64: small, and lstsq on CUDA asks for full rank.
    solution = torch.linalg.lstsq(rows.double().cpu(), wanted.double().cpu(), driver="gelsd").solution
    return solution.float().to(model.device)


def grid(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one size side by side, as square as it gets; the last row may have free places."""
    if len(pictures) == 1:
        return pictures[0]
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    width, height = pictures[0].size
    sheet = Image.new("RGB", (columns * width, rows * height))
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * width, index // columns * height))
    return sheet
