"""`make bench-training`: are things that the bundled model has never seen learned, by each of the three methods?

`python -m tests.benchmarks.training FOLDER [--seeds 3] [--subjects 6]` trains, draws and keeps all in FOLDER; the
same command goes on where it was ended. `--table` only says what is there. Hours on one core with all seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import msgspec

from generation.engine import Engine
from generation.model import load_model
from training.evaluation import Evaluation, plan
from training.evaluation_figures import table
from training.judge import judge_for
from training.views import UNSEEN


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.training", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--from-seed", type=int, default=0, help="without the seeds before: for a second process")
    parser.add_argument("--subjects", type=int, default=len(UNSEEN))
    parser.add_argument("--table", action="store_true", help="train nothing: the figures of what is there")
    chosen = parser.parse_args(arguments)
    model = load_model("bundled", device="cpu")
    judge = judge_for(model)
    assert judge is not None
    if not chosen.table:
        cells = plan(UNSEEN[: chosen.subjects], range(chosen.from_seed, chosen.seeds))
        engine = Engine(model)
        started = time.monotonic()
        for number, outcome in enumerate(Evaluation(model, engine, chosen.folder).run(cells), 1):
            line = {"done": number, "of": len(cells), "minutes": round((time.monotonic() - started) / 60, 1)}
            print(json.dumps(line | msgspec.to_builtins(outcome)), flush=True)
        engine.close()
    text = table(chosen.folder, judge, chosen.seeds)
    (chosen.folder / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
