"""Load a model: `bundled`, a folder in the diffusers layout, a repository on the Hugging Face hub, or a single file.

Only safetensors are read. Pickles (.bin, .ckpt, .pt) can run code when they are opened and are refused;
so is code that comes with a repository.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from generation.defaults import defaults_of, networks_say, read_atelier_file
from generation.families.guidance import guidance_embedding
from generation.layout import ModelError, called, folder_layout
from generation.memory import card_bytes, computed_needs, make_plan
from generation.own_check import OwnCheck, load_own_check
from generation.parts import load_parts, no_remarks, weights_hash
from generation.request import ModelInfo
from generation.schedulers import corrected_config, scheduler_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    from generation.families import Family
    from generation.memory import Needs, Plan
    from generation.parts import Parts

    Report = Callable[[str, float | None], None]

logger = logging.getLogger(__name__)

BUNDLED: Final = "bundled"
_BUNDLED_FOLDER: Final = Path(__file__).parent / "bundled"
_PREDICTION_TYPES: Final = ("epsilon", "v_prediction", "sample")

__all__ = ["BUNDLED", "LoadedModel", "ModelError", "load_model", "weights_hash"]


@dataclass(frozen=True, slots=True)
class Memory:
    """What a model needs of its card, and how it is held there."""

    needs: Needs
    plan: Plan


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The parts of one model, on their device, frozen."""

    family: Family
    text_encoders: tuple[CLIPTextModel | CLIPTextModelWithProjection, ...]
    """As many as the family has, each with its tokenizer."""
    tokenizers: tuple[CLIPTokenizer, ...]
    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    """In `dtype`, or in float32 where it would overflow in float16 (SDXL's does)."""
    scheduler_config: dict[str, Any]
    info: ModelInfo
    device: torch.device
    dtype: torch.dtype
    own_check: OwnCheck | None = None
    memory: Memory | None = None
    """None where there is no card to share out (a CPU, MPS)."""

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of the latents of a picture of the model's own size."""
        defaults, factor = self.info.defaults, self.vae_scale_factor
        return defaults.height // factor, defaults.width // factor

    @property
    def unet_config(self) -> Any:
        return self.unet.config

    @property
    def vae_config(self) -> Any:
        return self.vae.config

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, along each side."""
        return _scale_factor(self.vae)

    @property
    def guidance_embedded(self) -> bool:
        """Is the UNet told the guidance (latent consistency models)? Then one row is guided by itself."""
        return self.unet_config.time_cond_proj_dim is not None

    def timestep_cond(self, guidance_scales: Sequence[float]) -> torch.Tensor | None:
        """The UNet's `timestep_cond` for rows with these scales, `[rows, n]`; None where it has no such input."""
        if not self.guidance_embedded:
            return None
        return guidance_embedding(guidance_scales, self.unet_config.time_cond_proj_dim).to(self.device, self.dtype)


