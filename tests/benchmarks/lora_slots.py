"""What LoRAs cost a step: 16 rows with 8 different ones of rank 8, each for two rows, against the same step without.

The files have random weights: what they cost doesn't depend on what they have learnt. `compiled` times the same on
`torch.compile`'s network, for CUDA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from rich.table import Table

from generation.concepts.changes import LoraLayer
from generation.concepts.files import LoraFile
from generation.concepts.slots import POSITIONS, LoraSlots
from generation.model import load_model
from generation.packed import pack_convolutions
from tests.benchmarks.measure import alternate, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from generation.model import LoadedModel

FILES = 8
ROWS = 16
RANK = 8
ROUNDS = 15
STEPS = 4
"""With one routing: somebody joins or leaves every few steps."""
WANTED = {"cpu": (1.10, 1.20, 1.35), "cuda": (1.10, 1.15, 1.25)}
KINDS: dict[str, Callable[[str, Tensor], bool]] = {
    "attention": lambda name, weight: weight.ndim == 2 and ".attn" in name,
    "linear": lambda name, weight: weight.ndim == 2,
    "with conv": lambda name, weight: True,
}


def main() -> None:
    measure(load_model("bundled", device="cpu"))


def measure(
    model: LoadedModel, *, rows: int = ROWS, rank: int = RANK, rounds: int = ROUNDS, compiled: str | None = None
) -> dict[str, float]:
    """Step with slots ÷ step without, by layers. `compiled` is a mode of `torch.compile`; None is eager."""
    unet: Any = model.unet
    network = unet if compiled is None else torch.compile(unet, mode=compiled, dynamic=False)
    pack_convolutions(unet)  # as the engine does: the step without is the one that members get
    forward = _forward(model, network, rows)
    slots = LoraSlots(unet, FILES * len(KINDS))
    index = torch.zeros(len(KINDS), rows, POSITIONS, dtype=torch.long)
    for at, touches in enumerate(KINDS.values()):
        for k in range(FILES):
            slots.put(1 + FILES * at + k, random_lora(unet, rank, touches, seed=k))
        index[at, :, 0] = 1 + FILES * at + torch.arange(rows) % FILES
    weights = torch.ones(rows, POSITIONS)

    def step(routing: Tensor | None) -> Callable[[], None]:
        def run() -> None:
            slots.route(routing, None if routing is None else weights)
            for _ in range(STEPS):
                forward()

        return run

    runs = {"none": step(None), **{kind: step(index[at]) for at, kind in enumerate(KINDS)}}
    times = {name: taken / STEPS for name, taken in alternate(runs, rounds, model.device, warm_up=2).items()}
    slots.route(None, None)
    table = Table("layers", "step, ms", "÷ step without", "wanted")
    table.add_row("none", f"{times['none'] * 1e3:.1f}", "", "")
    figures: dict[str, float] = {"none_ms": times["none"] * 1e3}
    for kind, wanted in zip(KINDS, WANTED.get(model.device.type, WANTED["cpu"]), strict=True):
        ratio = times[kind] / times["none"]
        table.add_row(kind, f"{times[kind] * 1e3:.1f}", f"{ratio:.3f}", f"≤ {wanted:.2f}")
        figures[kind.replace(" ", "_")] = ratio
    told: dict[str, object] = {"model": model.info.name, "rows": rows, "rank": rank, "compiled": compiled}
    report("lora_slots", table, {**told, **figures}, model.device)
    return figures


def random_lora(unet: nn.Module, rank: int, touches: Callable[[str, Tensor], bool], seed: int) -> LoraFile:
    generator = torch.Generator().manual_seed(seed)
    layers: dict[str, LoraLayer] = {}
    for name, module in unet.named_modules():
        weight = getattr(module, "weight", None)
        if weight is not None and weight.ndim in (2, 4) and touches(name, weight):
            out, *inner = weight.shape
            down = torch.randn(rank, *inner, generator=generator) * 0.01
            up = torch.randn(out, rank, *[1] * (weight.ndim - 2), generator=generator) * 0.01
            layers[name] = LoraLayer(down, up, 1.0)
    return LoraFile(f"{seed:064}", layers, (), rank)


def _forward(model: LoadedModel, network: Any, rows: int) -> Callable[[], object]:
    """One forward at the model's own size, on random numbers."""
    config: Any = model.unet_config
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(rows, *shape, generator=generator).to(model.device, model.dtype)

    side = config.sample_size
    tokens = model.tokenizers[0].model_max_length
    options: dict[str, Any] = {}
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        sizes = torch.full((rows, 6), 1024.0, device=model.device, dtype=model.dtype)
        options["added_cond_kwargs"] = {"text_embeds": noise(pooled), "time_ids": sizes}
    sample, hidden = noise(config.in_channels, side, side), noise(tokens, config.cross_attention_dim)
    timesteps = torch.linspace(0, 999, rows, device=model.device)
    return torch.no_grad()(lambda: network(sample, timesteps, hidden, return_dict=False, **options))


if __name__ == "__main__":
    main()
