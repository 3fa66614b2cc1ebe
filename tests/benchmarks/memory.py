"""What fits on 8 and 12 GB cards, computed from the real architectures: no card and no weights are needed.

GB are 2³⁰ bytes. Activations: see `generation.live_bytes`. 1 GB of each card is left for the CUDA context, the
display and workspaces.
"""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from rich.console import Console
from rich.table import Table
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import generation
from generation.memory import GIB, Needs, computed_needs, make_plan

CONFIGS = Path(generation.__file__).parent / "configs"
CARDS = (8, 12)
ROWS = (1, 2, 4, 8)


class Subject(NamedTuple):
    name: str
    folder: str
    side: int
    """Pixels."""
    vae: torch.dtype


SUBJECTS = (
    Subject("SD 1.5, float16", "stable-diffusion-v1", 512, torch.float16),
    Subject("SDXL, bfloat16", "stable-diffusion-xl", 1024, torch.bfloat16),
    Subject("SDXL, float16, VAE in float32", "stable-diffusion-xl", 1024, torch.float32),
)


def needs_of(subject: Subject) -> Needs:
    """Of the networks that the shipped configurations describe, on the meta device."""
    logging.getLogger("diffusers").setLevel(logging.ERROR)  # it says of each cast that nothing is kept in float32
    folder = CONFIGS / subject.folder
    encoders: list[Any] = []
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae"))
        for part in sorted(folder.glob("text_encoder*")):
            kind = CLIPTextModelWithProjection if part.name.endswith("_2") else CLIPTextModel
            encoders.append(kind(CLIPTextConfig.from_pretrained(part)).half())
    side = subject.side // 8
    return computed_needs(encoders, unet.half(), vae.to(subject.vae), side, side)


def main() -> None:
    sizes = Table(
        "GB", "UNet", "text encoders", "VAE", *(f"forward, {rows} rows" for rows in ROWS), "decode", "in tiles"
    )
    fits = Table("card", "model", "rows", "offloaded", "VAE in tiles", "held at the worst moment, GB")
    figures: dict[str, Any] = {}
    for subject in SUBJECTS:
        needs = needs_of(subject)
        activations = [needs.forward(rows, needs.area) for rows in ROWS]
        row = [needs.unet, needs.text_encoders, needs.vae, *activations, needs.decode, needs.decode_tiled]
        sizes.add_row(subject.name, *(f"{size / GIB:.2f}" for size in row))
        figures[subject.name] = {"gb": [round(size / GIB, 3) for size in row]}
        for card in CARDS:
            plan = make_plan(needs, card * GIB, needs.area, what=subject.name)
            held = needs.at_worst(plan, needs.area) / GIB
            away = ", ".join(plan.offloaded).replace("_", " ") or "–"
            tiled = "yes" if plan.tiled else "no"
            fits.add_row(f"{card} GB", subject.name, str(plan.rows), away, tiled, f"{held:.2f}")
            figures[subject.name][f"rows_{card}_gb"] = plan.rows
    Console().print(sizes, fits)
    print(json.dumps({"benchmark": "memory", **figures}))


if __name__ == "__main__":
    main()
