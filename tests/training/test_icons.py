"""A pack brings back what was put in."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import torch

from training.base_model.icons import IconSet, load_icons, present, write_pack


def test_a_pack_keeps_tables_and_what_is_absent(tmp_path: Path, icon_set: IconSet) -> None:
    write_pack(icon_set, tmp_path / "icons.pack")
    back = load_icons(tmp_path / "icons.pack")
    assert (back.subjects, back.styles, back.held_out) == (icon_set.subjects, icon_set.styles, icon_set.held_out)
    assert present(back.icons).tolist() == [[True, True], [True, True], [True, False]]
    for name in ("icons", "held_out_icons", "others"):
        kept, original = getattr(back, name), getattr(icon_set, name)
        assert kept.dtype == torch.uint8
        assert kept.shape == original.shape


def test_a_smooth_icon_loses_little_and_its_outline_nothing(tmp_path: Path, icon_set: IconSet) -> None:
    ramp = torch.linspace(0, 1, 64)
    alpha = ((ramp[:, None] + ramp[None]) > 0.7) * torch.linspace(0.3, 1, 64)[:, None]
    colours = torch.stack([ramp[:, None].expand(64, 64), ramp[None].expand(64, 64), torch.full((64, 64), 0.5)])
    icon = (torch.cat([colours * alpha, alpha[None]]) * 255).round().byte()
    smooth = replace(
        icon_set,
        icons=icon.expand(3, 2, -1, -1, -1),
        held_out_icons=icon[None, None],
        others=icon[None],
        styles=("a", "b"),
    )
    write_pack(smooth, tmp_path / "icons.pack")
    back = load_icons(tmp_path / "icons.pack").icons[2, 1]
    assert torch.equal(back[3], icon[3])
    assert (back[:3] <= back[3:]).all()  # premultiplied: no colour where nothing covers
    error = (back.float() - icon.float()).square().mean()
    assert 10 * torch.log10(255**2 / error) > 35


def test_a_pack_is_one_file_of_pictures(tmp_path: Path, icon_set: IconSet) -> None:
    write_pack(icon_set, tmp_path / "icons.pack")
    assert [file.name for file in tmp_path.iterdir()] == ["icons.pack"]
    with zipfile.ZipFile(tmp_path / "icons.pack") as pack:
        assert len(pack.namelist()) == 1 + 5 + 2 + 2  # the table, icons that are there, held-out ones, others
