"""What a trained copy differs in, as a file: exactly, but for matrices of many ranks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from generation.concepts.changes import LoraLayer, RowsDifference
from generation.concepts.files import LoraFile, read_concept
from generation.model import LoadedModel
from tests.training.small_training import tiny
from training.stored_form import low_rank, stored_form


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


def matrix(rows: int, columns: int, singular_values: Sequence[float], seed: int = 0) -> torch.Tensor:
    """With just these singular values."""
    generator = torch.Generator().manual_seed(seed)
    rank = len(singular_values)
    left, _ = torch.linalg.qr(torch.randn(rows, rank, generator=generator, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(columns, rank, generator=generator, dtype=torch.float64))
    return (left * torch.tensor(singular_values, dtype=torch.float64) @ right.T).float()


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16)])
def test_the_rank_is_the_least_that_keeps_the_energy(shape: tuple[int, int]) -> None:
    """Squares 16, 9, 4, 1 of 30: three keep 29/30, two 25/30."""
    difference = matrix(*shape, [4.0, 3.0, 2.0, 1.0])
    for energy, rank, lost in ((0.96, 3, 1.0), (0.97, 4, 0.0), (0.8, 2, 5.0**0.5), (1e-9, 1, 14.0**0.5)):
        down, up = low_rank(difference, energy, 64)
        assert (down.shape, up.shape) == ((rank, shape[1]), (shape[0], rank))
        assert float((difference - up @ down).norm()) == pytest.approx(lost, abs=1e-4)
    assert len(low_rank(difference, 1.0, 2)[0]) == 2
    down, up = low_rank(difference, 0.99, 64)
    assert float(up.norm()) == pytest.approx(float(down.norm()), rel=1e-4)


def test_it_is_the_best_of_its_rank() -> None:
    """As far from the matrix as the singular values that are left out (Eckart & Young), of torch's own SVD."""
    difference = torch.randn(40, 9, 3, 3, generator=torch.Generator().manual_seed(3))
    down, up = low_rank(difference, 0.5, 64)
    assert (down.shape[1:], up.shape[2:]) == ((9, 3, 3), (1, 1))
    singular = torch.linalg.svdvals(difference.flatten(1))
    lost = float((difference.flatten(1) - up.flatten(1) @ down.flatten(1)).norm())
    assert lost == pytest.approx(float(singular[len(down) :].norm()), rel=1e-4)
    assert float(singular[: len(down)].norm()) ** 2 >= 0.5 * float(difference.norm()) ** 2


def test_small_differences_outlive_half_precision() -> None:
    """As of a training of a few hundred steps of 2e-6."""
    difference = matrix(64, 300, [3e-3, 2e-3, 1e-3]).to(torch.float32)
    down, up = (factor.half().float() for factor in low_rank(difference, 0.999, 64))
    assert float((difference - up @ down).norm() / difference.norm()) < 2e-3


def trained_copy(network: Any, *, rank: int, generator: torch.Generator) -> Any:
    """Every parameter moved; matrices by so many ranks, of the token table three rows."""
    moved = copy.deepcopy(network)
    with torch.no_grad():
        for name, parameter in moved.named_parameters():
            module = moved.get_submodule(name.rpartition(".")[0])
            if isinstance(module, nn.Linear | nn.Conv2d) and parameter.ndim > 1:
                flat = parameter.flatten(1)
                up = torch.randn(len(flat), rank, generator=generator)
                down = torch.randn(rank, flat.shape[1], generator=generator)
                parameter.add_((up @ down).view_as(parameter), alpha=0.01)
            elif name.endswith("token_embedding.weight"):
                parameter[[3, 5, 8]] += torch.randn(3, parameter.shape[1], generator=generator)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return moved


def run_to_end(steps: Any) -> Any:
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return end.value


def test_a_trained_model_comes_back(model: LoadedModel, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    base = (model.unet, *model.text_encoders)
    trained = [trained_copy(network, rank=2, generator=generator) for network in base]
    save_file(run_to_end(stored_form(base, trained)), path := tmp_path / "stored.safetensors")
    file = read_concept(path, model)
    assert isinstance(file, LoraFile)  # and so in a slot, not in a lane
    assert file.rank == 2
    for changes, before, after in zip(file.changes(), base, trained, strict=True):
        assert changes.keys() == dict(after.named_parameters()).keys()
        for name, parameter in after.named_parameters():
            own = before.get_parameter(name).detach()
            change = changes[name]
            back = own + change.change(own, 1.0)
            if isinstance(change, LoraLayer):
                torch.testing.assert_close(back, parameter.detach(), rtol=1e-3, atol=1e-4)
            else:  # to the rounding of one sum
                assert float((back - parameter).abs().max()) <= 2e-7 * float(parameter.detach().abs().max())
            if name.endswith("token_embedding.weight"):
                assert isinstance(change, RowsDifference)
                assert change.rows.tolist() == [3, 5, 8]


def test_what_did_not_move_is_not_in_it(model: LoadedModel, tmp_path: Path) -> None:
    base = (model.unet, *model.text_encoders)
    trained = [copy.deepcopy(network) for network in base]
    with torch.no_grad():
        trained[0].conv_in.weight[0, 0, 0, 0] += 1.0
    tensors = run_to_end(stored_form(base, trained))
    assert {key: (values.dtype, tuple(values.shape)) for key, values in tensors.items()} == {
        "lora_unet_conv_in.lora_down.weight": (torch.float16, (1, 4, 3, 3)),
        "lora_unet_conv_in.lora_up.weight": (torch.float16, (8, 1, 1, 1)),
        "lora_unet_conv_in.alpha": (torch.float32, ()),
    }
    nothing = run_to_end(stored_form(base, [copy.deepcopy(network) for network in base]))
    save_file(nothing, path := tmp_path / "nothing.safetensors")
    file = read_concept(path, model)
    own = model.unet.conv_in.bias.detach()
    assert [bool(change.change(own, 1.0).any()) for change in file.changes()[0].values()] == [False]  # type: ignore[union-attr]
