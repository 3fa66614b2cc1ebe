"""What suits a model when nothing else is asked: from its `atelier.json`, its name and its networks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from generation import limits
from generation.layout import ModelError
from generation.request import ModelDefaults

if TYPE_CHECKING:
    from pathlib import Path

    from generation.families import Family

_PIXELS_PER_DEFAULT: Final = 4
"""Unless `atelier.json` says otherwise, a model draws up to four times the area that it was made for."""
_FAST: Final = frozenset({"turbo", "lightning", "lcm"})
"""Words in the names of models that were distilled to few steps; nothing in their weights says it."""
_FAST_STEPS: Final = 4
_FAST_GUIDANCE: Final = 1.0
_EMBEDDED_GUIDANCE: Final = 8.0
"""Of latent consistency models that are told the guidance (arXiv 2310.04378)."""


class AtelierFile(msgspec.Struct):
    """`atelier.json` in a model's folder, `NAME.atelier.json` beside `NAME.safetensors`: what it does best.

    All of it is optional.
    """

    name: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    max_pixels: int | None = None
    upscale_strength: float | None = None
    prediction_type: str | None = None
    """`epsilon` or `v_prediction`, for a single file, which seldom says it."""


class Networks(NamedTuple):
    """What the networks say about sizes and guidance."""

    side: tuple[int, int]
    """Width and height that the model was made for, in pixels."""
    size_multiple: int
    guidance_embedded: bool


def read_atelier_file(path: Path) -> AtelierFile:
    """The file's content, or an empty one where there is none.

    Raises:
        ModelError: it can't be read.
    """
    if not path.is_file():
        return AtelierFile()
    try:
        return msgspec.json.decode(path.read_bytes(), type=AtelierFile)
    except msgspec.DecodeError as error:
        raise ModelError(f"{path.name} can't be read: {error}.") from error


def words(name: str) -> set[str]:
    """The words of a file's or repository's name: `sd_xl-Turbo1.0` and `sdXLTurbo` both hold “turbo”."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return set(re.findall(r"[a-z]+|\d+", apart.lower()))


def networks_say(unet_config: Any, factor: int) -> Networks:
    """From the UNet's configuration and the VAE's pixels per latent."""
    sample = unet_config.sample_size
    rows, columns = (sample, sample) if isinstance(sample, int) else sample
    multiple = max(limits.SIDE_MULTIPLE, factor * 2 ** (len(unet_config.block_out_channels) - 1))
    return Networks((columns * factor, rows * factor), multiple, unet_config.time_cond_proj_dim is not None)


def defaults_of(name: str, family: Family, networks: Networks, atelier: AtelierFile) -> ModelDefaults:
    """What to draw with. `name` is the last part of where the model came from."""
    steps, guidance = ModelDefaults().num_inference_steps, family.guidance_scale
    if networks.guidance_embedded:
        steps, guidance = _FAST_STEPS, _EMBEDDED_GUIDANCE
    elif words(name) & _FAST:
        steps, guidance = _FAST_STEPS, _FAST_GUIDANCE
    width, height = atelier.width or networks.side[0], atelier.height or networks.side[1]
    return ModelDefaults(
        num_inference_steps=steps if atelier.num_inference_steps is None else atelier.num_inference_steps,
        guidance_scale=guidance if atelier.guidance_scale is None else atelier.guidance_scale,
        width=width,
        height=height,
        size_multiple=networks.size_multiple,
        max_pixels=atelier.max_pixels or width * height * _PIXELS_PER_DEFAULT,
        upscale_strength=ModelDefaults().upscale_strength
        if atelier.upscale_strength is None
        else atelier.upscale_strength,
    )
