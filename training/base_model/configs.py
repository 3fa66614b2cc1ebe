"""The two models that this folder makes: ``small`` on two CPU cores, ``full`` on a large GPU."""

from __future__ import annotations

from dataclasses import dataclass

STYLES: dict[str, str] = {
    "noto": "iconify-json-noto",
    "fluent": "iconify-json-fluent-emoji",
    "flat": "iconify-json-fluent-emoji-flat",
    "twemoji": "iconify-json-twemoji",
}
"""What captions call a style, and the package that it comes from."""


@dataclass(frozen=True)
class Config:
    """Sizes of data and networks, and the budget of a run."""

    name: str
    picture_size: int
    styles: tuple[str, ...]
    every_subject: bool
    """All subjects of emojibase-data, not only those of subjects.txt."""

    latent_channels: int
    latent_size: int
    autoencoder_channels: int
    encoder_blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]
    autoencoder_batch: int

    text_width: int
    text_layers: int
    unet_widths: tuple[int, ...]
    unet_attention: tuple[bool, ...]
    """Per level of the UNet, the finest first: do its blocks look at the text?"""

    scenes: int
    """Pictures in the training set; on a GPU they are made anew all the time."""
    autoencoder_minutes: float
    minutes: float
    batch: int
    peak_learning_rate: float


SMALL = Config(
    name="small",
    picture_size=64,
    styles=("noto",),
    every_subject=False,
    latent_channels=4,
    latent_size=16,
    autoencoder_channels=48,
    encoder_blocks=(1, 2, 2),
    decoder_blocks=(3, 2, 1),
    autoencoder_batch=32,
    text_width=192,
    text_layers=3,
    unet_widths=(64, 128, 160),
    unet_attention=(False, True, True),
    scenes=48_000,
    autoencoder_minutes=30,
    minutes=120,
    batch=32,
    peak_learning_rate=4e-4,
)
FULL = Config(
    name="full",
    picture_size=128,
    styles=tuple(STYLES),
    every_subject=True,
    latent_channels=8,
    latent_size=16,
    autoencoder_channels=48,
    encoder_blocks=(1, 2, 2, 2),
    decoder_blocks=(3, 3, 3, 1),
    autoencoder_batch=128,
    text_width=192,
    text_layers=3,
    unet_widths=(96, 128, 128),
    unet_attention=(True, True, True),
    scenes=400_000,
    autoencoder_minutes=4,
    minutes=11,
    batch=512,
    peak_learning_rate=8e-4,
)
CONFIGS: dict[str, Config] = {config.name: config for config in (SMALL, FULL)}
