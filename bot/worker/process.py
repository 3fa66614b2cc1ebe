"""The worker process: loads the model, then draws and trains what it is told. Only here torch is imported.

`python -m bot.worker` is started by `bot.worker.supervisor`, which speaks first, with `Load`.
"""

import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from bot.worker.beats import HEARTBEAT_SECONDS, Beats
from bot.worker.channel import Channel, die_with_parent
from bot.worker.drawing import DrawingLoop
from bot.worker.messages import Heartbeat, Load, LoadFailed, Loading, Ready, Shutdown
from bot.worker.pictures import CheckedFiles
from bot.worker.training import TrainingLoop
from bot.worker.work import Order, Work
from generation.layout import ModelError

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

REPORT_SECONDS = 0.2
LOADING = "loading the model"


class Loader(threading.Thread):
    """Loads engine and output check beside the main loop, which goes on with its heartbeats."""

    def __init__(self, channel: Channel, load: Load) -> None:
        super().__init__(name="loader", daemon=True)
        self._channel, self._load = channel, load
        self._said: tuple[str, float] = ("", 0.0)
        self.work: Work | None = None
        self.ready: Ready | None = None
        self.failure: str | None = None

    def run(self) -> None:
        try:
            self._prepare()
        except Exception as error:
            if not isinstance(error, ModelError):
                log.exception("loading failed")
            text = f"The model could not be loaded ({type(error).__name__}); the log has more."
            self.failure = str(error) if isinstance(error, ModelError) else text

    def _prepare(self) -> None:
        self._report(LOADING, None)
        from bot.worker.trainers import Trainers  # noqa: PLC0415
        from generation.engine import Engine  # noqa: PLC0415  (torch takes seconds: heartbeats go on meanwhile)
        from generation.model import load_model  # noqa: PLC0415

        load = self._load
        model = load_model(
            load.model, device=load.device, dtype=load.dtype, own_check=load.output_check, report=self._report
        )
        score = _score_of(load, model.own_check)
        engine = Engine(model, reproducible=load.reproducible)
        self._report("getting ready", None)
        engine.prepare()
        send, files = self._channel.send, CheckedFiles(score, load.nsfw_threshold)
        drawing, training = DrawingLoop(engine, files, send), TrainingLoop(engine, Trainers(model), files, send)
        self.work, self.ready = Work(drawing, training, Beats(send)), Ready(model=model.info)

    def _report(self, text: str, fraction: float | None) -> None:
        before, when = self._said
        if text != before or time.monotonic() - when >= REPORT_SECONDS:
            self._said = text, time.monotonic()
            self._channel.send(Loading(text=text, fraction=fraction))


def _score_of(load: Load, own_check: Any) -> Any:
    if not load.output_check:
        return _unchecked
    from generation.safety import OutputCheck  # noqa: PLC0415  (onnxruntime)

    return OutputCheck(own_check).score


def _unchecked(_: "Image.Image") -> float:
    return 0.0


def serve(channel: Channel) -> int:
    """Until told to shut down. Returns the exit status: 1 where the model can't be loaded."""
    load = channel.receive(60)
    if not isinstance(load, Load):
        log.error("the bot did not say which model to load")
        return 2
    loader = Loader(channel, load)
    loader.start()
    early: list[Order] = []
    while loader.is_alive():
        channel.send(Heartbeat(step_counter=0))
        message = channel.receive(HEARTBEAT_SECONDS / 4)
        if isinstance(message, Shutdown):
            return 0
        if isinstance(message, Order):
            early.append(message)
    if loader.work is None or loader.ready is None:
        channel.send(LoadFailed(reason=loader.failure or LOADING))
        return 1
    channel.send(loader.ready)
    for message in early:
        loader.work.take(message)
    return _do(channel, loader.work)


def _do(channel: Channel, work: Work) -> int:
    while True:
        message = channel.receive(work.patience)
        while message is not None:
            if isinstance(message, Shutdown):
                return 0
            if isinstance(message, Order):
                work.take(message)
            message = channel.receive(0)
        work.step()
        work.beat()


def main() -> None:
    die_with_parent()
    channel = Channel.of_this_process()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    status = serve(channel)
    sys.stderr.flush()
    os._exit(status)  # without torch's and the loader's farewells, which can hang
