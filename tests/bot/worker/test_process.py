"""The worker process by itself, at the other end of its pipes."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from bot.worker.messages import Load, Loading, Shutdown, frame_length, pack, unpack_from_worker

Process = subprocess.Popen[bytes]


@pytest.fixture
def process() -> Iterator[Process]:
    command = [sys.executable, "-m", "bot.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        yield worker
        worker.kill()


def say(process: Process, data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()


def first_loading(process: Process) -> None:
    assert process.stdout is not None
    while True:
        message = unpack_from_worker(process.stdout.read(frame_length(process.stdout.read(4))))
        if isinstance(message, Loading):
            return


def test_it_ends_when_the_bot_is_gone_also_while_loading(process: Process) -> None:
    say(process, pack(Load(model="bundled")))
    first_loading(process)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0


def test_it_can_be_shut_down_while_loading(process: Process) -> None:
    say(process, pack(Load(model="bundled")))
    first_loading(process)
    say(process, pack(Shutdown()))
    assert process.wait(10) == 0


def test_it_does_not_start_without_being_told_what_to_load(process: Process) -> None:
    say(process, pack(Shutdown()))
    assert process.wait(10) == 2


def test_what_is_not_a_message_ends_it(process: Process) -> None:
    say(process, (12).to_bytes(4, "big") + b"not a struct")
    assert process.wait(10) == 0
    assert process.stderr is not None
    assert b"does not know" in process.stderr.read()


PRINTING = """
import os, sys
from bot.worker.channel import Channel
from bot.worker.messages import Loading
channel = Channel.of_this_process()
print("a library's greeting")
os.write(1, b"and from C\\n")
sys.stdout.flush()
channel.send(Loading(text="x"))
channel.receive(10)
"""


def test_what_libraries_print_does_not_mix_with_the_messages() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PRINTING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as worker:
        say(worker, pack(Shutdown()))
        assert worker.stdout is not None
        assert worker.stderr is not None
        assert worker.stdout.read() == pack(Loading(text="x"))
        printed = worker.stderr.read()
    assert b"a library's greeting" in printed
    assert b"and from C" in printed
