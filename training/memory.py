"""How much memory it takes to train all weights of a model, and how much there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.overrides import TorchFunctionMode

from generation.forward import call_unet, made_up_inputs
from generation.live_bytes import on_meta, peak_bytes
from generation.memory import GIB, RESERVED, card_bytes
from training.events import TrainingRefused

if TYPE_CHECKING:
    from torch import Tensor

    from generation.forward import Inputs
    from generation.model import LoadedModel

_PER_WEIGHT: Final = 4 * 4
"""Bytes in float32: the weight, its gradient, and AdamW's two moments."""
_COPIED: Final = 3 * 4
"""Bytes of each weight in a checkpoint, which lies in the computer's memory until it is written."""
_SMALL: Final = 10**8
"""Weights: a model of fewer trains adapters wherever it can draw."""
_MEMORY_INFO: Final = Path("/proc/meminfo")
_GROUP: Final = Path("/sys/fs/cgroup")
_PAGES_OF_FILES: Final = ("inactive_file", "active_file")
_found: dict[tuple[str, int, int, int, bool], int] = {}
"""Of which model, how many rows of which size, and whether activations are computed again: how many bytes."""


def choose_checkpointing(model: LoadedModel, rows: int, width: int, height: int) -> bool:
    """Must activations be computed again on the way back, to train all weights with `rows` rows of that size at a
    time (Chen et al. 2016, arXiv:1604.06174)? A third slower, and a fraction of the memory.

    Raises:
        TrainingRefused: not even that fits; the sentence says how much it needs and how much there is.
    """
    there = memory_there(model.device)
    if there is None:
        return False
    there -= _kept_for_pictures(model)
    needed = 0.0
    for checkpointing in (False, True):
        needed = bytes_to_train(model, rows, width, height, checkpointing=checkpointing)
        if needed <= there:
            return checkpointing
    kind = "graphics memory" if model.device.type == "cuda" else "memory"
    raise TrainingRefused(
        f"DreamBooth trains every weight of the model, which needs {needed / GIB:.1f} GB of {kind} beside the "
        f"pictures; {max(there, 0) / GIB:.1f} GB are free here. Train a LoRA instead: it needs far less."
    )


def checkpointing_for_adapters(model: LoadedModel, rows: int, width: int, height: int) -> bool:
    """As `choose_checkpointing`, where the weights stay frozen: what is trained beside them is next to nothing.

    Raises:
        TrainingRefused: the sentence says how much it needs and how much there is.
    """
    there = memory_there(model.device)
    if there is None or model.info.parameters < _SMALL:
        return False
    there -= _kept_for_pictures(model)
    needed = 0.0
    for checkpointing in (False, True):
        needed = _activations(model, rows, width, height, checkpointing=checkpointing)
        if needed <= there:
            return checkpointing
    kind = "graphics memory" if model.device.type == "cuda" else "memory"
    raise TrainingRefused(
        f"Training needs {needed / GIB:.1f} GB of {kind} beside the pictures; {max(there, 0) / GIB:.1f} GB are free "
        "here. It can be done with a smaller model."
    )


def bytes_to_train(model: LoadedModel, rows: int, width: int, height: int, *, checkpointing: bool) -> float:
    """Of float32 copies of the UNet and the text encoders with their gradients and moments, and of what a forward
    keeps for the way back; without a card, of a checkpoint as well. Nothing is run or allocated."""
    networks = (model.unet, *model.text_encoders)
    weights = sum(weight.numel() for network in networks for weight in network.parameters())
    # Mixed precision keeps a copy of each weight for the way back.
    cast = model.dtype.itemsize * weights if model.dtype != torch.float32 else 0
    each = _PER_WEIGHT + (_COPIED if model.device.type == "cpu" else 0)
    return each * weights + cast + _activations(model, rows, width, height, checkpointing=checkpointing)


def memory_there(device: torch.device) -> float | None:
    """Bytes that this process may yet have; None where that can't be told."""
    if device.type == "cuda":
        return card_bytes(device)
    if device.type != "cpu":
        return None
    limits = [value for value in (_available(), _left_of_group()) if value is not None]
    return min(limits, default=None)


def _kept_for_pictures(model: LoadedModel) -> float:
    """On a card, what the pictures that are drawn meanwhile work with."""
    if model.memory is None:
        return 0.0
    needs, plan = model.memory.needs, model.memory.plan
    return RESERVED + max(needs.forward(plan.rows, needs.area), needs.decode_tiled if plan.tiled else needs.decode)


def _activations(model: LoadedModel, rows: int, width: int, height: int, *, checkpointing: bool) -> int:
    """As if all were in float32: what mixed precision leaves in float32, the norms above all, is most of it.

    Found once for a model: with a large one that takes seconds.
    """
    key = model.info.hash, rows, width, height, checkpointing
    if key not in _found:
        unet: Any = on_meta(model.unet).float().requires_grad_(True)
        if checkpointing:
            unet.enable_gradient_checkpointing()
        (latent_height, latent_width), defaults = model.latent_size, model.info.defaults
        latents = latent_height * height // defaults.height, latent_width * width // defaults.width
        tokens = model.tokenizers[0].model_max_length
        inputs = made_up_inputs(model.unet_config, rows, *latents, tokens).to(torch.device("meta"), torch.float32)
        _found[key] = peak_bytes(lambda: _with_gradients(unet, inputs))
    return _found[key]


def _with_gradients(unet: Any, inputs: Inputs) -> Tensor:
    with torch.enable_grad(), _TrainedAttention():
        return call_unet(unet, inputs)


class _TrainedAttention(TorchFunctionMode):
    """Attention as fused kernels do it where gradients go back through: they keep what they were given."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        given = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
        return _Keeping.apply(given["query"], given["key"], given["value"])


class _Keeping(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # type: ignore[override]
        output = query.new_empty((*query.shape[:-1], value.shape[-1]))
        ctx.save_for_backward(query, key, value, output)
        return output


# ── of a computer without a card ──


def _available() -> float | None:
    """Linux' own estimate of what a new program may have."""
    try:
        lines = _MEMORY_INFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _left_of_group() -> float | None:
    """In a container, what its limit leaves. Pages of files that were read count as held, and make way."""
    try:
        most = (_GROUP / "memory.max").read_text(encoding="ascii").strip()
        held = (_GROUP / "memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return None
    if most == "max":
        return None
    try:
        counts = dict(line.split() for line in (_GROUP / "memory.stat").read_text(encoding="ascii").splitlines())
    except OSError:
        counts = {}
    return float(int(most) - int(held) + sum(int(counts.get(kind, 0)) for kind in _PAGES_OF_FILES))
