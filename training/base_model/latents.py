"""Pictures of every subject on every background, as cached latents ``[n, 4, 16, 16]``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

from training.base_model.autoencoder import encode, to_unit_range
from training.base_model.captions import BACKGROUNDS
from training.base_model.data import Colour, Geometry, Pixels, compose, crop_to_content, load_icon_set, render_icon
from training.base_model.subjects import subjects

VARIANTS = 16  # pictures of one subject on one background, each placed and tinted a little differently
TINT = 5  # a background colour strays at most this much per channel; white stays white


def jitter_geometry(rng: np.random.Generator) -> Geometry:
    """Almost centred: the model should spend its few parameters on subjects, not on places."""
    return Geometry(rng.uniform(0.76, 0.9), rng.uniform(-2.5, 2.5), rng.uniform(-2.5, 2.5))


def jitter_colour(colour: Colour, rng: np.random.Generator) -> Colour:
    """The colour, a little off, except for white."""
    if colour == BACKGROUNDS["white"]:
        return colour
    red, green, blue = (int(np.clip(part + rng.integers(-TINT, TINT + 1), 0, 255)) for part in colour)
    return (red, green, blue)


def subject_pictures(packages: Path, rng: np.random.Generator) -> Iterator[Pixels]:
    """Per subject ``[backgrounds * VARIANTS, 64, 64, 3]``, in the order of BACKGROUNDS."""
    svgs = load_icon_set(packages / "iconify-json-noto")
    for subject in subjects():
        icon = crop_to_content(render_icon(svgs[subject.icon]))
        pictures = [
            compose(icon, jitter_colour(colour, rng), jitter_geometry(rng))
            for colour in BACKGROUNDS.values()
            for _ in range(VARIANTS)
        ]
        yield np.stack(pictures)


@torch.no_grad()
def cache_latents(work: Path, packages: Path, seed: int = 0) -> None:
    """Write ``work/latents.pt``: scaled latents ``[subjects, backgrounds, VARIANTS, 4, 16, 16]`` as float16."""
    model = AutoencoderTiny.from_pretrained(work / "autoencoder").eval()
    rng = np.random.default_rng(seed)
    scaling_factor: float = model.config["scaling_factor"]
    encoded = [
        encode(model, to_unit_range(torch.from_numpy(pictures))) * scaling_factor
        for pictures in subject_pictures(packages, rng)
    ]
    latents = torch.stack(encoded).unflatten(1, (len(BACKGROUNDS), VARIANTS))
    torch.save(latents.half(), work / "latents.pt")
    print(f"latents {tuple(latents.shape)} mean {latents.mean():.3f} std {latents.std():.3f}")
