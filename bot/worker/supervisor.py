"""Starts the worker process, watches it, and starts it again: whatever happens to it, the bot goes on."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import bot
from bot.settings import PREFIX, Settings
from bot.worker.messages import (
    BadFrame,
    FromWorker,
    Load,
    LoadFailed,
    Ready,
    Shutdown,
    ToWorker,
    WorkerLost,
    frame_length,
    pack,
    unpack_from_worker,
)

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
FIRST_PAUSE_AFTER_LOADING = 10.0  # a model that can't be loaded is rarely there half a second later
LONGEST_PAUSE = 60.0
STEADY_SECONDS = 120.0  # a life of this length is not part of a row of crashes
SHUTDOWN_SECONDS = 5.0
LOOK_SECONDS = 1.0
LONGEST_LINE = 2000


class ProcessWorker:
    """Implements `bot.worker.protocol.Worker` with `python -m bot.worker`."""

    def __init__(self, settings: Settings) -> None:
        self._load = Load(
            model=settings.model,
            device=settings.device,
            dtype=settings.dtype,
            output_check=settings.output_check == "on",
            nsfw_threshold=settings.nsfw_threshold,
            reproducible=settings.reproducible == "on",
        )
        self._heartbeat = settings.worker_heartbeat_seconds
        self._loading = max(settings.worker_loading_seconds, settings.worker_heartbeat_seconds)
        self._said: asyncio.Queue[tuple[int, FromWorker | WorkerLost] | None] = asyncio.Queue()
        self._lives = 0
        self._known_ready = 0  # the life whose Ready the reader has seen
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._last_word = 0.0
        self._ready = False
        self._load_failed = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._keep_alive(), name="worker-supervisor")
        self._task.add_done_callback(lambda _: self._said.put_nowait(None))

    async def stop(self) -> None:
        self._stopping = True
        process = self._process
        if process is not None:
            await self._write(process, Shutdown())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHUTDOWN_SECONDS):
                    await process.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def send(self, message: ToWorker) -> None:
        # What was meant for a process that died must not reach the next one before the reader knows of the loss.
        if self._process is not None and self._known_ready == self._lives:
            await self._write(self._process, message)

    async def messages(self) -> AsyncIterator[FromWorker | WorkerLost]:
        while (said := await self._said.get()) is not None:
            life, message = said
            if isinstance(message, Ready):
                self._known_ready = life
            yield message
        if self._task is not None and not self._task.cancelled():
            self._task.result()  # raises what ended the supervision, if it was an error

    @property
    def pid(self) -> int | None:
        """Of the living process."""
        return None if self._process is None else self._process.pid

    # ── lives ──

    async def _keep_alive(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping:
            began = time.monotonic()
            reason = await self._live()
            if self._stopping:
                return
            if time.monotonic() - began >= STEADY_SECONDS:
                pause = FIRST_PAUSE
            if self._load_failed:
                pause = max(pause, FIRST_PAUSE_AFTER_LOADING)
            else:
                self._said.put_nowait((self._lives, WorkerLost(reason=reason)))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _live(self) -> str:
        """One process, from start to end; returns why it ended."""
        self._lives += 1
        self._ready = self._load_failed = False
        self._last_word = time.monotonic()
        root = str(Path(bot.__file__).parents[1])  # so that it finds this very code, installed or not
        paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot.worker",
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**_without_settings(os.environ), "PYTHONPATH": paths},
            start_new_session=True,  # Ctrl-C in a terminal is for the bot, which then stops us in order
        )
        reading = asyncio.create_task(self._read(process))
        logging_task = asyncio.create_task(_log_lines(process))
        try:
            await self._write(process, self._load)
            return await self._watch(process, reading)
        finally:
            self._process = None
            _kill(process)
            await process.wait()
            reading.cancel()
            await asyncio.gather(reading, logging_task, return_exceptions=True)

    async def _watch(self, process: Process, reading: "asyncio.Task[str]") -> str:
        """Until it ends by itself or has said nothing for too long."""
        while True:
            limit = self._heartbeat if self._ready else self._loading
            left = self._last_word + limit - time.monotonic()
            # Looked at again and again: once the model is loaded, the limit is a shorter one.
            done, _ = await asyncio.wait([reading], timeout=min(max(left, 0.05), LOOK_SECONDS))
            if done:
                _kill(process)
                code = await process.wait()
                return reading.result() or _ending(code)
            if self._last_word + limit <= time.monotonic():
                return f"The worker process said nothing for {limit:g} s."

    async def _read(self, process: Process) -> str:
        """Passes its messages on; returns why there are no more, "" where it has simply ended."""
        assert process.stdout is not None
        try:
            while True:
                header = await process.stdout.readexactly(4)
                body = await process.stdout.readexactly(frame_length(header))
                message = unpack_from_worker(body)
                self._last_word = time.monotonic()
                self._ready = self._ready or isinstance(message, Ready)
                self._load_failed = self._load_failed or isinstance(message, LoadFailed)
                self._said.put_nowait((self._lives, message))
        except asyncio.IncompleteReadError:
            return ""
        except BadFrame as error:
            return f"The worker process said something unreadable ({error})."

    async def _write(self, process: Process, message: ToWorker) -> None:
        assert process.stdin is not None
        # A broken pipe means that it is dead; `_watch` will say so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(pack(message))
            await process.stdin.drain()


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The worker is told its settings in `Load`; the token is none of its business."""
    return {name: value for name, value in environment.items() if not name.upper().startswith(PREFIX)}


def _kill(process: Process) -> None:
    """The process and whatever it may have started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)


def _ending(code: int) -> str:
    if code < 0:
        return f"The worker process was ended by {signal.Signals(-code).name}."
    return f"The worker process ended with status {code}."


async def _log_lines(process: Process) -> None:
    """What it writes to standard error, line by line; a progress bar's returns end lines too."""
    assert process.stderr is not None
    rest = b""
    while chunk := await process.stderr.read(8192):
        *lines, rest = re.split(rb"[\r\n]+", rest + chunk)
        for line in filter(bytes.strip, lines):
            log.info("worker: %s", line.decode(errors="replace")[:LONGEST_LINE])
        rest = rest[-LONGEST_LINE:]
    if rest.strip():
        log.info("worker: %s", rest.decode(errors="replace"))
