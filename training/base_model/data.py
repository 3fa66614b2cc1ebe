"""From npm packages of openly licensed pictograms to icons ``[4, n, n]``.

The icons come from iconify's repackaging of Noto Emoji, Fluent Emoji and Twemoji (SVG bodies in one
JSON file per set), the words from emojibase-data. Nothing here knows about captions or networks.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from resvg_py import svg_to_bytes  # of the extra "base-model": needed to make the pack, not to use it
from torch import Tensor

from training.base_model.configs import STYLES, Config
from training.base_model.icons import IconSet, present, write_pack
from training.base_model.names import Entry, emojibase_entries, name_entries, plain_hexcode, read_json
from training.base_model.subjects import Subject, handwritten_subjects, held_out_subjects, is_held_out, subjects

RENDERED_LARGER = 2  # an icon is rendered at this many times its final size, cropped and shrunk

PACKAGES: dict[str, str] = {
    "iconify-json-noto": "@iconify-json/noto@1.2.9",
    "iconify-json-fluent-emoji": "@iconify-json/fluent-emoji@1.2.7",
    "iconify-json-fluent-emoji-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "iconify-json-twemoji": "@iconify-json/twemoji@1.2.5",
    "emojibase-data": "emojibase-data@17.0.0",
}
NAMES_FROM: dict[str, str] = {"iconify-json-fluent-emoji": "iconify-json-fluent-emoji-flat"}
"""Packages that don't say which icon is which emoji, and their sister that does."""

Pixels = NDArray[np.uint8]


