"""Photos → latents, once: encoded before the first step, kept on the disk, and read back from there by every run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError
from safetensors.torch import load_file

from generation.latents import scaled, to_tensor
from training.networks import frozen_copy
from training.tensors import write_tensors

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from torch import Tensor

    from generation.model import LoadedModel


@dataclass(frozen=True, slots=True, eq=False)
class Latents:
    """What the VAE says of each picture, scaled as the UNet wants it: a mean and a deviation, of the picture as it is
    and mirrored. Both [pictures, 2, channels, h, w], float32."""

    mean: Tensor
    deviation: Tensor
    words: tuple[str, ...] = ()
    """What each picture's caption may end with; () for nothing."""

    def __len__(self) -> int:
        return len(self.mean)

    def part(self, which: Sequence[int]) -> Latents:
        """Those pictures alone."""
        words = tuple(self.words[index] for index in which) if self.words else ()
        return Latents(self.mean[list(which)], self.deviation[list(which)], words)

    def caption(self, beginning: str, index: int) -> str:
        """Of one picture, with its words."""
        return beginning + (self.words[index] if self.words else "")

    def draw(self, which: Tensor, mirrored: Tensor, generator: torch.Generator) -> Tensor:
        """One sample of each of these pictures, [count, channels, h, w]; `which` and `mirrored` [count]."""
        mean, deviation = self.mean[which, mirrored.long()], self.deviation[which, mirrored.long()]
        return mean + deviation * torch.randn(mean.shape, generator=generator)


def latents_of(
    model: LoadedModel, pictures: Sequence[Path], file: Path, width: int, height: int
) -> Generator[int, None, Latents]:
    """Encode the pictures unless `file` has them all; yields how many are done.

    Raises:
        OSError: a picture can't be read, or there is no room for the file.
    """
    if not _is_whole(file, len(pictures)):
        means: list[Tensor] = []
        deviations: list[Tensor] = []
        vae = frozen_copy(model.vae, model.device)
        for done, picture in enumerate(pictures, 1):
            mean, deviation = _encode(model, vae, picture, width, height)
            means.append(mean)
            deviations.append(deviation)
            yield done
        write_tensors(file, {"mean": torch.stack(means), "deviation": torch.stack(deviations)})
    tensors = load_file(file)
    # Copies: what the library gives is mapped from the file.
    return Latents(tensors["mean"].clone(), tensors["deviation"].clone())


def _is_whole(file: Path, count: int) -> bool:
    try:
        return len(load_file(file)["mean"]) == count
    except (OSError, SafetensorError, KeyError):
        return False


@torch.no_grad()
def _encode(model: LoadedModel, vae: Any, picture: Path, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation, each [2, channels, h, w] on the CPU: the picture as it is, and mirrored; one at a time."""
    with Image.open(picture, formats=["PNG"]) as opened:
        image = opened.convert("RGB")
    both = [_distribution(model, vae, each, width, height) for each in (image, ImageOps.mirror(image))]
    return torch.cat([mean for mean, _ in both]), torch.cat([deviation for _, deviation in both])


def _distribution(model: LoadedModel, vae: Any, image: Image.Image, width: int, height: int) -> tuple[Tensor, Tensor]:
    encoded: Any = vae.encode(to_tensor(image, width, height).to(model.device, vae.dtype))
    if not hasattr(encoded, "latent_dist"):  # AutoencoderTiny gives one answer
        mean = scaled(model, encoded.latents.float()).cpu()
        return mean, torch.zeros_like(mean)
    mean, deviation = encoded.latent_dist.mean.float(), encoded.latent_dist.std.float()
    centre = scaled(model, mean)
    return centre.cpu(), (scaled(model, mean + deviation) - centre).cpu()
