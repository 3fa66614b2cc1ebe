"""Load a model in the diffusers folder layout: `bundled`, a folder, or a repository on the Hugging Face hub.

Only safetensors are read. Pickles (.bin, .ckpt, .pt) can run code when they are opened and are refused;
so is code that comes with a repository.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from generation import limits
from generation.layout import WEIGHT_FOLDERS, ModelError, folder_layout, weight_variant
from generation.own_check import OwnCheck, load_own_check
from generation.parts import load_part
from generation.request import ModelDefaults, ModelInfo
from generation.schedulers import corrected_config, scheduler_name

if TYPE_CHECKING:
    from collections.abc import Callable

BUNDLED: Final = "bundled"
_BUNDLED_FOLDER: Final = Path(__file__).parent / "bundled"
_VAES: Final = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
_PREDICTION_TYPES: Final = ("epsilon", "v_prediction", "sample")
_OTHER_INPUTS: Final = ("time_cond_proj_dim", "class_embed_type", "addition_embed_type")
"""Settings of a UNet that wants to be told more than the time and the text."""
_PIXELS_PER_DEFAULT: Final = 4
"""Unless `atelier.json` says otherwise, a model draws up to four times the area that it was made for."""

__all__ = ["BUNDLED", "LoadedModel", "ModelError", "load_model"]


class AtelierFile(msgspec.Struct):
    """`atelier.json` in a model's folder: what it does best. All of it is optional."""

    name: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    max_pixels: int | None = None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The parts of one model, on their device, frozen."""

    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    scheduler_config: dict[str, Any]
    info: ModelInfo
    device: torch.device
    dtype: torch.dtype
    own_check: OwnCheck | None = None

    @property
    def unet_config(self) -> Any:
        return self.unet.config

    @property
    def vae_config(self) -> Any:
        return self.vae.config

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, along each side."""
        return 2 ** (len(self.vae_config.block_out_channels) - 1)


def load_model(
    source: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    own_check: bool = False,
    report: Callable[[str, float | None], None] = lambda text, fraction: None,
) -> LoadedModel:
    """Load `source`: `bundled`, a folder, or a hub id (`organisation/name`, with `@revision` if wanted).

    `device` is `auto` or a torch device; `dtype` is `auto`, `float32`, `float16` or `bfloat16` (auto:
    float32 on a CPU, else bfloat16 where the card has it, else float16). With `own_check` the model's own
    safety checker comes along where it ships one. `report` gets what is going on and how much of it is done
    (0 to 1, None if unknown); it may be called from other threads.

    Raises:
        ModelError: one sentence: nothing there, not such a model, no network, weights that are pickles.
    """
    chosen = _device(device)
    kind = _dtype(dtype, chosen)
    folder = _folder(source, half_precision=kind != torch.float32, own_check=own_check, report=report)
    layout = folder_layout(folder, source)
    atelier = _atelier_file(folder)
    parts = _load_networks(folder, layout.vae_class, chosen, kind, report)
    tokenizer = _load_tokenizer(folder, parts["text_encoder"])
    scheduler_config = corrected_config(layout.scheduler_config)
    _check_fit(source, parts, scheduler_config)
    report("checking the weights", None)
    factor = 2 ** (len(parts["vae"].config.block_out_channels) - 1)
    info = ModelInfo(
        name=atelier.name or (source if source != BUNDLED else "Atelier bundled"),
        source=source,
        family="stable-diffusion",
        hash=weights_hash(folder, prefer_fp16=kind != torch.float32),
        defaults=_defaults(atelier, parts["unet"].config, factor),
        prediction_type=scheduler_config.get("prediction_type", "epsilon"),
        parameters=sum(weight.numel() for part in parts.values() for weight in part.parameters()),
        scheduler=scheduler_name(scheduler_config),
        device=str(chosen),
        dtype=str(kind).removeprefix("torch."),
    )
    parts["own_check"] = load_own_check(folder, chosen, kind) if own_check else None
    report("ready", 1.0)
    return LoadedModel(
        tokenizer=tokenizer, scheduler_config=scheduler_config, info=info, device=chosen, dtype=kind, **parts
    )


def weights_hash(folder: Path, *, prefer_fp16: bool = False) -> str:
    """SHA-256 over the weight files that are loaded, by name and content."""
    total = hashlib.sha256()
    for part in WEIGHT_FOLDERS:
        variant = weight_variant(folder, part, prefer_fp16=prefer_fp16)
        for path in variant.weights:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{part}/{path.name} {digest}\n".encode())
    return total.hexdigest()


