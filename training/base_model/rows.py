"""The training set: scenes with several captions each, and their pictures as latents.

On a CPU the pictures are encoded once and kept in the file. On a GPU they stay in its memory and are drawn and
encoded anew all the time, a few with every batch, so that hardly a picture comes twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training.base_model.autoencoder import encode, load_autoencoder
from training.base_model.captions import caption
from training.base_model.configs import Config
from training.base_model.icons import IconSet, present
from training.base_model.pictures import arrange
from training.base_model.scenes import COLOURS, LAYOUTS, Scene, draw_scene
from training.base_model.subjects import Subject

CAPTIONS_PER_SCENE = 4
ENCODE_BATCH, FILL_BATCH = 64, 1024  # on a CPU, on a GPU
NEW_SUBJECT_WEIGHT = 3.0
"""How often a subject is drawn that the model which a run starts from doesn't know; all others have 1."""
ROWS_PER_REFRESHED = 8  # so many rows are trained on for one that is drawn anew


@dataclass(frozen=True)
class Rows:
    """Latents ``[n, c, h, w]`` as float16 with the token ids ``[n, CAPTIONS_PER_SCENE, 32]`` of their captions."""

    latents: Tensor
    token_ids: Tensor

    def batch(self, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Random latents ``[size, c, h, w]``, each with one of its captions ``[size, 32]``."""
        where = self.latents.device
        chosen = torch.randint(len(self.latents), (size,), device=where)
        said = torch.randint(self.token_ids.shape[1], (size,), device=where)
        return self.latents[chosen].to(device).float(), self.token_ids[chosen, said].to(device).long()


class LiveRows:
    """Rows whose pictures change while they are trained on. Everything is on the device of ``icons``."""

    def __init__(
        self, scenes: Tensor, token_ids: Tensor, icons: Tensor, model: AutoencoderTiny, latent_shape: Sequence[int]
    ):
        self.scenes, self.icons, self.model = scenes.to(icons.device), icons, model
        self.generator = torch.Generator(icons.device)
        self.generator.seed()  # other pictures than in the call before
        latents = torch.empty(len(scenes), *latent_shape, dtype=torch.float16, device=icons.device)
        self.rows = Rows(latents, token_ids.to(icons.device))
        self.position = 0
        for _ in range(0, len(scenes), FILL_BATCH):
            self.refresh(FILL_BATCH)

    def refresh(self, count: int) -> None:
        """Draw the next ``count`` rows anew."""
        part = slice(self.position, self.position + count)
        self.rows.latents[part] = encode_scenes(self.model, self.icons, self.scenes[part], self.generator)
        self.position = part.stop if part.stop < len(self.scenes) else 0

    def batch(self, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """As ``Rows.batch``."""
        self.refresh(max(1, size // ROWS_PER_REFRESHED))
        return self.rows.batch(size, device)


def draw_scenes(icons: Tensor, count: int, weights: Sequence[float], rng: np.random.Generator) -> list[Scene]:
    """Scenes of the subjects, by weight, in the styles that each subject has (``icons [s, styles, 4, n, n]``)."""
    styles = [torch.nonzero(row).flatten().tolist() for row in present(icons)]
    share = np.asarray(weights, dtype=np.float64) / sum(weights)
    drawn = rng.choice(len(weights), size=count, p=share)
    return [draw_scene(int(s), int(rng.choice(styles[int(s)])), rng) for s in drawn]


def scene_table(scenes: Sequence[Scene]) -> Tensor:
    """``[n, 4]`` as int16: subject, style, and the places of layout and background in LAYOUTS and COLOURS."""
    layouts = tuple(LAYOUTS)
    numbers = [
        (each.subject, each.style, layouts.index(each.layout), COLOURS.index(each.background)) for each in scenes
    ]
    return torch.tensor(numbers, dtype=torch.int16)


def tokenize(
    scenes: Sequence[Scene],
    subjects: Sequence[Subject],
    styles: Sequence[str],
    folder: Path,
    rng: np.random.Generator,
) -> Tensor:
    """CAPTIONS_PER_SCENE captions of each scene: ids ``[n, CAPTIONS_PER_SCENE, 32]`` as int16."""
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    length = tokenizer.model_max_length
    parts: list[Tensor] = []
    for start in range(0, len(scenes), 10_000):  # all at once takes gigabytes
        texts = [
            caption(scene, subjects[scene.subject], styles[scene.style] if len(styles) > 1 else None, rng)
            for scene in scenes[start : start + 10_000]
            for _ in range(CAPTIONS_PER_SCENE)
        ]
        ids = tokenizer(
            texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids
        parts.append(ids.short().unflatten(0, (-1, CAPTIONS_PER_SCENE)))
    return torch.cat(parts)


@torch.no_grad()
def encode_scenes(model: AutoencoderTiny, icons: Tensor, scenes: Tensor, generator: torch.Generator) -> Tensor:
    """Scaled latents ``[n, c, h, w]`` as float16 of the pictures of ``scenes [n, 4]``, as large as their icons."""
    subject, style, layout, background = scenes.long().unbind(-1)
    pictures = arrange(icons[subject, style], layout, background, icons.shape[-1], generator)
    with torch.autocast(icons.device.type, torch.float16, enabled=icons.is_cuda):
        return (encode(model, pictures) * model.config["scaling_factor"]).half()


def subject_weights(subjects: Sequence[Subject], known: Collection[str] | None) -> list[float]:
    """How often each subject is drawn, given the names that a model to start from lists (None: no such model)."""
    return [1.0 if known is None or subject.title in known else NEW_SUBJECT_WEIGHT for subject in subjects]


def known_subjects(folder: Path) -> tuple[str, ...]:
    """What an exported model says that it can draw."""
    return tuple(json.loads((folder / "atelier.json").read_text(encoding="utf-8"))["subjects"])


def digest_icons(icon_set: IconSet) -> str:
    """Changes with the subjects, their names, the styles and every pixel of the icons that scenes show."""
    digest = hashlib.blake2b(repr((icon_set.subjects, icon_set.styles)).encode(), digest_size=16)
    digest.update(icon_set.icons.numpy().data)
    return digest.hexdigest()


def digest_encoder(work: Path) -> str:
    """Changes with what the autoencoder makes of pictures; a sharper decoder changes nothing."""
    model = load_autoencoder(work)
    digest = hashlib.blake2b(repr(model.config["scaling_factor"]).encode(), digest_size=16)
    for value in model.encoder.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def origin(work: Path, icon_set: IconSet, config: Config, live: bool) -> dict[str, str]:
    """What rows are made of."""
    made_of = {"configuration": config.name, "icons.pack": digest_icons(icon_set)}
    return made_of if live else made_of | {"autoencoder": digest_encoder(work)}


def check_rows(work: Path, icon_set: IconSet, config: Config) -> None:
    """Raise RuntimeError if ``work/rows.pt`` was made of something else than what there is now."""
    content = torch.load(work / "rows.pt", weights_only=True, mmap=True)
    now, made_of = origin(work, icon_set, config, "latents" not in content), content.get("made_of", {})
    if changed := [what for what, value in now.items() if made_of.get(what) != value]:
        message = f"{work / 'rows.pt'} was made with another {' and '.join(changed)}: delete it and checkpoint.pt"
        raise RuntimeError(message)


def make_rows(
    work: Path, icon_set: IconSet, config: Config, known: Collection[str] | None, live: bool, seed: int = 0
) -> None:
    """Write ``work/rows.pt``: scenes and their captions, with latents unless they will be ``live``."""
    rng = np.random.default_rng(seed)
    scenes = draw_scenes(icon_set.icons, config.scenes, subject_weights(icon_set.subjects, known), rng)
    table = scene_table(scenes)
    content: dict[str, Any] = {
        "made_of": origin(work, icon_set, config, live),
        "scenes": table,
        "token_ids": tokenize(scenes, icon_set.subjects, icon_set.styles, work / "tokenizer", rng),
    }
    if not live:
        model = load_autoencoder(work)
        generator = torch.Generator().manual_seed(seed)
        parts = [encode_scenes(model, icon_set.icons, part, generator) for part in table.split(ENCODE_BATCH)]
        content["latents"] = torch.cat(parts)
    torch.save(content, work / "rows.tmp")
    (work / "rows.tmp").replace(work / "rows.pt")


def load_rows(work: Path, icon_set: IconSet, config: Config, device: torch.device) -> Rows | LiveRows:
    """The training set of ``work/rows.pt``: as cached there, or live."""
    check_rows(work, icon_set, config)
    content = torch.load(work / "rows.pt", weights_only=True)
    if "latents" in content:
        return Rows(content["latents"], content["token_ids"])
    model = load_autoencoder(work)
    nn.Module.to(model, device)
    latent_shape = (config.latent_channels, config.latent_size, config.latent_size)
    return LiveRows(content["scenes"], content["token_ids"], icon_set.icons.to(device), model, latent_shape)
