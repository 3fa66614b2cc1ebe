"""The icons of a configuration in one file: all that the stages after ``data`` need of the npm packages.

A pack is a zip of WebP pictures with straight alpha (lossy colours, lossless alpha) and ``table.json``.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training.base_model.subjects import Subject

WEBP_QUALITY = 85  # the four styles of `full` at 128 pixels: 16 MiB, 36 dB from the icons; without loss it is 27 MiB
TABLE = "table.json"


@dataclass(frozen=True)
class IconSet:
    """Icons as premultiplied RGBA, uint8, each filling its square; all transparent where a style has none."""

    subjects: tuple[Subject, ...]
    styles: tuple[str, ...]
    icons: Tensor
    """``[subjects, styles, 4, n, n]``: what the diffusion model is taught."""
    held_out: tuple[Subject, ...]
    held_out_icons: Tensor
    """``[held_out, styles, 4, n, n]``: to measure with; no part of the model is ever trained on them."""
    others: Tensor
    """``[k, 4, n, n]``: more pictograms, for the autoencoder alone."""


def present(icons: Tensor) -> Tensor:
    """Which icons ``[..., 4, n, n]`` there are: bool ``[...]``."""
    return (icons[..., 3, :, :] > 0).flatten(-2).any(-1)


def to_webp(icon: Tensor) -> bytes:
    """A premultiplied icon ``[4, n, n]`` as WebP."""
    pixels = icon.permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    picture = Image.frombytes("RGBa", (pixels.shape[1], pixels.shape[0]), pixels.tobytes()).convert("RGBA")
    picture.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    return buffer.getvalue()


def from_webp(content: bytes) -> Tensor:
    """The other way."""
    picture = Image.open(io.BytesIO(content)).convert("RGBA").convert("RGBa")
    pixels = np.frombuffer(picture.tobytes(), dtype=np.uint8).reshape(picture.height, picture.width, 4)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def write_pack(icon_set: IconSet, file: Path) -> None:
    """Write ``file``; beside it first, so that there is never half a pack."""
    table = {
        "size": icon_set.others.shape[-1],
        "styles": icon_set.styles,
        "subjects": [[subject.icon, *subject.names] for subject in icon_set.subjects],
        "held_out": [[subject.icon, *subject.names] for subject in icon_set.held_out],
        "others": len(icon_set.others),
    }
    fresh = file.with_suffix(".tmp")
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as pack:
        pack.writestr(TABLE, json.dumps(table))
        for folder, icons in (("subjects", icon_set.icons), ("held_out", icon_set.held_out_icons)):
            for subject, style in torch.nonzero(present(icons)).tolist():
                pack.writestr(f"{folder}/{subject}/{style}", to_webp(icons[subject, style]))
        for number, icon in enumerate(icon_set.others):
            pack.writestr(f"others/{number}", to_webp(icon))
    fresh.replace(file)


def load_icons(file: Path) -> IconSet:
    """Read a pack."""
    with zipfile.ZipFile(file) as pack:
        table = json.loads(pack.read(TABLE))
        size, styles = table["size"], tuple(table["styles"])
        subjects, held_out = read_subjects(table["subjects"]), read_subjects(table["held_out"])
        icons = torch.zeros(len(subjects), len(styles), 4, size, size, dtype=torch.uint8)
        held_out_icons = torch.zeros(len(held_out), len(styles), 4, size, size, dtype=torch.uint8)
        others = torch.zeros(table["others"], 4, size, size, dtype=torch.uint8)
        tensors = {"subjects": icons, "held_out": held_out_icons, "others": others}
        for name in pack.namelist():
            folder, *place = name.split("/")
            if folder in tensors:
                tensors[folder][tuple(int(number) for number in place)] = from_webp(pack.read(name))
    return IconSet(subjects, styles, icons, held_out, held_out_icons, others)


def read_subjects(rows: Sequence[Sequence[str]]) -> tuple[Subject, ...]:
    """Rows of an icon name and its names."""
    return tuple(Subject(icon, tuple(names)) for icon, *names in rows)
