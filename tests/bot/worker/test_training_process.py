"""A training in a real worker process that is killed. (In `make test` the loops are tested by themselves.)"""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.settings import Settings
from bot.worker.messages import Cancel, Cancelled, Done, Draw, Failed, Heartbeat, Progress, Ready, Train, WorkerLost
from bot.worker.supervisor import ProcessWorker
from generation.request import ImageRequest
from training.events import Phase
from training.order import Method, TrainingOrder

pytestmark = pytest.mark.soak
Until = Callable[..., Awaitable[None]]
SECONDS = 120


class Reader:
    """Everything that the worker says."""

    def __init__(self, worker: ProcessWorker) -> None:
        self.worker = worker
        self.said: list[Any] = []
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.worker.messages():
            assert not isinstance(message, Failed), message.reason
            self.said.append(message)

    def count(self, kind: type) -> int:
        return sum(isinstance(message, kind) for message in self.said)

    def beats(self) -> list[list[str]]:
        return [message.jobs for message in self.said if isinstance(message, Heartbeat)]

    def steps(self, attempt: int) -> list[int]:
        progress = (message for message in self.said if isinstance(message, Progress))
        return [p.step for p in progress if p.phase is Phase.TRAINING and p.attempt == attempt]


def train(folder: Path, attempt: int, steps: int) -> Train:
    photos = [folder / f"{index}.png" for index in range(3)]
    for index, path in enumerate(photos):
        Image.new("RGB", (64, 64), (80 * index, 200, 90)).save(path)
    order = TrainingOrder(
        job="t", method=Method.LORA, name="thing", class_word="apple", max_steps=steps, prior_preservation=False
    )
    return Train(
        job="t",
        attempt=attempt,
        order=order,
        photos=[str(path) for path in photos],
        work_dir=str(folder / "work"),
        prior_dir=str(folder / "prior"),
        concept_dir=str(folder / "concept"),
        request=ImageRequest(prompt="a <thing>", seed=4),
        output_dir=str(folder / "images" / "t"),
    )


async def test_killed_it_goes_on_where_it_was_and_pictures_are_drawn_meanwhile(
    tmp_path: Path, tiny_model_folder: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    model = Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))
    (model / "atelier.json").write_text(json.dumps({"num_inference_steps": 2}))
    worker = ProcessWorker(Settings(data_dir=tmp_path / "data", model=str(model), worker_heartbeat_seconds=3))
    reader = Reader(worker)
    await worker.start()
    await until(lambda: reader.count(Ready), "the worker", SECONDS)

    await worker.send(train(tmp_path, 1, steps=100_000))
    await until(lambda: reader.steps(1), "the training", SECONDS)
    request = ImageRequest(prompt="a red apple", seed=1, num_inference_steps=4)
    await worker.send(Draw(job="p", attempt=1, request=request, output_dir=str(tmp_path / "images" / "p")))
    await until(lambda: reader.count(Done), "the picture", SECONDS)
    await until((tmp_path / "work" / "checkpoint.safetensors").exists, "a checkpoint", SECONDS)
    await until(lambda: ["t"] in reader.beats(), "a heartbeat with its name", SECONDS)

    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    await until(lambda: reader.count(WorkerLost) and reader.count(Ready) == 2, "the next worker", SECONDS)
    await worker.send(train(tmp_path, 2, steps=100_000))
    await until(lambda: reader.steps(2), "the training to go on", SECONDS)
    assert reader.steps(2)[0] >= 50
    await worker.send(Cancel(job="t"))
    await until(lambda: reader.count(Cancelled), "the end", SECONDS)
    assert not (tmp_path / "concept").exists()
    await worker.stop()
