"""A cheap picture of latents that are not finished yet: one small convolution that is fitted to the model.

Latents of an image autoencoder are close to a blurred picture, and their 3×3 neighbourhoods say much of how
the edges run: an affine map from a neighbourhood to a tile of pixels is a usable decoder at under 1 % of a
network evaluation. (On the bundled model it is 5 dB nearer to the decoded picture than the usual map from one
place to one colour, at the same cost; features beyond linear ones gained nothing.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from PIL import Image
from torch.nn import functional

if TYPE_CHECKING:
    from generation.model import LoadedModel

_PREVIEW_SIDE: Final = 256
"""Pixels at the model's own size: a preview is looked at small, and every pixel of it travels."""
_KERNEL: Final = 3
_FIT_PICTURES: Final = 4
_FIT_SIDE: Final = 32
"""In latents. Four times 1,024 neighbourhoods for 37 unknowns; more were not better."""
_LEAVES: Final = 200
_LEAF_RADII: Final = (0.03, 0.5)
"""Of the picture's side: the smallest are as large as one latent."""
_RIDGE: Final = 1e-4
"""Of the features' mean variance: keeps the solution finite where channels always agree."""


@dataclass(frozen=True, slots=True)
class PreviewMap:
    """From each 3×3 neighbourhood of scaled latents to a tile of `subpixels`×`subpixels` colours."""

    weight: torch.Tensor
    """`[3 · subpixels², channels, 3, 3]` float32."""
    bias: torch.Tensor
    """`[3 · subpixels²]` float32."""
    subpixels: int

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """`[images, channels, h, w]` → `[images, 3, h · subpixels, w · subpixels]`, around −1…1."""
        padded = functional.pad(latents.float(), [_KERNEL // 2] * 4, mode="replicate")
        return functional.pixel_shuffle(functional.conv2d(padded, self.weight, self.bias), self.subpixels)


class Previewer:
    """Draws previews for one model."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._to_bytes: PreviewMap | None = None
        """With colours from 0 to 256: fewer steps for each preview, of which every one is cold after a forward."""

    @property
    def ready(self) -> bool:
        return self._to_bytes is not None

    def prepare(self) -> None:
        """Fit the map now, where nobody waits; else the first `draw` does it."""
        if self._to_bytes is None:
            fitted = fit_preview_map(self._model)
            weight, bias = fitted.weight * 127.5, fitted.bias * 127.5 + 128.0
            self._to_bytes = PreviewMap(weight, bias, fitted.subpixels)

    @torch.no_grad()
    def draw(self, latents: torch.Tensor) -> Image.Image:
        """One picture from scaled latents `[images, channels, h, w]`: a grid if there are several."""
        self.prepare()
        assert self._to_bytes is not None
        colours = self._to_bytes(latents)
        # Rounded on the device: a quarter of the bytes to fetch. (Numbers out of range give some byte, too.)
        whole = colours.clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        height, width = whole.shape[1:3]
        return grid([Image.frombuffer("RGB", (width, height), picture, "raw", "RGB", 0, 1) for picture in whole])


@torch.no_grad()
def fit_preview_map(model: LoadedModel) -> PreviewMap:
    """Ridge regression from the encoded latents of made-up pictures to their pixels.

    The pictures are dead leaves (see `dead_leaves`): whatever the model draws, it shares their edges and flat
    places. The encoder runs four times; the global random state is left alone.
    """
    vae: Any = model.vae
    factor = model.vae_scale_factor
    subpixels = _subpixels(model)
    generator = torch.Generator("cpu").manual_seed(0)
    features: list[torch.Tensor] = []
    tiles: list[torch.Tensor] = []
    for _ in range(_FIT_PICTURES):
        picture = dead_leaves(_FIT_SIDE * factor, generator)
        encoded: Any = vae.encode(picture.to(model.device, next(vae.parameters()).dtype))
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        scaled = (latents * model.vae_config.scaling_factor).cpu().double()  # MPS has no float64
        padded = functional.pad(scaled, [_KERNEL // 2] * 4, mode="replicate")
        features.append(functional.unfold(padded, _KERNEL)[0].T)
        small = functional.avg_pool2d(picture.double(), factor // subpixels)
        tiles.append(functional.pixel_unshuffle(small, subpixels).flatten(2)[0].T)
    weights, bias = ridge(torch.cat(features), torch.cat(tiles))
    shape = (weights.shape[1], -1, _KERNEL, _KERNEL)
    weight = weights.T.reshape(shape).float().to(model.device)
    return PreviewMap(weight, bias.float().to(model.device), subpixels)


def ridge(features: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`W [k, m]` and `b [m]` that bring `features @ W + b` nearest to `wanted`: `[n, k]`, `[n, m]` in float64.

    Hoerl and Kennard, Ridge Regression (1970); the offset is not held back.
    """
    middle, wanted_middle = features.mean(0), wanted.mean(0)
    centred = features - middle
    gram = centred.T @ centred
    ridged = gram + _RIDGE * gram.diagonal().mean().clamp(min=1e-12) * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.linalg.solve(ridged, centred.T @ (wanted - wanted_middle))
    return weights, wanted_middle - middle @ weights


def dead_leaves(side: int, generator: torch.Generator) -> torch.Tensor:
    """`[1, 3, side, side]` in −1…1: ellipses of random colours over each other, few large and many small.

    With radii after r⁻³ this has the statistics of edges that photographs and drawings have, at every scale:
    Lee, Mumford and Huang, Occlusion Models for Natural Images (2001).
    """
    low, high = _LEAF_RADII
    line = torch.linspace(0, 1, side)
    down, across = torch.meshgrid(line, line, indexing="ij")
    random = torch.rand((_LEAVES, 8), generator=generator)
    picture = torch.zeros((3, side, side))
    for *colour, turn, flatness, size, x, y in random.tolist():
        radius = (low**-2 + (high**-2 - low**-2) * size) ** -0.5
        sine, cosine = math.sin(turn * math.pi), math.cos(turn * math.pi)
        along = (across - x) * cosine + (down - y) * sine
        aside = ((down - y) * cosine - (across - x) * sine) / (0.2 + 0.8 * flatness)
        inside = along**2 + aside**2 < radius**2
        picture = torch.where(inside, torch.tensor(colour).view(3, 1, 1) * 2 - 1, picture)
    return picture[None]


def _subpixels(model: LoadedModel) -> int:
    """A power of two that divides the autoencoder's factor, so that the usual preview is small enough."""
    defaults = model.info.defaults
    subpixels = model.vae_scale_factor
    while subpixels > 1 and max(defaults.width, defaults.height) * subpixels > _PREVIEW_SIDE * model.vae_scale_factor:
        subpixels //= 2
    return subpixels


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
