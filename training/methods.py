"""The three methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.lora import Lora
from training.memory import checkpointing_for_adapters
from training.order import Method
from training.textual_inversion import TextualInversion

if TYPE_CHECKING:
    from generation.model import LoadedModel
    from training.defaults import TrainingSettings
    from training.learner import Learner
    from training.order import TrainingOrder


def learner_for(model: LoadedModel, order: TrainingOrder, settings: TrainingSettings) -> Learner:
    """What `order` trains, at its start.

    Raises:
        TrainingRefused: not on this machine.
    """
    if order.method is Method.TEXTUAL_INVERSION:
        return TextualInversion(model, order, settings)
    if order.method is Method.LORA:
        return Lora(model, order, settings)
    from training.dreambooth import DreamBooth  # noqa: PLC0415 (only who unfreezes everything needs it)

    return DreamBooth(model, order, settings)


def check(model: LoadedModel, order: TrainingOrder, settings: TrainingSettings) -> None:
    """Before anything else is done for it.

    Raises:
        TrainingRefused: not on this machine, or not this model.
    """
    if order.method is Method.DREAMBOOTH:
        from training import dreambooth  # noqa: PLC0415 (as above)

        dreambooth.check(model, settings)
    else:
        checkpointing_for_adapters(model, settings.forward_rows, *settings.picture_size(model.info))
