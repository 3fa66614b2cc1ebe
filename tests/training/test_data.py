"""From SVGs to icons: a folder like an npm package, with pictograms of two shapes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

pytest.importorskip("resvg_py")

from training.base_model.configs import STYLES, Config
from training.base_model.data import (
    allowed_names,
    build_icon_set,
    crop_to_content,
    is_distinct,
    load_icon_set,
    load_style,
    make_icon,
)
from training.base_model.icons import present
from training.base_model.names import Entry
from training.base_model.subjects import handwritten_subjects, held_out_subjects

RED_BAR = '<rect x="8" y="12" width="16" height="8" fill="#f00"/>'
HALF_BLUE = '<rect width="32" height="32" fill="#00f" fill-opacity="0.5"/>'


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Two packages; as in the real ones, that of Fluent Emoji has no table of characters but its flat sister has."""
    icons = {
        "prefix": "any",
        "width": 32,
        "height": 32,
        "icons": {"red-bar": {"body": RED_BAR}, "pane": {"body": HALF_BLUE}},
        "aliases": {"bar": {"parent": "red-bar"}, "bar-right": {"parent": "red-bar", "hFlip": True}},
    }
    for package, characters in (
        ("fluent-emoji", {}),
        ("fluent-emoji-flat", {"1f534-fe0f": "red-bar", "1f535": "bar"}),
    ):
        folder = tmp_path / f"iconify-json-{package}"
        folder.mkdir()
        (folder / "icons.json").write_text(json.dumps(icons))
        (folder / "chars.json").write_text(json.dumps(characters))
    return tmp_path


def test_aliases_are_icons_but_mirrored_ones_are_not(packages: Path) -> None:
    svgs = load_icon_set(packages / "iconify-json-fluent-emoji")
    assert set(svgs) == {"red-bar", "pane", "bar"}
    assert svgs["bar"] == svgs["red-bar"]
    assert 'viewBox="0 0 32 32"' in svgs["pane"]


def test_icons_are_found_by_character_else_by_label(packages: Path) -> None:
    entries = [Entry(hexcode, label, (), ()) for hexcode, label in (("1f534", "x"), ("1", "red bar"), ("2", "gone"))]
    for style in ("fluent", "flat"):
        assert set(load_style(packages, style, entries)) == {"1f534", "1"}


def test_an_icon_fills_its_square_and_keeps_its_shape(packages: Path) -> None:
    icon = make_icon(load_icon_set(packages / "iconify-json-fluent-emoji")["red-bar"], 32)
    rows, columns = np.nonzero(icon[3].numpy() > 128)
    # 16 wide and 8 high in the drawing: 32 wide and 16 high, in the middle.
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (0, 31, 8, 23)
    assert icon[:, 16, 16].tolist() == [255, 0, 0, 255]


def test_icons_are_premultiplied(packages: Path) -> None:
    icon = make_icon(load_icon_set(packages / "iconify-json-fluent-emoji")["pane"], 16)
    assert icon[:, 8, 8].tolist() == pytest.approx([0, 0, 128, 128], abs=1)


def test_cropping_keeps_a_centred_square() -> None:
    icon = np.zeros((20, 20, 4), dtype=np.uint8)
    icon[2:6, 10:18, 3] = 255
    cropped = crop_to_content(icon)
    assert cropped.shape == (8, 8, 4)
    assert cropped[..., 3].any(axis=1).tolist() == [False, False, True, True, True, True, False, False]
    assert cropped[2:6, :, 3].all()


def test_families_and_right_facing_copies_are_not_taught() -> None:
    labels = ("family of man and boy", "man walking facing right", "man walking", "fox")
    assert [is_distinct(Entry("1", label, (), ())) for label in labels] == [False, False, True, True]


def test_names_that_speak_of_held_out_subjects_are_dropped() -> None:
    assert allowed_names(("bear", "my teddy bear", "content", "in a tent")) == ("bear", "content")


SHOWN = {"fox": (250, 0, 0), "bear": (0, 250, 0)}
KEPT_OUT = {"tent": (0, 0, 250), "circus-tent": (0, 0, 240), "camping": (0, 0, 230)}


def write_json(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


@pytest.fixture
def all_packages(tmp_path: Path) -> Path:
    """Every package: all names that the tables here have, but only the icons above, each of its own colour."""
    tabled = [subject.icon for subject in (*handwritten_subjects(), *held_out_subjects())]
    hexcodes = {
        name: f"{0x1F000 + number:x}" for number, name in enumerate(dict.fromkeys([*tabled, *SHOWN, *KEPT_OUT]))
    }
    colours = SHOWN | KEPT_OUT
    bodies = {name: {"body": f'<rect width="16" height="16" fill="rgb{rgb}"/>'} for name, rgb in colours.items()}
    for package in STYLES.values():
        write_json(tmp_path / package / "icons.json", {"icons": bodies})
        write_json(tmp_path / package / "chars.json", {hexcode: name for name, hexcode in hexcodes.items()})
    entries = [{"hexcode": hexcodes[name], "label": name.replace("-", " "), "group": 3} for name in colours]
    write_json(tmp_path / "emojibase-data" / "en" / "data.json", entries)
    return tmp_path


def colours_of(icons: Tensor) -> set[tuple[int, ...]]:
    """The colours in the middle of the icons ``[..., 4, n, n]`` that there are."""
    return {tuple(icon[:3, 8, 8].tolist()) for icon in icons[present(icons)]}


@pytest.mark.parametrize("every_subject", [False, True])
def test_held_out_icons_are_only_to_measure_with(all_packages: Path, tiny: Config, every_subject: bool) -> None:
    icon_set = build_icon_set(all_packages, replace(tiny, every_subject=every_subject))
    shown = set(SHOWN.values())
    assert colours_of(icon_set.others) == shown  # in the styles that the configuration doesn't teach
    assert colours_of(icon_set.icons) == shown
    assert colours_of(icon_set.held_out_icons) == {KEPT_OUT["tent"]}
    assert not {subject.icon for subject in icon_set.subjects} & set(KEPT_OUT)
