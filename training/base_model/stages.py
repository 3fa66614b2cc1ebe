"""The stages from nothing to a model folder, each from files in the work folder to files there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from training.base_model.autoencoder import train_autoencoder
from training.base_model.configs import Config
from training.base_model.export import TOKENIZER_FILES, export
from training.base_model.icons import IconSet, load_icons
from training.base_model.rows import known_subjects, load_rows, make_rows
from training.base_model.tokenizer import save_tokenizer, training_texts
from training.base_model.train import minutes_trained, train


@dataclass(frozen=True)
class Order:
    """What the command line asks for."""

    config: Config
    work: Path
    packages: Path
    output: Path
    device: torch.device
    compiled: bool
    minutes: float | None = None
    this_call_minutes: float | None = None
    start_from: Path | None = None

    @property
    def pack(self) -> Path:
        """The icons."""
        return self.work / "icons.pack"


@cache
def icons_of(pack: Path) -> IconSet:
    """The pack, read once."""
    return load_icons(pack)


def take_over(order: Order) -> None:
    """Copy tokenizer and autoencoder of the model to start from: what it learned is in their terms."""
    if order.start_from is None or (order.work / "autoencoder").exists():
        return
    (order.work / "tokenizer").mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        shutil.copyfile(order.start_from / "tokenizer" / name, order.work / "tokenizer" / name)
    shutil.copytree(order.start_from / "vae", order.work / "autoencoder")


def data(order: Order) -> None:
    """npm packages → pack and tokenizer."""
    from training.base_model.data import fetch_packages, make_pack  # noqa: PLC0415 - resvg is needed only here

    fetch_packages(order.packages)
    order.work.mkdir(parents=True, exist_ok=True)
    make_pack(order.packages, order.config, order.pack)
    if order.start_from is None:
        icon_set = icons_of(order.pack)
        texts = training_texts(order.packages, icon_set.subjects, icon_set.styles)
        save_tokenizer(texts, order.work / "tokenizer")


def autoencoder(order: Order, decoder_only: bool = False) -> None:
    """Pack → autoencoder; with ``decoder_only`` from one autoencoder to a sharper one for the same latents."""
    train_autoencoder(
        order.work,
        icons_of(order.pack),
        order.config,
        minutes=order.minutes or order.config.autoencoder_minutes,
        device=order.device,
        compiled=order.compiled,
        decoder_only=decoder_only,
    )


def decoder(order: Order) -> None:
    """A sharper decoder."""
    autoencoder(order, decoder_only=True)


def rows(order: Order) -> None:
    """Pack, tokenizer and autoencoder → scenes, captions and (without a GPU) latents."""
    known = None if order.start_from is None else known_subjects(order.start_from)
    make_rows(order.work, icons_of(order.pack), order.config.scenes, known, live=order.device.type == "cuda")


def training(order: Order) -> None:
    """Rows → checkpoint, loss and sample pictures."""
    start, config = time.monotonic(), order.config
    latent_shape = (config.latent_channels, config.latent_size, config.latent_size)
    training_set = load_rows(order.work, icons_of(order.pack), latent_shape, order.device)
    spent = (time.monotonic() - start) / 60  # on a GPU all rows have just been encoded
    train(
        order.work,
        training_set,
        config,
        minutes=order.minutes or config.minutes,
        this_call_minutes=None if order.this_call_minutes is None else max(0.1, order.this_call_minutes - spent),
        start_from=order.start_from,
        device=order.device,
        compiled=order.compiled,
    )


def exporting(order: Order) -> None:
    """Checkpoint → model folder."""
    export(order.work, order.output, order.config, icons_of(order.pack))


STAGES: dict[str, Callable[[Order], None]] = {
    "data": data,
    "autoencoder": autoencoder,
    "decoder": decoder,
    "rows": rows,
    "train": training,
    "export": exporting,
}


def due(order: Order) -> str | None:
    """The first stage whose outcome isn't there yet; None when the model is."""
    work, checkpoint, model = order.work, order.work / "checkpoint.pt", order.output / "atelier.json"
    if not order.pack.exists() or not (work / "tokenizer").exists():
        return "data"
    if not (work / "autoencoder").exists():
        return "autoencoder"
    if not (work / "rows.pt").exists():
        return "rows"
    if minutes_trained(checkpoint) < (order.minutes or order.config.minutes):
        return "train"
    if not model.exists() or model.stat().st_mtime < checkpoint.stat().st_mtime:
        return "export"
    return None


def everything(order: Order) -> None:
    """Whatever is due, stage by stage, while there is time in this call (one at least); a further call goes on."""
    start, is_first = time.monotonic(), True
    while (stage := due(order)) is not None:
        left = order.this_call_minutes
        if left is not None:
            left -= (time.monotonic() - start) / 60
            needed = {"autoencoder": order.config.autoencoder_minutes, "train": 1.0}.get(stage, 0.0)
            if left < needed and not is_first:
                print(f"next: {stage}. Call again.")
                return
        is_first = False
        print(f"--- {stage}", flush=True)
        minutes = order.minutes if stage == "train" else None
        STAGES[stage](replace(order, minutes=minutes, this_call_minutes=left))
    print(f"{order.output}: ready")
