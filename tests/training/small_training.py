"""Tiny models, photos and settings with which a training takes a second."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import torch
from PIL import Image, ImageDraw

from generation.engine import Engine
from generation.model import LoadedModel, load_model
from tests.generation.conftest import save_tiny_model, save_tiny_xl_model
from training.defaults import LoraLayers, TrainingSettings
from training.events import Finished, TrainingEvent
from training.order import Method, TrainedConcept, TrainingOrder
from training.trainer import Folders, Trainer

SIDE = 64


def tiny(folder: Path, *, xl: bool = False) -> LoadedModel:
    """Random weights; draws in two steps without guidance, so that samples cost little."""
    if xl:
        save_tiny_xl_model(folder)
    else:
        save_tiny_model(folder, prediction_type="v_prediction", tiny_vae=True, spacing="trailing")
    (folder / "atelier.json").write_text(json.dumps({"num_inference_steps": 2}))
    return load_model(str(folder), device="cpu")


def write_photos(folder: Path, count: int = 5) -> list[Path]:
    """A black ball on as many colours."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = ("red", "blue", "white", "yellow", "green", "gray", "purple", "orange", "pink", "brown")
    paths: list[Path] = []
    for index, colour in enumerate(colours[:count]):
        picture = Image.new("RGB", (SIDE, SIDE), colour)
        ImageDraw.Draw(picture).ellipse((10 + index, 14, 48 + index, 52), fill="black")
        picture.save(path := folder / f"{index}.png")
        paths.append(path)
    return paths


def order(method: Method = Method.LORA, **values: Any) -> TrainingOrder:
    return TrainingOrder(**{"job": "job", "method": method, "name": "ball", "class_word": "apple", **values})


def settings(**values: Any) -> TrainingSettings:
    usual = TrainingSettings(
        learning_rate=1e-2,
        text_learning_rate=1e-2,
        max_steps=8,
        batch_size=2,
        rank=2,
        layers=LoraLayers.ATTENTION,
        checkpoint_every=3,
        evaluate_every=4,
        evaluation_rows=2,
        patience=0,
        samples=1,
    )
    return msgspec.structs.replace(usual, **values)


def trainer(
    model: LoadedModel,
    folder: Path,
    *,
    order: TrainingOrder,
    settings: TrainingSettings,
    photos: int = 5,
    engine: Engine | None = None,
) -> Trainer:
    """One whose files are all below `folder`."""
    paths = write_photos(folder / "photos", photos)
    folders = Folders(work=folder / "work", prior=folder / "prior", concept=folder / "concept")
    return Trainer(model, order, paths, folders, engine or Engine(model), settings=settings)


def finish(trainer: Trainer) -> tuple[TrainedConcept, list[TrainingEvent]]:
    """Run to the end: what came of it, and all events."""
    events = list(trainer.steps())
    trainer.close()
    last = events[-1]
    assert isinstance(last, Finished)
    return last.concept, events


def weights_hash(model: LoadedModel) -> str:
    """SHA-256 over every number of every network, by name."""
    total = hashlib.sha256()
    for network in (model.unet, *model.text_encoders, model.vae):
        for name, values in sorted(network.state_dict().items()):
            total.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
            total.update(values.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
