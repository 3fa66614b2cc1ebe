"""What members notice of somebody's training, and what the training gets of an idle machine.

Both through the worker's own loop (`bot.worker.work`), with the output check and files on disk, without the process
around it. Pictures come in an open loop at half of what the machine can draw one by one; a block of them with a
training beside it and a block without take turns, and both see the same arrivals. Latency runs from a request's
arrival to its `Done`. For the idle share, the trainer's steps are counted in a bare loop and in the worker's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
from PIL import Image, ImageDraw
from rich.table import Table

from bot.worker.beats import Beats
from bot.worker.drawing import DrawingLoop
from bot.worker.messages import Cancel, Done, Draw, Failed, FromWorker, Progress, Train
from bot.worker.pictures import CheckedFiles
from bot.worker.trainers import Trainers
from bot.worker.training import TrainingLoop
from bot.worker.work import Work
from generation.engine import Engine
from generation.model import LoadedModel, load_model
from generation.request import ImageRequest
from generation.safety import OutputCheck
from tests.benchmarks.latency import poisson_arrivals
from tests.benchmarks.measure import percentile, report
from training.defaults import settings_for
from training.events import Phase
from training.order import Method, TrainingOrder
from training.trainer import Folders, Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.defaults import TrainingSettings

LOAD = 0.5
BLOCK = 15
BLOCKS = 8
IDLE_SECONDS, IDLE_ROUNDS = 10.0, 3
_NEVER_DONE = 1_000_000


class Endless(Trainers):
    """Trainings that do nothing but train: no samples, no early stop."""

    def begin(self, train: Train, engine: object) -> Trainer:
        folders = Folders(Path(train.work_dir), Path(train.prior_dir), Path(train.concept_dir))
        photos = [Path(photo) for photo in train.photos]
        return Trainer(
            self._model,
            train.order,
            photos,
            folders,
            cast("Engine", engine),
            settings=endless(settings_for(self._model.info, train.order.method)),
        )


def endless(settings: TrainingSettings) -> TrainingSettings:
    return msgspec.structs.replace(
        settings, samples=0, patience=0, prior_images=0, checkpoint_every=_NEVER_DONE, evaluate_every=_NEVER_DONE
    )


class Clock:
    """Seconds. `own`: only those in which this process had a core, and those that it slept, which then pass at once:
    for a machine that has other things to do."""

    def __init__(self, *, own: bool) -> None:
        self._own, self._slept = own, 0.0

    def __call__(self) -> float:
        return time.process_time() + self._slept if self._own else time.monotonic()

    def sleep(self, seconds: float) -> None:
        if self._own:
            self._slept += seconds
        else:
            time.sleep(seconds)


class Machine:
    """The worker's loops; messages arrive when the clock says so."""

    def __init__(self, model: LoadedModel, folder: Path, method: Method, clock: Clock) -> None:
        self.model, self.folder, self.method, self.clock = model, folder, method, clock
        self.steps_drawn: int | None = None
        """Of each picture; None: as the model does it."""
        self.done: list[str] = []
        self.steps = 0
        engine = Engine(model)
        files = CheckedFiles(OutputCheck(model.own_check).score, nsfw_threshold=2.0)
        drawing, self.training = (
            DrawingLoop(engine, files, self.hear),
            TrainingLoop(engine, Endless(model), files, self.hear),
        )
        self.work = Work(drawing, self.training, Beats(self.hear), clock=clock)
        engine.prepare()

    def hear(self, message: FromWorker) -> None:
        if isinstance(message, Failed):
            sys.exit(f"{message.job} failed: {message.reason}")
        if isinstance(message, Done):
            self.done.append(message.job)
        if isinstance(message, Progress) and message.phase is Phase.TRAINING:
            self.steps = message.step

    def train(self, job: str) -> Train:
        folder = self.folder / job
        return Train(
            job=job,
            attempt=1,
            order=TrainingOrder(job=job, method=self.method, name="thing", class_word="apple", max_steps=_NEVER_DONE),
            photos=[str(path) for path in photos(self.folder, self.model.info.defaults.width)],
            work_dir=str(folder / "work"),
            prior_dir=str(folder / "prior"),
            concept_dir=str(folder / "concept"),
            request=ImageRequest(prompt="a <thing>", seed=0),
            output_dir=str(folder / "images"),
        )

    def begin_training(self, job: str) -> None:
        """Until its first step is done."""
        self.steps = 0
        self.work.take(self.train(job))
        while self.steps == 0:
            self.work.step()

    def end_training(self, job: str) -> None:
        self.work.take(Cancel(job=job))

    def draw(self, name: str, seed: int) -> None:
        prompt = f"a red apple and {seed} leaves"
        request = ImageRequest(prompt=prompt, negative_prompt="dark", seed=seed, num_inference_steps=self.steps_drawn)
        self.work.take(Draw(job=name, attempt=1, request=request, output_dir=str(self.folder / "images" / name)))

    def serve(self, prefix: str, arrivals: Sequence[float]) -> list[float]:
        """Seconds from each arrival to its picture."""
        start, taken, latencies = self.clock(), 0, dict[str, float]()
        self.done.clear()
        while len(latencies) < len(arrivals):
            now = self.clock() - start
            while taken < len(arrivals) and arrivals[taken] <= now:
                self.draw(f"{prefix}-{taken}", taken)
                taken += 1
            if self.work.patience:
                next_one = arrivals[taken] if taken < len(arrivals) else now
                self.clock.sleep(max(0.0, min(self.work.patience, next_one - now)))
            self.work.step()
            self.work.beat()
            for job in self.done:
                latencies[job] = self.clock() - start - arrivals[int(job.rpartition("-")[2])]
            self.done.clear()
        return list(latencies.values())


