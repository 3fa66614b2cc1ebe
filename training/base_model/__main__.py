"""Make the bundled model: ``python -m training.base_model STEP --work DIR`` (the steps are in README.md)."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.base_model.networks import UNET_WIDTHS


def parse_arguments() -> argparse.Namespace:
    """One step per call; all steps share the work folder."""
    parser = argparse.ArgumentParser(prog="python -m training.base_model", description=__doc__)
    parser.add_argument("step", choices=("data", "autoencoder", "decoder", "latents", "train", "export"))
    parser.add_argument("--work", type=Path, required=True, help="folder for everything on the way")
    parser.add_argument("--packages", type=Path, help="unpacked npm packages (default: WORK/packages)")
    parser.add_argument("--minutes", type=float, help="time budget of autoencoder, decoder or train")
    parser.add_argument("--config", choices=tuple(UNET_WIDTHS), default="small")
    parser.add_argument("--resume", action="store_true", help="go on from WORK/checkpoint.pt")
    parser.add_argument("--output", type=Path, help="where export writes the model folder")
    return parser.parse_args()


def main() -> None:
    """Run the step; the imports wait for it because torch takes seconds to load."""
    arguments = parse_arguments()
    work: Path = arguments.work
    packages: Path = arguments.packages or work / "packages"
    if arguments.step == "data":
        from training.base_model.data import fetch_packages  # noqa: PLC0415
        from training.base_model.tokenizer import save_tokenizer  # noqa: PLC0415

        fetch_packages(packages)
        save_tokenizer(packages, work / "tokenizer")
    elif arguments.step in ("autoencoder", "decoder"):
        from training.base_model.autoencoder import train_autoencoder  # noqa: PLC0415

        train_autoencoder(work, packages, arguments.minutes or 20, decoder_only=arguments.step == "decoder")
    elif arguments.step == "latents":
        from training.base_model.latents import cache_latents  # noqa: PLC0415

        cache_latents(work, packages)
    elif arguments.step == "train":
        from training.base_model.train import train  # noqa: PLC0415

        train(work, arguments.minutes or 100, arguments.config, arguments.resume)
    else:
        from training.base_model.export import export  # noqa: PLC0415

        export(work, arguments.output, arguments.config)


if __name__ == "__main__":
    main()
