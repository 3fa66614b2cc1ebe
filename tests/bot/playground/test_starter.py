"""How the server's process ends when the one that started it does."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def start() -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "bot.playground.server", "--port", "0", "--until-stdin-closes"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("listening http://127.0.0.1:")
    return process


def test_it_ends_when_its_starter_is_gone() -> None:
    with start() as process:
        _, errors = process.communicate(timeout=30)  # closes standard input
    assert (process.returncode, errors) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_a_signal_ends_it_cleanly_while_its_starter_lives() -> None:
    with start() as process:
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 0
