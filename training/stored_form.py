"""The stored form of a fully trained model: what its weights differ in from the model that is served.

Matrices as low-rank factors (Eckart & Young 1936: the best of a rank are the largest singular directions), rank by
energy kept; parameters of one dimension and the embedding rows of tokens that were trained exactly, in float32. Such
a file shares the batch with everybody else's concepts (see `generation.concepts.slots`); a copy of all weights could
not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from generation.concepts.keys import kohya_name

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from torch import Tensor

ENERGY: Final = 0.99
"""Of a matrix's squared differences, how much its factors keep unless that takes too many ranks."""
MAX_RANK: Final = 64
_FACTORS: Final = torch.float16
"""Whatever the model is in: balanced factors lose a two-thousandth of a difference, and files are half as large."""
_PIECE: Final = 2_000_000_000
"""Multiplications between two pictures' steps. (Not seconds: a training stops at the same places on every run.)"""


def stored_form(
    base: Sequence[nn.Module],
    trained: Sequence[nn.Module],
    *,
    energy: float = ENERGY,
    max_rank: int = MAX_RANK,
) -> Generator[None, None, dict[str, Tensor]]:
    """The tensors of a file that `generation.concepts.files.read_concept` reads.

    `base` and `trained` are the UNet and then the text encoders, as served and as trained. Yields between two pieces
    of work. What doesn't differ is not in it, but for one bias where nothing does: a file has at least one tensor.
    """
    tensors: dict[str, Tensor] = {}
    work = 0
    for index, (before, after) in enumerate(zip(base, trained, strict=True)):
        own = dict(before.named_parameters())
        for name, parameter in after.named_parameters():
            difference = parameter.detach().float() - own[name].detach().to(parameter.device).float()
            if not bool(difference.any()):
                continue
            module_name, _, part = name.rpartition(".")
            stem = kohya_name(index, module_name, encoders=len(base) - 1)
            roles = _by_role(after.get_submodule(module_name), part, difference, energy, max_rank)
            tensors |= {f"{stem}.{role}": values for role, values in roles.items()}
            work += _work(difference)
            if work > _PIECE:
                work = 0
                yield
    if not tensors:
        name, bias = next((name, bias) for name, bias in base[0].named_parameters() if name.endswith(".bias"))
        stem = kohya_name(0, name.removesuffix(".bias"), encoders=len(base) - 1)
        tensors[f"{stem}.diff_b"] = torch.zeros_like(bias, dtype=torch.float32)
    return {key: values.cpu().contiguous() for key, values in tensors.items()}


def _work(difference: Tensor) -> int:
    """Multiplications of `low_rank`, about; of anything else next to none."""
    if difference.ndim < 2:
        return 0
    short, long = sorted(difference.flatten(1).shape)
    return short**2 * long + 10 * short**3


def _by_role(module: nn.Module, part: str, difference: Tensor, energy: float, max_rank: int) -> dict[str, Tensor]:
    """By role as `generation.concepts.keys` has them; norm layers have LyCORIS' own names."""
    if isinstance(module, nn.Linear | nn.Conv2d) and part == "weight":
        down, up = low_rank(difference, energy, max_rank)
        rank = torch.tensor(float(len(down)))
        return {"lora_down.weight": down.to(_FACTORS), "lora_up.weight": up.to(_FACTORS), "alpha": rank}
    if isinstance(module, nn.GroupNorm | nn.LayerNorm):
        return {"w_norm" if part == "weight" else "b_norm": difference}
    if part == "bias":
        return {"diff_b": difference}
    rows = difference.any(dim=1).nonzero().flatten() if isinstance(module, nn.Embedding) else None
    if rows is not None and 2 * len(rows) < len(difference):
        return {"diff_rows": difference[rows], "diff_row_ids": rows}
    return {"diff": difference}


@torch.no_grad()
def low_rank(difference: Tensor, energy: float, max_rank: int) -> tuple[Tensor, Tensor]:
    """Factors of `difference` [out, in, (kh, kw)]: down [rank, in, (kh, kw)] and up [out, rank, (1, 1)], float32.

    The rank is the least that keeps `energy` of the sum of squares, at most `max_rank`. Singular directions are the
    eigenvectors of the smaller product of the matrix with itself, in float64: quicker than all singular values, the
    same on every run, and as good as float32 for the large ones that are kept.
    """
    flat = difference.flatten(1).to(_exact_device(difference.device), torch.float64)
    wide = flat.shape[0] <= flat.shape[1]
    squares, directions = torch.linalg.eigh(flat @ flat.T if wide else flat.T @ flat)
    squares, directions = squares.flip(0).clamp(min=0), directions.flip(1)
    kept = squares.cumsum(0) / squares.sum()
    rank = min(int((kept < energy).sum()) + 1, max_rank, len(squares))
    basis = directions[:, :rank]
    up, down = (basis, basis.T @ flat) if wide else (flat @ basis, basis.T)
    # Both factors alike in size: in half precision neither may vanish.
    root = squares[:rank].clamp(min=torch.finfo(torch.float64).tiny).pow(0.25)
    up, down = (up * root, down / root[:, None]) if wide else (up / root, down * root[:, None])
    ones = (1,) * (difference.ndim - 2)
    return down.float().view(rank, *difference.shape[1:]), up.float().view(len(difference), rank, *ones)


def _exact_device(device: torch.device) -> torch.device:
    return torch.device("cpu") if device.type == "mps" else device
