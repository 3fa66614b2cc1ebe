"""Packed convolutions against torch's own, in float64."""

from __future__ import annotations

import copy
from itertools import product

import pytest
import torch
from torch import nn

from generation.concepts.row_layers import row_layers
from generation.packed import convolve, pack_convolutions

SHAPES = [
    {"kernel_size": kernel, "stride": stride, "padding": padding, "bias": bias}
    for kernel, stride, padding, bias in product((1, 3), (1, 2), (0, 1), (True, False))
]


def layer(**changes: object) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(5, 7, **{"kernel_size": 3, **changes}).requires_grad_(False)


@pytest.fixture(autouse=True)
def keep_the_random_state() -> object:
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [1, 2, 16])
@torch.no_grad()
def test_the_same_numbers(shape: dict[str, object], rows: int) -> None:
    one = layer(**shape)
    picture = torch.randn(rows, 5, 9, 11)
    expected = copy.deepcopy(one).double()(picture.double())
    pack_convolutions(one)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        result = convolve(one, picture.to(memory_format=memory_format))
        assert result.shape == expected.shape
        assert float((result - expected).abs().max()) < 1e-5


@torch.no_grad()
def test_packed_weights_are_what_is_used() -> None:
    """Or nothing would be gained: a change of the plain weights goes unseen."""
    one, picture = layer(), torch.randn(1, 5, 8, 8)
    pack_convolutions(one)
    before = convolve(one, picture)
    one.weight.zero_()
    assert torch.equal(convolve(one, picture), before)


def test_training_sees_the_plain_weights() -> None:
    one, picture = layer(), torch.randn(1, 5, 8, 8, requires_grad=True)
    pack_convolutions(one)
    convolve(one, picture).sum().backward()
    assert picture.grad is not None


@torch.no_grad()
def test_a_copy_has_its_own_weights() -> None:
    network = nn.Sequential(layer())
    row_layers(network)
    pack_convolutions(network)
    twin = copy.deepcopy(network)
    twin[0].weight.zero_()
    assert float(twin(torch.randn(1, 5, 8, 8)).abs().max()) <= float(twin[0].bias.abs().max())
    assert set(network.state_dict()) == {"0.weight", "0.bias"}


@pytest.mark.parametrize("changes", [{"padding": "same"}, {"padding_mode": "reflect", "padding": 1}], ids=str)
@torch.no_grad()
def test_what_cannot_be_packed_stays_as_it_is(changes: dict[str, object]) -> None:
    one, picture = layer(**changes), torch.randn(1, 5, 8, 8)
    pack_convolutions(one)
    assert torch.equal(convolve(one, picture), one(picture))
