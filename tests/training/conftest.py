"""A configuration and icons so small that every stage runs in a second."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import generation
from training.base_model.autoencoder import build_autoencoder
from training.base_model.configs import SMALL, Config
from training.base_model.icons import IconSet
from training.base_model.subjects import Subject

SIZE = 16


def square(red: int, green: int, blue: int) -> Tensor:
    """An opaque square ``[4, 16, 16]`` that leaves a transparent border of two pixels."""
    icon = torch.zeros(4, SIZE, SIZE, dtype=torch.uint8)
    icon[:, 2:-2, 2:-2] = torch.tensor([red, green, blue, 255], dtype=torch.uint8)[:, None, None]
    return icon


@pytest.fixture(scope="session")
def tiny() -> Config:
    return replace(
        SMALL,
        name="tiny",
        picture_size=SIZE,
        styles=("noto", "flat"),
        latent_size=SIZE // 2,
        autoencoder_channels=8,
        autoencoder_batch=4,
        encoder_blocks=(1, 1),
        decoder_blocks=(1, 1),
        text_width=32,
        text_layers=1,
        unet_widths=(32, 32, 32),
        scenes=20,
        batch=4,
    )


@pytest.fixture(scope="session")
def icon_set() -> IconSet:
    """Three subjects in two styles, the last one lacking the second; one held-out subject of a colour of its own."""
    nothing = torch.zeros(4, SIZE, SIZE, dtype=torch.uint8)
    icons = [
        torch.stack([square(200, 0, 0), square(220, 20, 20)]),
        torch.stack([square(0, 200, 0), square(20, 220, 20)]),
        torch.stack([square(0, 0, 200), nothing]),
    ]
    held_out = torch.stack([square(77, 77, 77), square(77, 77, 77)])[None]
    others = torch.stack([square(200, 200, 0), square(0, 200, 200)])
    subjects = (Subject("fox", ("fox",)), Subject("red-apple", ("apple", "red apple")), Subject("sun", ("the sun",)))
    return IconSet(subjects, ("noto", "flat"), torch.stack(icons), (Subject("tent", ("tent",)),), held_out, others)


@pytest.fixture
def work(tmp_path: Path, tiny: Config) -> Path:
    """A work folder with the bundled model's tokenizer and an untrained autoencoder."""
    shutil.copytree(Path(generation.__file__).parent / "bundled" / "tokenizer", tmp_path / "tokenizer")
    torch.manual_seed(0)
    build_autoencoder(tiny).save_pretrained(tmp_path / "autoencoder")
    return tmp_path
