"""How each method is trained on which kind of model. Light: standard library and msgspec only."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from training.order import Method
from training.templates import PHOTO, PICTOGRAM, PLAIN

if TYPE_CHECKING:
    from generation.request import ModelInfo
    from training.order import TrainingOrder

SMALL_WIDTH: Final = 128
"""Pixels: models of this size and below are the bundled one and its like."""
_PRIOR_IMAGES: Final = 100
"""Where a member asks for prior preservation and the table has none."""


class LoraLayers(StrEnum):
    """Which layers of the UNet get adapters."""

    ATTENTION = "attention"
    """Queries, keys, values and outputs."""
    LINEAR = "linear"
    """All linear layers: feed-forward and time embedding as well."""
    ALL = "all"
    """Convolutions as well."""


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one training."""

    learning_rate: float
    """Of the UNet, of adapters, or of word vectors."""
    text_learning_rate: float = 0.0
    """Of the text encoder (DreamBooth, and LoRA with a `text_rank`)."""
    max_steps: int
    person_steps: int | None = None
    """In the place of `max_steps` for a person; None: as for a thing."""
    batch_size: int = 1
    """Photos in a step; with prior preservation as many class pictures beside them."""
    micro_rows: int = 2
    """Rows of one forward and backward: a step of more is done in several micro-steps, the gradients summed."""
    templates: tuple[str, ...] = PLAIN
    flip: float = 0.5
    """How often a photo is taken mirrored, 0 to 1."""
    name_backgrounds: float = 0.0
    """How often a caption says on which plain colour a photo was taken, 0 to 1. Never, and the colours become part of
    the thing; always, and the thing is only there where a colour is asked for."""
    vectors: int = 2
    """Textual inversion: rows that the new word has."""
    norm_limit: float = 1.0
    """Textual inversion: longest row, in lengths of the embedding table's median row."""
    rank: int = 8
    """LoRA."""
    layers: LoraLayers = LoraLayers.ATTENTION
    text_rank: int = 0
    """LoRA: of the text encoder's linear layers; 0 leaves it alone, and captions are encoded once."""
    prior_images: int = 0
    """Class pictures for prior preservation (Ruiz et al. 2022, arXiv:2208.12242, section 3.2); 0 is without."""
    prior_loss_weight: float = 1.0
    unconditional_prior: float = 0.0
    """How often class pictures come without a caption, 0 to 1. Guidance pushes away from what the network says to no
    caption at all; where that moves towards the concept, pictures of it fade, and everything else drifts."""
    prior_from_model: bool = False
    """Hold class pictures to what the model itself predicts of them, in place of the noise (see `teacher`). It costs
    a forward of theirs without gradients."""
    weight_decay: float = 0.01
    """Never of embeddings."""
    max_grad_norm: float = 1.0
    warmup_steps: int = 0
    final_rate: float = 1.0
    """What is left of the learning rate at the last step: it falls evenly from step to step."""
    snr_gamma: float | None = None
    """Min-SNR weighting (Hang et al. 2023, arXiv:2303.09556); None: all timesteps count alike."""
    first_timestep: int = 0
    """Timesteps are drawn from here on: little noise says little of a subject."""
    checkpoint_every: int = 50
    evaluate_every: int = 50
    evaluation_rows: int = 8
    """Timesteps of the deterministic loss, spread evenly."""
    patience: int = 4
    """Stop after so many evaluations in a row without a loss that is lower by `min_improvement`; 0: never."""
    min_improvement: float = 0.002
    """Relative to the best so far."""
    min_steps: int = 0
    """No stop before."""
    samples: int = 4
    """Pictures at a quarter, a half, three quarters and the end; 0: none."""
    width: int | None = None
    """Of training pictures, in pixels; None: the model's own."""
    height: int | None = None

    def picture_size(self, info: ModelInfo) -> tuple[int, int]:
        """Width and height of training pictures, in pixels."""
        return self.width or info.defaults.width, self.height or info.defaults.height

    @property
    def forward_rows(self) -> int:
        """How many rows a forward has at most."""
        return min(self.micro_rows, self.batch_size * (2 if self.prior_images else 1))


_LARGE: Final = {
    Method.TEXTUAL_INVERSION: TrainingSettings(
        learning_rate=2e-3, max_steps=1500, batch_size=4, vectors=2, templates=PHOTO, weight_decay=0.0, min_steps=500
    ),
    Method.LORA: TrainingSettings(
        learning_rate=1e-4, max_steps=500, batch_size=1, rank=8, prior_images=100, templates=PLAIN, min_steps=200
    ),
    Method.DREAMBOOTH: TrainingSettings(
        learning_rate=2e-6,
        text_learning_rate=1e-6,
        weight_decay=0.0,
        max_steps=400,
        person_steps=800,
        batch_size=1,
        prior_images=200,
        checkpoint_every=200,
        min_steps=200,
    ),
}
"""Stable Diffusion 1.x and 2.x, and XL for the methods that it has."""

_SMALL: Final = {
    Method.TEXTUAL_INVERSION: TrainingSettings(
        learning_rate=2e-2,
        final_rate=0.02,
        max_steps=500,
        patience=0,
        batch_size=4,
        micro_rows=4,
        vectors=8,
        norm_limit=8.0,
        flip=0.0,
        name_backgrounds=0.5,
        templates=PICTOGRAM,
        weight_decay=0.0,
    ),
    Method.LORA: TrainingSettings(
        learning_rate=1e-3,
        text_learning_rate=5e-3,
        final_rate=0.1,
        max_steps=400,
        patience=0,
        batch_size=3,
        micro_rows=6,
        rank=16,
        text_rank=16,
        layers=LoraLayers.ALL,
        prior_images=40,
        unconditional_prior=0.33,
        prior_from_model=True,
        flip=0.0,
        name_backgrounds=0.5,
        templates=PICTOGRAM,
    ),
    Method.DREAMBOOTH: TrainingSettings(
        learning_rate=2e-4,
        text_learning_rate=4e-4,
        weight_decay=0.0,
        final_rate=0.1,
        max_steps=400,
        patience=0,
        batch_size=2,
        micro_rows=4,
        prior_images=40,
        unconditional_prior=0.33,
        prior_from_model=True,
        flip=0.0,
        name_backgrounds=0.5,
        templates=PICTOGRAM,
        checkpoint_every=100,
    ),
}
"""The bundled model. Found on other things than those that `evaluation` takes (see `views.FOR_TUNING`). It knows a
word by a single pictogram, so all layers have to move, and a mirrored thing is another one to it. Trainings
take about a minute and are best at the end of the falling rate: none stops early."""


def settings_for(info: ModelInfo, method: Method) -> TrainingSettings:
    """The table's row for a model, chosen by the size of its pictures."""
    small = max(info.defaults.width, info.defaults.height) <= SMALL_WIDTH
    return (_SMALL if small else _LARGE)[method]


def ordered_settings(settings: TrainingSettings, order: TrainingOrder) -> TrainingSettings:
    """`settings` with what an order says itself."""
    if order.depicts.is_person and settings.person_steps is not None:
        settings = msgspec.structs.replace(settings, max_steps=settings.person_steps)
    if order.max_steps is not None:
        most = min(settings.max_steps, order.max_steps)
        settings = msgspec.structs.replace(settings, max_steps=most, min_steps=min(settings.min_steps, most))
    if order.prior_preservation is not None:
        images = (settings.prior_images or _PRIOR_IMAGES) if order.prior_preservation else 0
        settings = msgspec.structs.replace(settings, prior_images=images)
    return settings
