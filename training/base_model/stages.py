"""The stages from nothing to a model folder, each from files in the work folder to files there."""

from __future__ import annotations

import math
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
from training.base_model.rows import check_rows, known_subjects, load_rows, make_rows
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
    deadline: float = math.inf
    """When this call must be over, by ``time.monotonic``: `train` and `all` stop in time; a further call goes on."""
    start_from: Path | None = None

    @property
    def pack(self) -> Path:
        """The icons."""
        return self.work / "icons.pack"


load_icons_once = cache(load_icons)


def icons_of(order: Order) -> IconSet:
    """The pack; raises RuntimeError if it is of another configuration."""
    icon_set, config = load_icons_once(order.pack), order.config
    if icon_set.styles != config.styles or icon_set.icons.shape[-1] != config.picture_size:
        message = f"{order.pack} isn't of the configuration {config.name}: delete it, or take another folder"
        raise RuntimeError(message)
    return icon_set


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
    load_icons_once.cache_clear()
    if order.start_from is None:
        icon_set = icons_of(order)
        texts = training_texts(order.packages, icon_set.subjects, icon_set.styles)
        save_tokenizer(texts, order.work / "tokenizer")


def autoencoder(order: Order, decoder_only: bool = False) -> None:
    """Pack → autoencoder; with ``decoder_only`` from one autoencoder to a sharper one for the same latents."""
    train_autoencoder(
        order.work,
        icons_of(order),
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
    make_rows(order.work, icons_of(order), order.config, known, live=order.device.type == "cuda")


def training(order: Order) -> None:
    """Rows → checkpoint, loss and sample pictures."""
    train(
        order.work,
        load_rows(order.work, icons_of(order), order.config, order.device),
        order.config,
        minutes=order.minutes or order.config.minutes,
        deadline=order.deadline,
        start_from=order.start_from,
        device=order.device,
        compiled=order.compiled,
    )


def exporting(order: Order) -> None:
    """Checkpoint → model folder."""
    earlier = () if order.start_from is None else known_subjects(order.start_from)
    export(order.work, order.output, order.config, icons_of(order), earlier)


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
    check_rows(work, icons_of(order), order.config)
    if minutes_trained(checkpoint, order.config) < (order.minutes or order.config.minutes):
        return "train"
    parts = (checkpoint, *(work / "autoencoder").iterdir())
    if not model.exists() or model.stat().st_mtime < max(part.stat().st_mtime for part in parts):
        return "export"
    return None


def minutes_needed(stage: str, config: Config) -> float:
    """What must be left of a call for a stage to begin.

    A stage can't be broken off, but for `train`, which first compiles. `data` runs where calls have no end.
    """
    needed = {"autoencoder": config.autoencoder_minutes + 1.5, "rows": 3.0, "train": 3.0, "export": 0.5}
    return needed.get(stage, 0.0)


def everything(order: Order) -> None:
    """Whatever is due, stage by stage, while there is time in this call; a further call goes on."""
    is_first = True
    while (stage := due(order)) is not None:
        left, needed = (order.deadline - time.monotonic()) / 60, minutes_needed(stage, order.config)
        if left < needed:
            if is_first:  # a further call wouldn't come further
                message = (
                    f"{stage} needs {needed:g} minutes and {left:.1f} are left: give a longer --this-call-minutes"
                )
                raise RuntimeError(message)
            print(f"next: {stage}. Call again.")
            return
        is_first = False
        print(f"--- {stage}", flush=True)
        STAGES[stage](replace(order, minutes=order.minutes if stage == "train" else None))
    print(f"{order.output}: ready")
