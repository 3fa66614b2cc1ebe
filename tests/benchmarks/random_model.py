"""Models with random weights in the real architectures, for machines that have no downloaded model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
import transformers

import generation
from generation.vocabulary import clip_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

CONFIGS = Path(generation.__file__).parent / "configs"
FAMILIES = {"sd15": "stable-diffusion-v1", "sdxl": "stable-diffusion-xl"}
NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")
_WIDTH = 32


def write_random_model(
    folder: Path,
    family: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    tiny: bool,
    whole: Collection[str] = (),
) -> Path:
    """Fill `folder` in the layout of diffusers: the family's configuration and tokenizers, and random weights.

    `tiny` keeps the structure (blocks, two text encoders, added conditions) and shrinks every width, for dry runs,
    but not of the networks named in `whole`.
    """
    configs = CONFIGS / FAMILIES[family]
    shutil.copy(configs / "model_index.json", folder)
    shutil.copytree(configs / "scheduler", folder / "scheduler")
    (folder / "atelier.json").write_text(json.dumps({"name": f"{family}, random weights"}))
    for path in configs.glob("tokenizer*"):
        clip_tokenizer(path).save_pretrained(folder / path.name)
    classes = json.loads((configs / "model_index.json").read_text())
    random_state = torch.get_rng_state()
    torch.manual_seed(0)
    for part in NETWORKS:
        if not (configs / part).is_dir():
            continue
        config = json.loads((configs / part / "config.json").read_text())
        read_width = config.get("cross_attention_dim")
        if tiny and part not in whole:
            config |= _SHRUNK[part](config)
            if part == "unet" and "text_encoder" in whole:
                config["cross_attention_dim"] = read_width
        library, class_name = classes[part]
        with device:
            network = _build(library, class_name, config)
        network.to(dtype).save_pretrained(folder / part)
    torch.set_rng_state(random_state)
    return folder


def _build(library: str, class_name: str, config: dict[str, Any]) -> Any:
    if library == "diffusers":
        return getattr(diffusers, class_name).from_config(config)
    kind: Any = getattr(transformers, class_name)
    return kind(kind.config_class.from_dict(config))


def _shrunk_unet(config: dict[str, Any]) -> dict[str, Any]:
    blocks = len(config["block_out_channels"])
    changes: dict[str, Any] = {
        "block_out_channels": [_WIDTH, *[2 * _WIDTH] * (blocks - 1)],
        "attention_head_dim": 4,
        "transformer_layers_per_block": 1,
        "norm_num_groups": 8,
        "cross_attention_dim": _WIDTH,
        "sample_size": 8,
    }
    if config.get("addition_embed_type") == "text_time":
        changes |= {
            "cross_attention_dim": 2 * _WIDTH,
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": _WIDTH + 6 * 8,
        }
    return changes


def _shrunk_vae(config: dict[str, Any]) -> dict[str, Any]:
    return {"block_out_channels": [8] * len(config["block_out_channels"]), "norm_num_groups": 4, "sample_size": 64}


def _shrunk_text_encoder(config: dict[str, Any]) -> dict[str, Any]:
    del config
    return {
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "projection_dim": _WIDTH,
    }


_SHRUNK: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "unet": _shrunk_unet,
    "vae": _shrunk_vae,
    "text_encoder": _shrunk_text_encoder,
    "text_encoder_2": _shrunk_text_encoder,
}
