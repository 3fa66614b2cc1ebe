"""Make the bundled model: ``python -m training.base_model STEP --work DIR`` (the steps are in README.md)."""

from __future__ import annotations

# ruff: noqa: E402 - the clock starts before the imports: torch and diffusers alone can take half a minute
import time

STARTED = time.monotonic()

import argparse
import math
from pathlib import Path

import torch

from training.base_model.configs import CONFIGS
from training.base_model.stages import STAGES, Order, everything, take_over


def parse_arguments() -> argparse.Namespace:
    """One step per call, or ``all``; all steps share the work folder."""
    parser = argparse.ArgumentParser(prog="python -m training.base_model", description=__doc__)
    parser.add_argument("step", choices=("all", *STAGES))
    parser.add_argument("--work", type=Path, required=True, help="folder for everything on the way")
    parser.add_argument("--config", choices=tuple(CONFIGS), default="small")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--minutes", type=float, help="whole budget of the step (of `all`: of its training)")
    parser.add_argument(
        "--this-call-minutes",
        type=float,
        default=math.inf,
        help="since the start of the program: `train` and `all` stop by then, to go on when called again",
    )
    parser.add_argument("--start-from", type=Path, help="a model folder to go on from; give it to every step")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="default: on a GPU")
    parser.add_argument("--packages", type=Path, help="unpacked npm packages (default: WORK/packages)")
    parser.add_argument("--output", type=Path, help="where export writes the model folder (default: WORK/model)")
    return parser.parse_args()


def main() -> None:
    """Run the step."""
    arguments = parse_arguments()
    work: Path = arguments.work
    wanted: str = arguments.device
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    order = Order(
        config=CONFIGS[arguments.config],
        work=work,
        packages=arguments.packages or work / "packages",
        output=arguments.output or work / "model",
        device=torch.device(kind),
        compiled=kind == "cuda" if arguments.compile is None else arguments.compile,
        minutes=arguments.minutes,
        deadline=STARTED + 60 * arguments.this_call_minutes,
        start_from=arguments.start_from,
    )
    take_over(order)
    if arguments.step == "all":
        everything(order)
    else:
        STAGES[arguments.step](order)


if __name__ == "__main__":
    main()