def load_model(
    source: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    own_check: bool = False,
    report: Report = lambda text, fraction: None,
) -> LoadedModel:
    """Load `source`: `bundled`, a folder, a `.safetensors` file, or a hub id.

    A hub id is `organisation/name`, with `@revision` if wanted. `device` is `auto` or a torch device; `dtype`
    is `auto`, `float32`, `float16` or `bfloat16` (auto: float32 on a CPU, else bfloat16 where the card has it,
    else float16). With `own_check` the model's own safety checker comes along where its folder ships one.
    `report` gets what is going on and how much of it is done (0 to 1, None if unknown); it may be called from
    other threads.

    Raises:
        ModelError: one sentence: nothing there, not such a model, no network, weights that are pickles.
    """
    chosen = _device(device)
    kind = _dtype(dtype, chosen)
    half = kind != torch.float32
    path = Path(source).expanduser().absolute()
    logger.info("loading %s", source)  # in full: sentences and names have the last part of a path only
    if path.is_file():
        from generation.single_file import load_single_file, settings_file  # noqa: PLC0415 (diffusers' pipelines)

        atelier = read_atelier_file(settings_file(path))
        parts = load_single_file(path, kind, report, prediction_type=atelier.prediction_type)
        checker, name = None, path.stem
    else:
        folder = _folder(source, half_precision=half, own_check=own_check, report=report)
        atelier = read_atelier_file(folder / "atelier.json")
        parts = load_parts(folder, folder_layout(folder), kind, report)
        checker = load_own_check(folder, chosen, kind) if own_check else None
        name = called(path) if folder == path else source
    scheduler_config = corrected_config(parts.scheduler_config)
    _check_fit(name, parts, scheduler_config)
    _upcast_vae(parts, kind)
    networks = (*parts.text_encoders, parts.unet, parts.vae)
    factor = _scale_factor(parts.vae)
    defaults = defaults_of(name, parts.family, networks_say(parts.unet.config, factor), atelier)
    memory = _memory(parts, chosen, (defaults.height // factor, defaults.width // factor), name)
    _place(parts, chosen, () if memory is None else memory.plan.offloaded)
    info = ModelInfo(
        name=atelier.name or (name if source != BUNDLED else "Atelier bundled"),
        source=source,
        family=parts.family.name,
        hash=parts.hash,
        defaults=defaults,
        prediction_type=scheduler_config.get("prediction_type", "epsilon"),
        parameters=sum(weight.numel() for network in networks for weight in network.parameters()),
        scheduler=scheduler_name(scheduler_config),
        device=str(chosen),
        dtype=str(kind).removeprefix("torch."),
    )
    report("ready", 1.0)
    return LoadedModel(
        family=parts.family,
        text_encoders=parts.text_encoders,
        tokenizers=parts.tokenizers,
        unet=parts.unet,
        vae=parts.vae,
        scheduler_config=scheduler_config,
        info=info,
        device=chosen,
        dtype=kind,
        own_check=checker,
        memory=memory,
    )


def _scale_factor(vae: Any) -> int:
    return 2 ** (len(vae.config.block_out_channels) - 1)


def _folder(source: str, *, half_precision: bool, own_check: bool, report: Report) -> Path:
    if source == BUNDLED:
        if not (_BUNDLED_FOLDER / "model_index.json").is_file():
            raise ModelError("The bundled model is not in this installation; choose a folder or a hub id instead.")
        return _BUNDLED_FOLDER
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        return path
    from generation.hub import download, is_hub_id  # noqa: PLC0415 (no HTTP client where there is a folder)

    if not is_hub_id(source):
        allowed = "give “bundled”, a model's folder or .safetensors file, or a hub id such as organisation/name"
        # As it was typed, unless that says where things are on this machine: members see it too.
        typed = called(path) if source.startswith(("/", "~")) or Path(source).is_absolute() else source
        raise ModelError(f"There is no model at “{typed}”; {allowed}.")
    return download(source, half_precision=half_precision, own_check=own_check, report=report)


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"torch can't use the device “{name}” here.") from error
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    kinds = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name == "auto":
        if device.type == "cpu":
            return torch.float32
        if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        return torch.float16
    if name not in kinds:
        raise ModelError(f"dtype must be auto, {', '.join(kinds)}, not “{name}”.")
    return kinds[name]


def _check_fit(name: str, parts: Parts, scheduler_config: dict[str, Any]) -> None:
    unet, vae = parts.unet.config, parts.vae.config
    if unet.in_channels != vae.latent_channels:
        what = f"its UNet reads {unet.in_channels} channels and its VAE makes {vae.latent_channels}"
        raise ModelError(f"“{name}” is not a text-to-image model: {what}.")
    misfit = parts.family.misfit(unet, [encoder.config for encoder in parts.text_encoders])
    if misfit is not None:
        raise ModelError(f"“{name}” can't be drawn with: {misfit}.")
    prediction_type = scheduler_config.get("prediction_type", "epsilon")
    if prediction_type not in _PREDICTION_TYPES:
        raise ModelError(f"“{name}” predicts “{prediction_type}”; only {', '.join(_PREDICTION_TYPES)} work.")


def _upcast_vae(parts: Parts, dtype: torch.dtype) -> None:
    """To float32 where it would overflow in float16."""
    if dtype == torch.float16 and parts.family.vae_overflows and getattr(parts.vae.config, "force_upcast", False):
        with no_remarks():
            parts.vae.to(torch.float32)


def _memory(parts: Parts, device: torch.device, latent_size: tuple[int, int], name: str) -> Memory | None:
    """Before anything is moved to the card: an out-of-memory error would not say what is missing."""
    if device.type != "cuda":
        return None
    needs = computed_needs(parts.text_encoders, parts.unet, parts.vae, *latent_size)
    plan = make_plan(needs, card_bytes(device), latent_size[0] * latent_size[1], what=f"“{name}”")
    return Memory(needs, plan)


def _place(parts: Parts, device: torch.device, offloaded: Sequence[str]) -> None:
    """Move the networks to where they run, in the memory format in which they run."""
    if "text_encoders" not in offloaded:
        for encoder in parts.text_encoders:
            encoder.to(device)
    for network in (parts.unet,) if "vae" in offloaded else (parts.unet, parts.vae):
        network.to(device)
    if device.type == "cuda":
        for network in (parts.unet, parts.vae):
            network.to(memory_format=torch.channels_last)
