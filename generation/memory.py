"""How many rows of a batch fit on a card, and what has to leave it for that.

Weights are counted. Activations are computed without a card (see `live_bytes`), and measured on one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

from generation.concepts.slots import bytes_per_rank
from generation.forward import BUCKETS, call_unet, made_up_inputs
from generation.layout import ModelError
from generation.live_bytes import on_meta, peak_bytes, weight_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GIB: Final = 1024**3
RESERVED: Final = GIB
"""For the CUDA context, the display, cuDNN's workspaces and what the allocator can't use."""
_ENOUGH_ROWS: Final = 8
"""Four guided pictures. An assumption until a GPU was measured: that beyond it more rows are no longer worth slower
offloading or tiles."""
_USUAL_RANKS: Final = 256
"""Of the LoRAs in use at a time: eight of rank 32, as most are."""
_RANKS: Final = (128, 256, 512, 1024)
"""How many there may be at a time. The least is one file of the largest rank that a slot takes."""
_GATHERED_BYTES: Final = GIB
_OFFLOADS: Final = ((), ("text_encoders",), ("text_encoders", "vae"))
"""In the order of what they cost: texts are cached, every picture is decoded."""
_ALLOCATION_FAILED: Final = (
    "DefaultCPUAllocator",
    "MPS backend out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Where torch has no `OutOfMemoryError` of its own, the text of its RuntimeError has one of these."""


def is_out_of_memory(error: BaseException) -> bool:
    """Did an allocation fail, on whatever device and in whichever library of torch's?"""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _ALLOCATION_FAILED)


class DoesNotFit(ModelError):
    """Not even one row fits on this card."""

    def __init__(self, what: str, needed: float, there: float) -> None:
        """`needed` and `there` are bytes."""
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
    per_rank: float
    """Of LoRA that stands ready for the UNet's layers."""

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

    @property
    def lane(self) -> int:
        """Of a copy of what concepts can change."""
        return self.unet + self.text_encoders

    def banks(self, ranks: int) -> float:
        """Of `LoraSlots`: they grow by doubling, and the smaller ones are there until the larger ones are filled."""
        return 1.5 * ranks * self.per_rank


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model is held on a card, for latents of one area."""

    rows: int
    """The largest bucket that fits."""
    offloaded: tuple[str, ...] = ()
    """Of `text_encoders` and `vae`: those that wait in the main memory between uses (see `offload`)."""
    tiled: bool = False
    """Does the VAE work in tiles?"""
    total: float = 0.0
    """Bytes that it was made for, before anything was on the card."""


def make_plan(
    needs: Needs,
    total: float,
    area: int,
    *,
    concepts: float | None = None,
    offloads: Sequence[tuple[str, ...]] = _OFFLOADS,
    what: str = "This model",
) -> Plan:
    """For a card of `total` bytes and latents of `area` places.

    As little as possible is offloaded or tiled for eight rows; where eight don't fit, for the most that do. For
    another size on a model that is loaded already, give its plan's `offloaded` as the only one of `offloads`.
    `concepts` are bytes kept for them; None keeps what is usual, but not if fewer than eight rows were left.

    Raises:
        DoesNotFit: one sentence, with `what` needs how much.
    """

    def kept(plan: Plan) -> float:
        usual = needs.lane + 2 * needs.banks(_USUAL_RANKS) if plan.rows > _ENOUGH_ROWS else 0.0
        return RESERVED + (usual if concepts is None else concepts)

    ways = [Plan(1, offloaded, tiled, total) for offloaded in offloads for tiled in (False, True)]
    best: Plan | None = None
    for way in ways:
        plans = [replace(way, rows=rows) for rows in BUCKETS]
        fitting = [plan for plan in plans if needs.at_worst(plan, area) + kept(plan) <= total]
        if fitting and (best is None or min(fitting[-1].rows, _ENOUGH_ROWS) > min(best.rows, _ENOUGH_ROWS)):
            best = fitting[-1]
    if best is None:
        raise DoesNotFit(what, min(needs.at_worst(way, area) + kept(way) for way in ways), total)
    return best


@dataclass(frozen=True, slots=True)
class ConceptShare:
    """What concepts may have of a card: the limits that `ConceptStore` takes."""

    ranks: int
    lanes: int
    gathered_bytes: int


def concept_share(needs: Needs, left: float) -> ConceptShare:
    """Of the `left` bytes that neither weights nor activations need.

    A lane, if the fewest ranks fit beside it; half of the rest for the LoRAs that stand ready, a quarter for what a
    batch uses of them and a quarter for the batch after it. One file is let in always, at the reserve's cost.
    """
    lanes = int(left - needs.lane >= 2 * needs.banks(_RANKS[0]))
    left -= lanes * needs.lane
    ranks = max((ranks for ranks in _RANKS if 2 * needs.banks(ranks) <= left), default=_RANKS[0])
    return ConceptShare(ranks, lanes, int(min(_GATHERED_BYTES, max(left, 0) / 4)))


def share_bytes(needs: Needs, share: ConceptShare) -> float:
    """What concepts take when all of their share is in use."""
    return share.lanes * needs.lane + needs.banks(share.ranks) + 2 * share.gathered_bytes


def card_bytes(device: torch.device) -> float:
    """What this process may yet have of a CUDA card: what nobody holds, and what its own allocator has no use for.

    What is on the card already, such as the model's own safety checker, is not in it.
    """
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


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
        per_rank=bytes_per_rank(unet),
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

    Never less than computed: a line through two points says little about many rows where kernels change.
    `height`×`width` are the latents that `computed` is for. Unless `peak` is given, CUDA's allocator measures.
    """
    device = next(unet.parameters()).device
    run = _forward_of(unet, device, height, width, tokens)
    base, per_row = _line(run, peak or (lambda call: _cuda_peak(call, device)), rows)
    return replace(computed, base=max(base, computed.base), per_row=max(per_row, computed.per_row))


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
