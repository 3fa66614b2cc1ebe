"""Composition: positions that were worked out by hand, and PIL's affine transform as a judge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from training.base_model.pictures import compose, over, place_icons, plain
from training.base_model.scenes import BACKGROUNDS, Placement, Scene


def corner_icon(size: int = 32) -> Tensor:
    """Opaque white ``[1, 4, size, size]`` in the upper left quarter only, so that turns and flips show."""
    icon = torch.zeros(1, 4, size, size)
    icon[:, :, : size // 2, : size // 2] = 1
    return icon


def quarter_of(layer: Tensor) -> str:
    """Which quarter of the layer ``[1, 4, n, n]`` holds most of it."""
    half = layer.shape[-1] // 2
    alpha = layer[0, 3]
    parts = {
        "upper left": alpha[:half, :half],
        "upper right": alpha[:half, half:],
        "lower left": alpha[half:, :half],
        "lower right": alpha[half:, half:],
    }
    return max(parts, key=lambda name: parts[name].sum().item())


@pytest.mark.parametrize(
    ("placement", "quarter"),
    [
        (Placement(0.8), "upper left"),
        (Placement(0.8, angle=90), "lower left"),  # anticlockwise
        (Placement(0.8, angle=180), "lower right"),
        (Placement(0.8, angle=270), "upper right"),
        (Placement(0.8, mirrored=True), "upper right"),
        (Placement(0.8, angle=90, mirrored=True), "upper left"),  # mirrored first, then turned
    ],
)
def test_turning_and_mirroring(placement: Placement, quarter: str) -> None:
    assert quarter_of(place_icons(corner_icon(), [placement], 32)) == quarter


def test_scale_and_offsets_are_shares_of_the_picture() -> None:
    layer = place_icons(torch.ones(1, 4, 16, 16), [Placement(0.5, offset_x=0.25, offset_y=-0.125)], 64)[0, 3]
    rows, columns = np.nonzero(layer.numpy() > 0.5)
    # Half of 64 pixels, centred at 32 + 16 and 32 - 8.
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (32, 64, 8, 40)
    assert layer.max() == pytest.approx(1)


def test_placing_agrees_with_an_affine_transform_by_pil() -> None:
    smooth = torch.nn.functional.interpolate(torch.rand(1, 4, 6, 6), (48, 48), mode="bicubic").clamp(0, 1)
    place = Placement(0.7, offset_x=0.05, offset_y=0.1, angle=30)
    made = place_icons(smooth, [place], 48)[0]
    # PIL asks for the icon's pixel of each picture's pixel: take the offset off, turn back, and divide by the scale.
    turn, centre = np.deg2rad(30), 24.0
    cos, sin = np.cos(turn) / 0.7, np.sin(turn) / 0.7
    middle_x, middle_y = centre + 0.05 * 48, centre + 0.1 * 48
    data = (
        *(cos, -sin, centre - cos * middle_x + sin * middle_y),
        *(sin, cos, centre - sin * middle_x - cos * middle_y),
    )
    inner = (slice(14, 42), slice(12, 40))  # beyond it the two have different borders
    for channel in range(4):
        picture = Image.fromarray(smooth[0, channel].numpy())
        wanted = np.asarray(picture.transform((48, 48), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))
        assert np.abs(made[channel].numpy() - wanted)[inner].mean() < 0.01


def test_premultiplied_layers_lie_over_what_is_below() -> None:
    layer = torch.tensor([0.5, 0.0, 0.25, 0.5]).view(1, 4, 1, 1)  # red 1, blue 0.5 at half coverage
    assert over(layer, torch.ones(1, 3, 1, 1)).flatten().tolist() == [1.0, 0.5, 0.75]


def test_plain_colours() -> None:
    picture = plain([(255, 0, 51)], 4, torch.zeros(1))
    assert picture.shape == (1, 3, 4, 4)
    assert picture[0, :, 2, 3].tolist() == pytest.approx([1, 0, 0.2])


def composed(layout: str, background: str = "white", count: int = 8) -> Tensor:
    """Pictures in 0..255 of a black square icon."""
    icon = torch.zeros(count, 4, 32, 32, dtype=torch.uint8)
    icon[:, 3] = 255
    scenes = [Scene(0, 0, background, True, layout)] * count
    return (compose(icon, scenes, 64, np.random.default_rng(0)) + 1) * 127.5


def columns_of(picture: Tensor) -> list[bool]:
    """Which columns of the picture's middle rows are dark."""
    return (picture[:, 28:36].mean((0, 1)) < 128).tolist()


@pytest.mark.parametrize(
    ("layout", "shares"),
    [("plain", (0.76, 0.9)), ("small", (0.36, 0.46)), ("left", (0.42, 0.52)), ("right", (0.42, 0.52))],
)
def test_layouts_have_their_sizes_and_sides(layout: str, shares: tuple[float, float]) -> None:
    for picture in composed(layout):
        dark = columns_of(picture)
        assert shares[0] - 0.03 < sum(dark) / 64 < shares[1] + 0.03
        middle = sum(place for place, is_dark in enumerate(dark) if is_dark) / sum(dark) / 64
        wanted = {"left": 0.26, "right": 0.74}.get(layout, 0.5)
        assert abs(middle - wanted) < 0.06


def test_two_copies_stand_side_by_side() -> None:
    half = torch.zeros(4, 4, 32, 32, dtype=torch.uint8)
    half[:, 3, :, :16] = 255  # black on the left, nothing on the right
    pictures = compose(half, [Scene(0, 0, "white", True, "two")] * 4, 64, np.random.default_rng(0))
    for picture in (pictures + 1) * 127.5:
        dark = columns_of(picture)
        assert [dark[column] for column in (9, 25, 40, 56)] == [True, False, True, False]


def test_large_icons_fill_the_picture() -> None:
    assert all(sum(columns_of(picture)) > 58 for picture in composed("large"))


def test_backgrounds_stray_a_little_except_for_white() -> None:
    corners = composed("small", "blue")[:, :, 1, 1]
    wanted = torch.tensor(BACKGROUNDS["blue"])
    assert (corners - wanted).abs().max() <= 5.01
    assert (corners - wanted).abs().max() > 1
    assert composed("small")[:, :, 1, 1].min() == pytest.approx(255)
