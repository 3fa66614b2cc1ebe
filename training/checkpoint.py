"""Checkpoints of a training: copied between two steps, written beside them, whole or not there."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import torch
from safetensors import SafetensorError, safe_open

from training.early_stop import EarlyStop
from training.tensors import write_tensors

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from torch import Tensor

logger = logging.getLogger(__name__)

FILE: Final = "checkpoint.safetensors"
_NOTES: Final = "notes"
_PIECE: Final = 1 << 28
"""Bytes that are copied between two pictures' steps."""


class Notes(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint says beside its tensors."""

    fingerprint: str
    """Of the order, the settings, the model and the photos: another training's checkpoint is not taken up."""
    step: int
    """Steps of the optimizer that are done."""
    seconds: float
    sampled: list[float]
    """Fractions of the way at which pictures were shown."""
    watch: EarlyStop


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    notes: Notes
    tensors: dict[str, Tensor]


class Checkpoints:
    """The checkpoint of one training in its work folder, and the thread that writes it."""

    def __init__(self, work: Path, fingerprint: str) -> None:
        self._file, self._fingerprint = work / FILE, fingerprint
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def load(self) -> Checkpoint | None:
        """The latest whole one of this very training; None if there is none."""
        try:
            with safe_open(self._file, framework="pt") as handle:
                notes = msgspec.json.decode((handle.metadata() or {})[_NOTES], type=Notes)
                if notes.fingerprint != self._fingerprint:
                    return None
                names = handle.keys()
                return Checkpoint(notes, {name: handle.get_tensor(name).clone() for name in names})
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError, msgspec.MsgspecError) as error:
            logger.warning("a checkpoint can't be read, the training starts anew: %s", error)
            return None

    def save(self, tensors: Mapping[str, Tensor], notes: Notes) -> Generator[None, None, None]:
        """Copy now, yielding now and then where it is much, and write later. While one is still being written the
        next one is left out.

        Raises:
            OSError: the one before could not be written.
        """
        if self._writing is not None:
            if not self._writing.done():
                return
            self._writing.result()
        copied: dict[str, Tensor] = {}
        size = 0
        for name, tensor in tensors.items():
            copied[name] = tensor.detach().to("cpu", copy=True)
            size += tensor.nbytes
            if size > _PIECE:
                size = 0
                yield
        text = msgspec.json.encode(notes).decode()
        self._writing = self._writer.submit(write_tensors, self._file, copied, {_NOTES: text})

    def finish(self) -> None:
        """Wait for what is being written.

        Raises:
            OSError: it could not be.
        """
        if self._writing is not None:
            self._writing.result()

    def close(self) -> None:
        """End the thread, when it has written."""
        self._writer.shutdown()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's memory by parameter number and name: `3.exp_avg`."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, own in state.items() for name, value in own.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The way back."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