def photos(folder: Path, side: int) -> Iterator[Path]:
    """Five made-up ones: a disc at another place on another ground."""
    for index in range(5):
        path = folder / f"photo-{index}.png"
        image = Image.new("RGB", (side, side), (50 * index, 255 - 40 * index, 120))
        at = side // 8 * index // 2
        ImageDraw.Draw(image).ellipse([at, at, at + side // 2, at + side // 2], fill=(200, 30, 30))
        image.save(path)
        yield path


def beside(machine: Machine, blocks: int, count: int) -> dict[str, float]:
    service = statistics.median(machine.serve(f"alone-{k}", [0.0])[0] for k in range(5))
    latencies: dict[bool, list[float]] = {False: [], True: []}
    trained = 0
    for block in range(blocks):
        arrivals = poisson_arrivals(count, LOAD / service, seed=block)
        for training in (True, False) if block % 2 else (False, True):
            job = f"t{block}"
            if training:
                machine.begin_training(job)
            before = machine.steps
            latencies[training] += machine.serve(f"{block}-{training}", arrivals)
            if training:
                trained += machine.steps - before
                machine.end_training(job)
    figures = {"service_s": service, "load": LOAD, "pictures": blocks * count, "steps_beside": float(trained)}
    for percent in (50, 95):
        with_, without = percentile(latencies[True], percent), percentile(latencies[False], percent)
        figures |= {
            f"p{percent}_with_s": with_,
            f"p{percent}_without_s": without,
            f"p{percent}_ratio": with_ / without,
        }
    return figures


def idle(machine: Machine, seconds: float, rounds: int) -> dict[str, float]:
    """Optimizer steps a second in a bare loop and in the worker's, in turns."""
    bare: list[float] = []
    worker: list[float] = []
    for index in range(rounds):
        train = machine.train(f"bare-{index}")
        Path(train.work_dir).mkdir(parents=True)
        trainer = Endless(machine.model).begin(train, Engine(machine.model))
        events: Iterator[Any] = trainer.steps()
        while (phase := next(events)).phase is not Phase.TRAINING or phase.step == 0:
            pass
        first, start = phase.step, machine.clock()
        while machine.clock() < start + seconds:
            phase = next(events)
        bare.append((phase.step - first) / (machine.clock() - start))
        trainer.close()
        machine.begin_training(f"idle-{index}")
        first, start = machine.steps, machine.clock()
        while machine.clock() < start + seconds:
            machine.work.step()
            machine.work.beat()
        said = machine.clock()
        worker.append((machine.steps - first) / (said - start))
        machine.end_training(f"idle-{index}")
    return {
        "bare_steps_per_s": statistics.median(bare),
        "worker_steps_per_s": statistics.median(worker),
        "idle_share": statistics.median(worker) / statistics.median(bare),
    }


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="training_beside", description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--method", default=Method.LORA, choices=list(Method), type=Method)
    parser.add_argument("--blocks", default=BLOCKS, type=int)
    parser.add_argument("--pictures", default=BLOCK, type=int, help="in each block")
    parser.add_argument("--steps", type=int, help="of each picture; the model's own number if left out")
    parser.add_argument("--own-time", action="store_true", help="count only this process's time (CPU)")
    parser.add_argument("--idle-seconds", default=IDLE_SECONDS, type=float)
    asked = parser.parse_args(arguments)
    model = load_model(asked.model, device=asked.device)
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(model, Path(folder), asked.method, Clock(own=asked.own_time))
        machine.steps_drawn = asked.steps
        machine.serve("warm", [0.0, 0.0])
        figures = idle(machine, asked.idle_seconds, IDLE_ROUNDS) | beside(machine, asked.blocks, asked.pictures)
    table = Table("training beside pictures", "with", "without", "with ÷ without", "wanted")
    for percent, wanted in ((50, ""), (95, "≤ 1.25")):
        with_, without = figures[f"p{percent}_with_s"], figures[f"p{percent}_without_s"]
        table.add_row(
            f"p{percent}, s", f"{with_:.3f}", f"{without:.3f}", f"{figures[f'p{percent}_ratio']:.2f}", wanted
        )
    table.add_row(
        "idle machine, steps/s",
        f"{figures['worker_steps_per_s']:.2f}",
        f"{figures['bare_steps_per_s']:.2f}",
        f"{figures['idle_share']:.2f}",
        "≥ 0.90",
    )
    table.caption = f"{asked.method}, {asked.blocks} × {asked.pictures} pictures at {LOAD:.0%} of one by one"
    told = {"model": model.info.name, "steps": asked.steps, "method": asked.method}
    report("training_beside", table, told | figures, model.device)


if __name__ == "__main__":
    main(sys.argv[1:])
