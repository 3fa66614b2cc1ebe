"""How many rows of a batch fit on a card, and what has to leave it for that.

Weights are counted. Activations are computed without a card (see `live_bytes`), and measured on one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

from generation.forward import BUCKETS, call_unet, made_up_inputs
from generation.layout import ModelError
from generation.live_bytes import on_meta, peak_bytes, weight_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GIB: Final = 1024**3
RESERVED: Final = GIB
"""For the CUDA context, the display, cuDNN's workspaces and what the allocator can't use."""
_ENOUGH_ROWS: Final = 8
"""Four guided pictures: above, a step takes nearly as much longer as it has more rows."""
_OFFLOADS: Final = ((), ("text_encoders",), ("text_encoders", "vae"))
"""In the order of what they cost: texts are cached, every picture is decoded."""


class DoesNotFit(ModelError):
    """Not even one row fits on this card. `needed` and `there` are bytes."""

    def __init__(self, what: str, needed: float, there: float) -> None:
        self.needed, self.there = needed, there
        there_is = f"there are {there / GIB:.1f} GB"
        super().__init__(f"{what} needs {needed / GIB:.1f} GB of graphics memory; {there_is}.")


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes: of the weights, and of activations for latents with `area` places (height × width)."""

    text_encoders: int
    unet: int
    vae: int
    area: int
    base: float
    """Of a forward, whatever its rows."""
    per_row: float
    decode: float
    decode_tiled: float
    """In tiles of half the side (see `set_tiling`), at any size."""

    def forward(self, rows: int, area: int) -> float:
        """At any size: activations grow with the area, as fused attention never holds its whole matrix."""
        return self.base + self.per_row * rows * area / self.area

    def at_worst(self, plan: Plan, area: int) -> float:
        """On the card while a text is encoded, a forward runs, or a picture is decoded: the most of these."""
        resident = self.unet
        resident += self.text_encoders if "text_encoders" not in plan.offloaded else 0
        resident += self.vae if "vae" not in plan.offloaded else 0
        text_encoders = self.text_encoders if "text_encoders" in plan.offloaded else 0
        decode = self.decode_tiled if plan.tiled else self.decode * area / self.area
        decode += self.vae if "vae" in plan.offloaded else 0
        return resident + max(text_encoders, self.forward(plan.rows, area), decode)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model is held on a card, for latents of one area."""

    rows: int
    """The largest bucket that fits."""
    offloaded: tuple[str, ...] = ()
    """Of `text_encoders` and `vae`: those that wait in the main memory between uses (see `offload`)."""
    tiled: bool = False
    """Does the VAE work in tiles?"""


def make_plan(
    needs: Needs,
    total: float,
    area: int,
    *,
    reserved: float = RESERVED,
    offloads: Sequence[tuple[str, ...]] = _OFFLOADS,
    what: str = "This model",
) -> Plan:
    """For a card of `total` bytes and latents of `area` places.

    As little as possible is offloaded or tiled for eight rows; where eight don't fit, for the most that do. For
    another size on a model that is loaded already, give its plan's `offloaded` as the only one of `offloads`.

    Raises:
        DoesNotFit: one sentence, with `what` needs how much.
    """
    ways = [Plan(1, offloaded, tiled) for offloaded in offloads for tiled in (False, True)]
    best: Plan | None = None
    for way in ways:
        plans = [replace(way, rows=rows) for rows in BUCKETS]
        fitting = [plan for plan in plans if needs.at_worst(plan, area) + reserved <= total]
        if fitting and (best is None or min(fitting[-1].rows, _ENOUGH_ROWS) > min(best.rows, _ENOUGH_ROWS)):
            best = fitting[-1]
    if best is None:
        raise DoesNotFit(what, min(needs.at_worst(way, area) for way in ways) + reserved, total)
    return best


def card_bytes(device: torch.device) -> float:
    """What this process may have of a CUDA card: what it holds and what nobody holds."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)


# ── needs ──


def computed_needs(text_encoders: Sequence[Any], unet: Any, vae: Any, height: int, width: int) -> Needs:
    """For latents of `height`×`width`, in the dtypes that the networks have. Nothing is run or allocated."""
    meta = torch.device("meta")
    empty_unet, empty_vae = on_meta(unet), on_meta(vae)
    tokens = text_encoders[0].config.max_position_embeddings
    latents = torch.empty((1, vae.config.latent_channels, height, width), device=meta, dtype=_dtype(vae))

    def decode() -> int:
        return peak_bytes(lambda: empty_vae.decode(latents, return_dict=False))

    base, per_row = _line(_forward_of(empty_unet, meta, height, width, tokens), peak_bytes, (1, 2))
    whole = decode()
    set_tiling(empty_vae, (height, width), tiled=True)
    return Needs(
        text_encoders=weight_bytes(*text_encoders),
        unet=weight_bytes(unet),
        vae=weight_bytes(vae),
        area=height * width,
        base=base,
        per_row=per_row,
        decode=whole,
        decode_tiled=decode(),
    )


def measured_needs(
    computed: Needs,
    unet: Any,
    height: int,
    width: int,
    tokens: int,
    *,
    rows: tuple[int, int] = (1, 2),
    peak: Callable[[Callable[[], object]], int] | None = None,
) -> Needs:
    """The same with the forward measured where the UNet is, with these two numbers of rows, workspaces included.

    `height`×`width` are the latents that `computed` is for. Unless `peak` is given, CUDA's allocator measures.
    """
    device = next(unet.parameters()).device
    run = _forward_of(unet, device, height, width, tokens)
    base, per_row = _line(run, peak or (lambda call: _cuda_peak(call, device)), rows)
    return replace(computed, base=base, per_row=per_row)


def set_tiling(vae: Any, latent_size: tuple[int, int], *, tiled: bool) -> None:
    """Decode in tiles of half the longer side of `latent_size`, or in one go.

    Tiles overlap by a quarter and are blended; colours may shift a little from one to the next. An
    AutoencoderTiny stays as it is: it needs little, and its tiles take any factor for 8 (diffusers 0.42).
    """
    if isinstance(vae, AutoencoderTiny):
        return
    if not tiled:
        vae.disable_tiling()
        return
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    vae.enable_tiling()
    vae.tile_latent_min_size = max(latent_size) // 2
    vae.tile_sample_min_size = vae.tile_latent_min_size * factor


def _forward_of(
    unet: Any, device: torch.device, height: int, width: int, tokens: int
) -> Callable[[int], Callable[[], object]]:
    def with_rows(rows: int) -> Callable[[], object]:
        inputs = made_up_inputs(unet.config, rows, height, width, tokens).to(device, _dtype(unet))
        return lambda: call_unet(unet, inputs)

    return with_rows


def _line(
    with_rows: Callable[[int], Callable[[], object]],
    peak: Callable[[Callable[[], object]], int],
    rows: tuple[int, int],
) -> tuple[float, float]:
    """Offset and slope of the peak over the rows."""
    few, many = (peak(with_rows(count)) for count in rows)
    per_row = (many - few) / (rows[1] - rows[0])
    return few - per_row * rows[0], per_row


@torch.no_grad()
def _cuda_peak(run: Callable[[], object], device: torch.device) -> int:
    run()  # chooses its kernels, which takes more
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _dtype(network: Any) -> torch.dtype:
    return next(network.parameters()).dtype
