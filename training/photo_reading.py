"""Untrusted pictures through the limited process, `training.photo_process`: what they do, they do to it.

Blocking calls: use them in a thread. Light: standard library and msgspec only.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Self

import msgspec

import training
from generation.image_input import ImageLimits, ImageRefused
from training.photos import NOT_READ, Look, Looked, PhotoVerdict, verdicts_on

log = logging.getLogger(__name__)

PROGRAM: Final = "training.photo_process"
SECONDS: Final = 60
"""For one picture, by the clock: a machine may be busy. The process has a limit of its own for processor time."""
_STARTING_SECONDS: Final = 60
_LARGEST_ANSWER: Final = 64 << 20
_ENVIRONMENT: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
    "TEMP",
    "TMPDIR",
)
"""All that the process gets of ours: no token, no settings."""


class PhotoProcessBroken(Exception):
    """The process can't be started or does not answer as it must, whatever the picture. Text: for the log."""


class _Died(Exception):
    """The process ended, or had to be ended, over the picture that it was given."""


def read_photos(files: Sequence[tuple[str, bytes]], folder: Path, *, side: int) -> list[PhotoVerdict]:
    """A verdict on each photo, in order; the clean squares of `side` pixels are written to `folder`/0.png, 1.png …

    `files`: names, as they are shown, and the bytes as they came. All are read by one process; where it dies, the
    photo that it was at gets another that is its own, and only where that dies too, the photo is rejected.

    Raises:
        OSError: the folder can't be written to.
        PhotoProcessBroken: it is not the photos.
    """
    looked = _looked_at([_look(data, "photo", side) for _, data in files])
    paths = [folder / f"{index}.png" for index in range(len(files))]
    verdicts = verdicts_on([name for name, _ in files], looked, paths)
    folder.mkdir(parents=True, exist_ok=True)
    for verdict, look in zip(verdicts, looked, strict=True):
        if verdict.path is not None:
            verdict.path.write_bytes(look.png)
    return verdicts


def read_start_image(data: bytes, side: int) -> bytes:
    """A clean PNG of it, at most `side` pixels long.

    Raises:
        ImageRefused: one sentence for the person who sent it.
        PhotoProcessBroken: it is not the picture.
    """
    (looked,) = _looked_at([_look(data, "start", side)])
    if looked.refused is not None:
        raise ImageRefused(looked.refused)
    return looked.png


def _look(data: bytes, kind: str, side: int) -> Look | Looked:
    """The question; the answer already, where the file need not be read for it."""
    most = ImageLimits().max_bytes
    if len(data) > most:
        return Looked(refused=f"This file is larger than {most / 2**20:g} MiB.")
    return Look(data=data, kind="start" if kind == "start" else "photo", side=side)


def _looked_at(looks: Sequence[Look | Looked]) -> list[Looked]:
    answers: list[Looked] = []
    while len(answers) < len(looks):
        if isinstance(done := looks[len(answers)], Looked):
            answers.append(done)
            continue
        first = len(answers)
        try:
            with _PhotoProcess() as process:
                for look in looks[first:]:
                    answers.append(look if isinstance(look, Looked) else process.answer(look))
        except _Died:
            log.info("the process that reads pictures has ended over one")
            if len(answers) == first:  # it did nothing else before: this picture was it
                answers.append(Looked(refused=NOT_READ))
    return answers


class _PhotoProcess:
    """One life of it. `with` it: entering waits until it is ready, leaving ends it."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-B", "-m", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(os.environ),
            start_new_session=True,  # Ctrl-C in a terminal is for us, who end it in order
        )
        try:
            with self._watched(_STARTING_SECONDS):
                self._receive()
        except _Died as error:
            said = _pipe(self._process.stderr).read(4000).decode(errors="replace")
            self.__exit__()
            raise PhotoProcessBroken(f"training.photo_process does not start: {said.strip()[-2000:]}") from error
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                _pipe(pipe).close()
            except OSError:  # what was not yet sent to a dead process
                continue

    def answer(self, look: Look) -> Looked:
        """Raises _Died."""
        content = msgspec.msgpack.encode(look)
        with self._watched(SECONDS):
            try:
                pipe = _pipe(self._process.stdin)
                pipe.write(len(content).to_bytes(4, "big"))
                pipe.write(content)
                pipe.flush()
                looked = msgspec.msgpack.decode(self._receive(), type=Looked)
            except (OSError, msgspec.DecodeError) as error:
                raise _Died from error
        if looked.trouble:
            log.warning("a picture could not be read: %s", looked.trouble)
        return looked

    @contextmanager
    def _watched(self, seconds: float) -> Generator[None]:
        """It is killed when the block takes longer, which ends the block."""
        watch = threading.Timer(seconds, self._process.kill)
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _receive(self) -> bytes:
        pipe = _pipe(self._process.stdout)
        header = pipe.read(4)
        length = int.from_bytes(header, "big")
        if len(header) < 4 or length > _LARGEST_ANSWER:
            raise _Died
        content = pipe.read(length)
        if len(content) < length:
            raise _Died
        return content


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    kept = {name: ours[name] for name in _ENVIRONMENT if name in ours}
    root = str(Path(training.__file__ or "").parents[1])  # so that it finds this very code, installed or not
    paths = os.pathsep.join(filter(None, [root, ours.get("PYTHONPATH")]))
    # A thread of a numerics library reserves address space, of which there is little.
    return {**kept, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
