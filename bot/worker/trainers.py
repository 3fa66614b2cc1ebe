"""The training library as the worker uses it. Imports torch."""

import gc
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from PIL import Image

from bot.worker.messages import Train
from bot.worker.time_left import Expected
from bot.worker.training_run import Samples
from generation.engine import Engine
from generation.memory import is_out_of_memory
from generation.model import LoadedModel
from training.defaults import ordered_settings, settings_for
from training.judge import Judge, judge_for
from training.learned import COLOURS, PICTURES
from training.order import PHOTOS, Card
from training.strip import samples_picture, strip_picture
from training.trainer import Folders, Trainer

_NO_MEMORY = "There is not enough memory to train this here: try textual inversion, which needs the least."


class Trainers:
    """Implements `bot.worker.training_run.Trainers` for one model."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    @cached_property
    def _judge(self) -> Judge | None:
        return judge_for(self._model)

    def begin(self, train: Train, engine: object) -> Trainer:
        folders = Folders(Path(train.work_dir), Path(train.prior_dir), Path(train.concept_dir))
        photos = [Path(photo) for photo in train.photos]
        # The worker's loops know the engine by a protocol; it is the real one here.
        return Trainer(self._model, train.order, photos, folders, cast("Engine", engine), self._judge)

    def expected(self, train: Train) -> Expected:
        info = self._model.info
        settings = ordered_settings(settings_for(info, train.order.method), train.order)
        beside = 2 if settings.prior_images else 1
        steps = train.request.num_inference_steps or info.defaults.num_inference_steps
        return Expected(
            photos=len(train.photos) or PHOTOS[0],
            steps=settings.max_steps,
            rows_per_step=settings.batch_size * beside,
            class_pictures=settings.prior_images,
            samples=settings.samples,
            judged_pictures=3 * PICTURES + 2 * len(COLOURS) if self._judge is not None else 0,
            final_pictures=train.request.total_images,
            rows_per_picture=2 * steps,
        )

    def samples_picture(self, images: Sequence[Image.Image]) -> Image.Image:
        return samples_picture(images)

    def strip_picture(self, samples: Samples, card: Card) -> Image.Image:
        return strip_picture(samples, card)

    def sentence(self, error: Exception) -> str | None:
        return _NO_MEMORY if is_out_of_memory(error) else None

    def tidy(self) -> None:
        gc.collect()  # a generator's frames hold each other, and with them tensors
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
