"""Steps a second against diffusers' own example scripts: the same model, photos, batch, precision and steps.

    python -m tests.benchmarks.training_speed EXAMPLES [--model small|text|sd15] [--methods …] [--steps N]

EXAMPLES is a folder with `textual_inversion.py`, `train_dreambooth.py` and `train_dreambooth_lora.py` out of a
checkout of diffusers (examples/); they need torchvision. Each run is a process of its own; ours and theirs take
turns.

`small` is the bundled model, `text` has a text encoder of Stable Diffusion 1.5's size with a small UNet, `sd15` is
all of Stable Diffusion 1.5's size (for a GPU). The scripts know AutoencoderKL only, so each has one of those with
random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from rich.table import Table
from transformers import CLIPTextModel

import generation
from generation.engine import Engine
from generation.model import load_model
from tests.benchmarks.measure import report
from tests.benchmarks.optimizer_steps import timed
from tests.benchmarks.random_model import write_random_model
from training.defaults import LoraLayers, settings_for
from training.order import Method, TrainingOrder
from training.trainer import Folders, Trainer

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPTS: Final = {
    Method.TEXTUAL_INVERSION: "textual_inversion.py",
    Method.LORA: "train_dreambooth_lora.py",
    Method.DREAMBOOTH: "train_dreambooth.py",
}
PHOTOS: Final = 5


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--model", choices=("small", "text", "sd15"), default="small")
    parser.add_argument("--methods", nargs="+", choices=list(Method), default=list(Method))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--own-time", action="store_true", help="the processes' own CPU time: for one thread each")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.ours is not None:
        timed(lambda: _train(asked.ours, Method(asked.methods[0]), asked.steps))
        return
    with tempfile.TemporaryDirectory() as name:
        _compare(Path(name), asked)


def _compare(folder: Path, asked: Any) -> None:
    _write_model(folder / "model", asked.model)
    side = 512 if asked.model == "sd15" else 64
    _write_pictures(folder / "photos", PHOTOS, side)
    _write_pictures(folder / "class", 20, side)
    model = load_model(str(folder / "model"))
    table = Table("method", "theirs, ms a step", "ours", "theirs ÷ ours", "memory, ours ÷ theirs")
    figures: dict[str, object] = {"model": asked.model}
    for method in map(Method, asked.methods):
        settings = settings_for(model.info, method)
        theirs = [*_script(asked.examples / SCRIPTS[method], method, settings, folder, side), f"{asked.steps}"]
        ours = ["training_speed", str(asked.examples), "--ours", str(folder), "--methods", method]
        ours += ["--steps", str(asked.steps)]
        runs: dict[str, list[dict[str, float]]] = {"theirs": [], "ours": []}
        for _ in range(asked.rounds):
            runs["theirs"].append(_run(["tests.benchmarks.optimizer_steps", *theirs], folder))
            runs["ours"].append(_run([f"tests.benchmarks.{ours[0]}", *ours[1:]], folder))
        clock = "own" if asked.own_time else "seconds"
        seconds = {who: statistics.median(run[clock] for run in some) for who, some in runs.items()}
        memory = {who: max(run["bytes"] for run in some) for who, some in runs.items()}
        ratio, share = seconds["theirs"] / seconds["ours"], memory["ours"] / memory["theirs"]
        shown = [f"{1000 * seconds[who]:.1f}" for who in ("theirs", "ours")]
        table.add_row(method, *shown, f"{ratio:.2f}", f"{share:.2f}")
        figures |= {f"{method}_speed": ratio, f"{method}_memory": share}
    report("training_speed", table, figures, model.device)


def _write_model(folder: Path, which: str) -> None:
    """The networks that `which` says, and an AutoencoderKL of the same factor."""
    if which == "small":
        shutil.copytree(Path(generation.__file__).parent / "bundled", folder)
        # diffusers declares tuples of one.
        three: dict[str, Any] = {
            "block_out_channels": (32, 32, 32),
            "down_block_types": ("DownEncoderBlock2D",) * 3,
            "up_block_types": ("UpDecoderBlock2D",) * 3,
        }
        vae = AutoencoderKL(**three)
        # The scripts refuse weights that are stored in float16.
        text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        for network, part in ((vae, "vae"), (text_encoder, "text_encoder")):
            shutil.rmtree(folder / part)
            network.save_pretrained(folder / part)
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps(index | {"vae": ["diffusers", "AutoencoderKL"]}))
        return
    folder.mkdir()
    whole = ("text_encoder",) if which == "text" else ("unet", "vae", "text_encoder")
    write_random_model(folder, "sd15", torch.device("cpu"), torch.float32, tiny=True, whole=whole)


def _write_pictures(folder: Path, count: int, side: int) -> None:
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for number in range(count):
        pixels = torch.randint(256, (8, 8, 3), generator=generator, dtype=torch.uint8)
        picture = Image.fromarray(pixels.numpy()).resize((side, side), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number}.png")


def _script(script: Path, method: Method, settings: Any, folder: Path, side: int) -> list[str]:
    """A script with options that ask for what our settings ask for; the number of steps is still to come."""
    pairs: dict[str, object] = {
        "--pretrained_model_name_or_path": folder / "model",
        "--output_dir": folder / "theirs",
        "--resolution": side,
        "--train_batch_size": settings.batch_size,
        "--mixed_precision": "bf16" if torch.cuda.is_available() and method is not Method.DREAMBOOTH else "no",
        "--checkpointing_steps": 10**6,
        "--seed": 0,
    }
    flags: list[str] = []
    if method is Method.TEXTUAL_INVERSION:
        pairs |= {"--train_data_dir": folder / "photos", "--placeholder_token": "<mine>", "--initializer_token": "a"}
        pairs |= {"--num_vectors": settings.vectors, "--save_steps": 10**6}
    else:
        pairs |= {"--instance_data_dir": folder / "photos", "--instance_prompt": "a photo of zwqk dog"}
        if settings.prior_images:
            flags.append("--with_prior_preservation")
            pairs |= {"--class_data_dir": folder / "class", "--class_prompt": "a photo of a dog"}
            pairs |= {"--num_class_images": 20}
    if method is Method.LORA:
        pairs["--rank"] = settings.rank
    if method is Method.DREAMBOOTH:
        flags.append("--train_text_encoder")
    options = [str(word) for pair in pairs.items() for word in pair]
    return [str(script), *options, *flags, "--max_train_steps"]


def _run(module_and_arguments: list[str], folder: Path) -> dict[str, float]:
    """The figures that `optimizer_steps` printed last."""
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", *module_and_arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(module_and_arguments)}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _train(folder: Path, method: Method, steps: int) -> None:
    """Our side, until the optimizer has made its steps."""
    model = load_model(str(folder / "model"))
    work = Path(tempfile.mkdtemp(dir=folder))
    folders = Folders(work=work / "work", prior=folder / "prior", concept=work / "concept")
    order = TrainingOrder(job="speed", method=method, name="mine", class_word="dog", max_steps=steps)
    # What the scripts have no options for is left out here, too.
    settings = msgspec.structs.replace(
        settings_for(model.info, method), layers=LoraLayers.ATTENTION, prior_from_model=False, unconditional_prior=0.0
    )
    if method is Method.LORA:
        settings = msgspec.structs.replace(settings, text_rank=0)
    photos = sorted((folder / "photos").iterdir())
    trainer = Trainer(model, order, photos, folders, Engine(model), settings=settings)
    for _ in trainer.steps():
        pass
    trainer.close()


if __name__ == "__main__":
    main()