def fetch_packages(folder: Path) -> None:
    """Get and unpack each pinned package of PACKAGES that ``folder`` does not hold yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pinned in PACKAGES.items():
        if (folder / name).is_dir():
            continue
        packed = subprocess.run(  # noqa: S603 - fixed words only
            ["npm", "pack", "--silent", pinned],  # noqa: S607 - wherever npm is
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
        archive = folder / packed.stdout.split()[-1]
        with tarfile.open(archive) as tar:
            tar.extractall(folder / f"{name}.unpacked", filter="data")
        (folder / f"{name}.unpacked" / "package").rename(folder / name)
        (folder / f"{name}.unpacked").rmdir()


def load_icon_set(folder: Path) -> dict[str, str]:
    """``{icon name: complete SVG text}`` of one unpacked iconify package, aliases included."""
    content: dict[str, Any] = read_json(folder / "icons.json")
    svgs: dict[str, str] = {}
    for name, icon in content["icons"].items():
        width = icon.get("width", content.get("width", 16))
        height = icon.get("height", content.get("height", 16))
        svgs[name] = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        )
    for name, alias in content.get("aliases", {}).items():
        if set(alias) == {"parent"}:  # others are mirrored
            svgs[name] = svgs[alias["parent"]]
    return svgs


def load_icon_names(packages: Path, package: str) -> dict[str, str]:
    """``{plain hexcode: icon name}`` of one unpacked iconify package."""
    characters = read_json(packages / NAMES_FROM.get(package, package) / "chars.json")
    return {plain_hexcode(hexcode): name for hexcode, name in characters.items()}


def load_style(packages: Path, style: str, entries: Sequence[Entry]) -> dict[str, str]:
    """``{plain hexcode: SVG text}`` of the entries that the style has, by its own table or by the label."""
    package = STYLES[style]
    svgs, names = load_icon_set(packages / package), load_icon_names(packages, package)
    found = {entry.hexcode: svgs.get(names.get(entry.hexcode, ""), svgs.get(slug(entry.label))) for entry in entries}
    return {hexcode: svg for hexcode, svg in found.items() if svg is not None}


def slug(label: str) -> str:
    """ "red apple" → "red-apple", as iconify names icons."""
    return label.replace("'", "").replace(" ", "-")


def render_icon(svg: str, size: int) -> Pixels:
    """An SVG as premultiplied RGBA ``[size, size, 4]``, so that shrinking it leaves no dark fringes."""
    png = bytes(svg_to_bytes(svg_string=svg, width=size, height=size))
    picture = Image.open(io.BytesIO(png)).convert("RGBA").convert("RGBa")
    square = Image.new("RGBa", (size, size))
    square.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    return np.asarray(square)


def crop_to_content(icon: Pixels) -> Pixels:
    """Cut the transparent border off, keeping a centred square, so that every icon fills its place alike."""
    rows, columns = np.nonzero(icon[..., 3] > 8)
    if rows.size == 0:
        return icon
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    side = int(max(bottom - top, right - left))
    square = np.zeros((side, side, 4), dtype=np.uint8)
    y, x = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    square[y : y + bottom - top, x : x + right - left] = icon[top:bottom, left:right]
    return square


def make_icon(svg: str, size: int) -> Tensor:
    """An SVG as premultiplied RGBA ``[4, size, size]`` that its content fills."""
    pixels = crop_to_content(render_icon(svg, RENDERED_LARGER * size))
    side = len(pixels)
    way = Image.Resampling.BOX if side > size else Image.Resampling.BICUBIC
    picture = Image.frombytes("RGBa", (side, side), pixels.tobytes()).resize((size, size), way)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)


def build_icon_set(packages: Path, config: Config) -> IconSet:
    """Render everything that the configuration needs; says how many subjects each style has."""
    entries = emojibase_entries(packages / "emojibase-data")
    icon_names = load_icon_names(packages, STYLES["noto"])
    hexcodes = {name: hexcode for hexcode, name in icon_names.items()}
    named = name_entries(entries, {hexcodes[subject.icon]: subject.names for subject in handwritten_subjects()})
    shown = [entry for entry in entries if not is_held_out(icon_names[entry.hexcode])]
    taught = subjects()
    if config.every_subject:
        distinct = [entry for entry in shown if is_distinct(entry)]
        taught = tuple(Subject(icon_names[entry.hexcode], allowed_names(named[entry.hexcode])) for entry in distinct)
    svgs = {style: load_style(packages, style, entries) for style in STYLES}
    size = config.picture_size

    def render(wanted: Sequence[Subject]) -> Tensor:
        """Icons ``[subjects, styles, 4, n, n]``."""
        icons = torch.zeros(len(wanted), len(config.styles), 4, size, size, dtype=torch.uint8)
        for row, subject in enumerate(wanted):
            for column, style in enumerate(config.styles):
                if svg := svgs[style].get(hexcodes[subject.icon]):
                    icons[row, column] = make_icon(svg, size)
        return icons

    in_use = {(hexcodes[subject.icon], style) for subject in taught for style in config.styles}
    others = [
        make_icon(svg, size)
        for style in STYLES
        for entry in shown
        if (entry.hexcode, style) not in in_use and (svg := svgs[style].get(entry.hexcode))
    ]
    icons, held_out = render(taught), held_out_subjects()
    for style, count in zip(config.styles, present(icons).sum(0).tolist(), strict=True):
        print(f"{style}: {count} of {len(taught)} subjects")
    return IconSet(taught, config.styles, icons, held_out, render(held_out), torch.stack(others))


def is_distinct(entry: Entry) -> bool:
    """False for pictograms that no picture tells apart.

    The many families are alike but for a head, and where somebody walks to the right is a mirrored picture.
    """
    return not entry.label.startswith("family of") and not entry.label.endswith("facing right")


def allowed_names(names: Sequence[str]) -> tuple[str, ...]:
    """Without names that speak of a held-out subject."""
    held_out = [name for subject in held_out_subjects() for name in subject.names]
    return tuple(name for name in names if not any(f" {word} " in f" {name} " for word in held_out))


def make_pack(packages: Path, config: Config, file: Path) -> None:
    """Render the configuration's icons into ``file``."""
    write_pack(build_icon_set(packages, config), file)
    print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")
