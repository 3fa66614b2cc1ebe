"""From npm packages of openly licensed pictograms to pictures ``[64, 64, 3]``.

The icons come from iconify's repackaging of Noto Emoji, Fluent Emoji and Twemoji (SVG bodies in one
JSON file per set), the words from emojibase-data. Nothing here knows about captions or networks.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from resvg_py import svg_to_bytes  # of the extra "base-model": needed to make the model, not to use it

PICTURE_SIZE = 64
RENDER_SIZE = 128  # icons are rendered once at this size and shrunk per picture

PACKAGES: dict[str, str] = {
    "iconify-json-noto": "@iconify-json/noto@1.2.9",
    "iconify-json-fluent-emoji-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "iconify-json-twemoji": "@iconify-json/twemoji@1.2.5",
    "emojibase-data": "emojibase-data@17.0.0",
}

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Geometry:
    """Where an icon lies in the picture: its side as a share of the picture, and pixels off centre."""

    scale: float
    offset_x: float
    offset_y: float


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
    """``{icon name: complete SVG text}`` of one unpacked iconify package."""
    content: dict[str, Any] = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
    svgs: dict[str, str] = {}
    for name, icon in content["icons"].items():
        width = icon.get("width", content.get("width", 16))
        height = icon.get("height", content.get("height", 16))
        svgs[name] = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        )
    return svgs


def is_plain_icon(name: str) -> bool:
    """False for skin-tone variants and flags: thousands of near duplicates that teach nothing."""
    return not ("skin-tone" in name or "-tone" in name or name.startswith("flag-") or name.isdigit())


def render_icon(svg: str) -> Pixels:
    """An SVG as premultiplied RGBA ``[128, 128, 4]``, so that shrinking it leaves no dark fringes."""
    png = bytes(svg_to_bytes(svg_string=svg, width=RENDER_SIZE, height=RENDER_SIZE))
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    if picture.size != (RENDER_SIZE, RENDER_SIZE):
        square = Image.new("RGBA", (RENDER_SIZE, RENDER_SIZE))
        square.paste(picture, tuple((RENDER_SIZE - side) // 2 for side in picture.size))  # type: ignore[arg-type]
        picture = square
    pixels = np.asarray(picture, dtype=np.uint16)
    alpha = pixels[..., 3:]
    return np.concatenate([pixels[..., :3] * alpha // 255, alpha], axis=-1).astype(np.uint8)


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


def compose(icon: Pixels, background: Colour | Pixels, geometry: Geometry) -> Pixels:
    """Put a premultiplied icon ``[n, n, 4]`` on a colour or a picture ``[64, 64, 3]`` → ``[64, 64, 3]``."""
    side = icon.shape[0]
    span = side / geometry.scale  # how many icon pixels the whole picture spans
    left = (side - span) / 2 - geometry.offset_x * span / PICTURE_SIZE
    top = (side - span) / 2 - geometry.offset_y * span / PICTURE_SIZE
    # A margin of nothing around the icon lets resize() sample beyond the icon's border with its own filter.
    margin = int(np.ceil(max(-left, -top, left + span - side, top + span - side, 0))) + 4
    padded = np.pad(icon, ((margin, margin), (margin, margin), (0, 0)))
    box = (left + margin, top + margin, left + margin + span, top + margin + span)
    layers = [
        Image.fromarray(np.ascontiguousarray(padded[..., channel])).resize(
            (PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BOX if span < side else Image.Resampling.BICUBIC, box=box
        )
        for channel in range(4)
    ]
    placed = np.stack([np.asarray(layer, dtype=np.float32) for layer in layers], axis=-1)
    backdrop = np.broadcast_to(np.asarray(background, dtype=np.float32), (PICTURE_SIZE, PICTURE_SIZE, 3))
    mixed = placed[..., :3] + backdrop * (1 - placed[..., 3:] / 255)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def emojibase_texts(folder: Path) -> Iterator[str]:
    """Every English label, keyword and shortcode of emojibase-data, as text for the tokenizer."""
    for entry in json.loads((folder / "en" / "data.json").read_text(encoding="utf-8")):
        yield entry["label"]
        yield from entry.get("tags", [])
    for file in sorted((folder / "en" / "shortcodes").glob("*.json")):
        for codes in json.loads(file.read_text(encoding="utf-8")).values():
            yield from ([codes] if isinstance(codes, str) else codes)
