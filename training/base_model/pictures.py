"""Icons, placements and colours → pictures, as tensors, on whatever device holds the icons.

Placements are computed with as a table ``[b, 5]``: side, offset to the right, offset down, angle, and -1 where
mirrored, else 1 (see ``scenes.Placement`` for the units).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.base_model.scenes import BACKGROUNDS, COLOURS, LAYOUTS, SWAY_Y, TINT, Colour, Placement, Scene

SUPERSAMPLING = 2  # a picture is made this much larger and averaged, so that small icons don't alias


def placement_table(placements: Sequence[Placement]) -> Tensor:
    """``[b, 5]``."""
    return torch.tensor(
        [
            (place.scale, place.offset_x, place.offset_y, place.angle, -1 if place.mirrored else 1)
            for place in placements
        ]
    )


def inverse_affine(table: Tensor) -> Tensor:
    """``[b, 2, 3]``: where in the icon (-1..1) a point of the picture (-1..1) comes from."""
    scale, right, down, angle, flip = table.unbind(-1)
    turn = torch.deg2rad(angle)
    cos, sin = turn.cos() / scale, turn.sin() / scale
    centre = 2 * torch.stack([right, down], -1)
    # Anticlockwise with y pointing down; the flip acts on the icon's own x, so it is applied last.
    linear = torch.stack([torch.stack([flip * cos, -flip * sin], -1), torch.stack([sin, cos], -1)], -2)
    return torch.cat([linear, -(linear @ centre[..., None])], -1)


def place_icons(icons: Tensor, placements: Sequence[Placement] | Tensor, size: int) -> Tensor:
    """Premultiplied icons ``[b, 4, n, n]`` in 0..1 → layers ``[b, 4, size, size]``, transparent around them."""
    table = placements if isinstance(placements, Tensor) else placement_table(placements)
    shape = [len(icons), 4, size * SUPERSAMPLING, size * SUPERSAMPLING]
    grid = functional.affine_grid(inverse_affine(table.to(icons)), shape, align_corners=False)
    layer = functional.grid_sample(icons, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return functional.avg_pool2d(layer, SUPERSAMPLING)


def over(layer: Tensor, below: Tensor) -> Tensor:
    """A premultiplied layer ``[b, 4, h, w]`` on pictures ``[b, 3, h, w]``, both in 0..1."""
    return layer[:, :3] + below * (1 - layer[:, 3:])


def plain(colours: Sequence[Colour] | Tensor, size: int, like: Tensor) -> Tensor:
    """Pictures ``[b, 3, size, size]`` in 0..1 of one colour each, given in 0..255."""
    values = colours if isinstance(colours, Tensor) else torch.tensor(np.asarray(colours))
    return (values.to(like) / 255)[:, :, None, None].expand(-1, -1, size, size)


def uniform(count: int, low: Tensor | float, high: Tensor | float, generator: torch.Generator) -> Tensor:
    """``[count]`` numbers between ``low`` and ``high`` (numbers, or one for each)."""
    return low + (high - low) * torch.rand(count, generator=generator, device=generator.device)


def draw_placements(layouts: Tensor, generator: torch.Generator) -> Tensor:
    """``[b, 2, 5]`` for layouts ``[b]`` (places in LAYOUTS): each a little different every time.

    A layout with one copy has it last; its first placement means nothing.
    """
    traits = [
        (each.smallest, each.largest, each.side, each.sway_x, -1 if each.mirrored else 1) for each in LAYOUTS.values()
    ]
    smallest, largest, side, sway_x, flip = torch.tensor(traits, device=layouts.device)[layouts].unbind(-1)
    scale = uniform(len(layouts), smallest, largest, generator)
    sway = uniform(len(layouts), -sway_x, sway_x, generator)
    down = uniform(len(layouts), -SWAY_Y, SWAY_Y, generator)
    upright = torch.zeros_like(scale)
    copies = [torch.stack([scale, place + sway, down, upright, flip], -1) for place in (-side, side)]
    return torch.stack(copies, 1)


def draw_colours(backgrounds: Tensor, generator: torch.Generator) -> Tensor:
    """Colours ``[b, 3]`` in 0..255 for backgrounds ``[b]`` (places in COLOURS), a little off except for white."""
    device = backgrounds.device
    colours = torch.tensor(list(BACKGROUNDS.values()), device=device)[backgrounds]
    tint = torch.randint(-TINT, TINT + 1, colours.shape, generator=generator, device=device)
    return colours + tint * (backgrounds != COLOURS.index("white"))[:, None]


def arrange(icons: Tensor, layouts: Tensor, backgrounds: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Pictures ``[b, 3, size, size]`` in -1..1 of ``icons [b, 4, n, n]`` (uint8, premultiplied).

    ``layouts [b]`` and ``backgrounds [b]`` count in LAYOUTS and COLOURS; everything is on the generator's device.
    """
    layers = icons.float() / 255
    places = draw_placements(layouts, generator)
    picture = plain(draw_colours(backgrounds, generator), size, layers)
    picture = over(place_icons(layers, places[:, 1], size), picture)
    has_two = torch.tensor([layout.copies == 2 for layout in LAYOUTS.values()], device=layouts.device)
    twice = has_two[layouts].nonzero().flatten()
    if len(twice):
        picture[twice] = over(place_icons(layers[twice], places[twice, 0], size), picture[twice])
    return picture * 2 - 1


def compose(icons: Tensor, scenes: Sequence[Scene], size: int, rng: np.random.Generator) -> Tensor:
    """Pictures ``[b, 3, size, size]`` in -1..1 of ``icons[b]`` (uint8, premultiplied), each as its scene says."""
    layouts = torch.tensor([tuple(LAYOUTS).index(scene.layout) for scene in scenes], device=icons.device)
    backgrounds = torch.tensor([COLOURS.index(scene.background) for scene in scenes], device=icons.device)
    generator = torch.Generator(icons.device).manual_seed(int(rng.integers(2**31)))
    return arrange(icons, layouts, backgrounds, size, generator)
