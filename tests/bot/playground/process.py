"""Child processes of the tests."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Process:
    """A child process whose output lines can be waited for."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    @classmethod
    async def start(cls, *command: str) -> "Process":
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, stdout=pipe, env=environment, cwd=ROOT))

    async def line(self, start: str, within: float = 20.0) -> str:
        """The next line that starts like this."""
        assert self.process.stdout is not None
        async with asyncio.timeout(within):
            while True:
                raw = await self.process.stdout.readline()
                if not raw:
                    raise AssertionError(f"The process ended before it said {start!r}: {self.lines}")
                self.lines.append(raw.decode().rstrip())
                if self.lines[-1].startswith(start):
                    return self.lines[-1]

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(how)
        async with asyncio.timeout(10):
            assert self.process.stdout is not None
            while await self.process.stdout.read(65536):
                pass
            return await self.process.wait()