def _folder(
    source: str, *, half_precision: bool, own_check: bool, report: Callable[[str, float | None], None]
) -> Path:
    if source == BUNDLED:
        if not (_BUNDLED_FOLDER / "model_index.json").is_file():
            raise ModelError("The bundled model is not in this installation; choose a folder or a hub id instead.")
        return _BUNDLED_FOLDER
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelError(f"“{source}” is a file; give the folder of a model in the diffusers layout.")
    from generation.hub import download, is_hub_id  # noqa: PLC0415 (no HTTP client where there is a folder)

    if not is_hub_id(source):
        allowed = "give “bundled”, the folder of a model, or a hub id such as organisation/name"
        raise ModelError(f"There is no model at “{source}”; {allowed}.")
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


def _atelier_file(folder: Path) -> AtelierFile:
    path = folder / "atelier.json"
    if not path.is_file():
        return AtelierFile()
    try:
        return msgspec.json.decode(path.read_bytes(), type=AtelierFile)
    except msgspec.DecodeError as error:
        raise ModelError(f"{path} can't be read: {error}.") from error


def _load_networks(
    folder: Path,
    vae_class: str,
    device: torch.device,
    dtype: torch.dtype,
    report: Callable[[str, float | None], None],
) -> dict[str, Any]:
    classes = {"text_encoder": CLIPTextModel, "unet": UNet2DConditionModel, "vae": _VAES[vae_class]}
    parts: dict[str, Any] = {}
    for done, part in enumerate(WEIGHT_FOLDERS):
        report(f"reading the {part.replace('_', ' ')}", done / len(WEIGHT_FOLDERS))
        parts[part] = load_part(classes[part], folder, part, dtype).to(device)
        if device.type == "cuda" and part != "text_encoder":
            parts[part].to(memory_format=torch.channels_last)
    return parts


def _load_tokenizer(folder: Path, text_encoder: Any) -> CLIPTokenizer:
    try:
        tokenizer: Any = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except Exception as error:  # as above
        raise ModelError(f"The tokenizer in {folder} can't be loaded: {error}") from error
    positions: int = text_encoder.config.max_position_embeddings
    tokenizer.model_max_length = min(tokenizer.model_max_length, positions)
    return tokenizer


def _check_fit(source: str, parts: dict[str, Any], scheduler_config: dict[str, Any]) -> None:
    unet, vae, text = parts["unet"].config, parts["vae"].config, parts["text_encoder"].config
    if unet.in_channels != vae.latent_channels:
        what = f"its UNet reads {unet.in_channels} channels and its VAE makes {vae.latent_channels}"
        raise ModelError(f"“{source}” is not a text-to-image model: {what}.")
    if unet.cross_attention_dim != text.hidden_size:
        what = f"its UNet reads text of width {unet.cross_attention_dim}, its encoder writes {text.hidden_size}"
        raise ModelError(f"“{source}” does not fit together: {what}.")
    wants = [name for name in _OTHER_INPUTS if getattr(unet, name, None) is not None]
    if wants:
        what = f"its UNet needs inputs beside the time and the text ({', '.join(wants)})"
        raise ModelError(f"“{source}” is of a kind that can't be drawn with yet: {what}.")
    prediction_type = scheduler_config.get("prediction_type", "epsilon")
    if prediction_type not in _PREDICTION_TYPES:
        raise ModelError(f"“{source}” predicts “{prediction_type}”; only {', '.join(_PREDICTION_TYPES)} work.")


def _defaults(atelier: AtelierFile, unet_config: Any, factor: int) -> ModelDefaults:
    sample = unet_config.sample_size
    rows, columns = (sample, sample) if isinstance(sample, int) else sample
    width, height = atelier.width or columns * factor, atelier.height or rows * factor
    usual = ModelDefaults()
    steps, guidance = atelier.num_inference_steps, atelier.guidance_scale
    return ModelDefaults(
        num_inference_steps=usual.num_inference_steps if steps is None else steps,
        guidance_scale=usual.guidance_scale if guidance is None else guidance,
        width=width,
        height=height,
        size_multiple=max(limits.SIDE_MULTIPLE, factor * 2 ** (len(unet_config.block_out_channels) - 1)),
        max_pixels=atelier.max_pixels or width * height * _PIXELS_PER_DEFAULT,
    )
