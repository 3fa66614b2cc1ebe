"""The playground server's process: `python -m bot.playground.server --port 7860`.

Prints one line, `listening http://127.0.0.1:PORT`, when it answers. It survives the bot: kill the bot and
start it again, and it finds the same server, channels and messages. SIGTERM and SIGINT end it.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

from aiohttp import web

from bot.playground.app import build_app

HOST = "127.0.0.1"


def listening_socket(port: int) -> socket.socket:
    """A bound socket on this machine only; port 0 picks a free one.

    Raises:
        OSError: The port is taken.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there it would let two servers share the port
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound


async def serve(bound: socket.socket, *, until_stdin_closes: bool = False) -> None:
    """Answer on this socket until a signal says stop, or standard input closes: its starter is gone."""
    port: int = bound.getsockname()[1]
    stop = asyncio.Event()
    runner = web.AppRunner(build_app(port), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.SockSite(runner, bound).start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl+C arrives as KeyboardInterrupt
                loop.add_signal_handler(number, stop.set)
        # Last: whoever reads it may end this process at once.
        print(f"listening http://{HOST}:{port}", flush=True)  # noqa: T201 - the starter waits for this line
        if until_stdin_closes:
            _when_stdin_closes(lambda: loop.call_soon_threadsafe(stop.set))
        await stop.wait()
    finally:
        await runner.cleanup()


def _when_stdin_closes(tell: Callable[[], object]) -> None:
    """In a thread of its own: Windows can't wait for a pipe in its event loop."""

    def wait() -> None:
        while os.read(0, 1024):  # not sys.stdin: its lock, held here, would crash the interpreter's end
            pass
        with contextlib.suppress(RuntimeError):  # the loop has ended for another reason
            tell()

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    parser = argparse.ArgumentParser(prog="bot.playground.server", description="A local Discord for one bot.")
    parser.add_argument("--port", type=int, default=7860, help="0 picks a free one (default: 7860)")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that started it")
    arguments = parser.parse_args()
    port: int = arguments.port
    try:
        bound = listening_socket(port)
    except OSError as error:
        print(f"Port {port} can't be used ({error.strerror}); try --port 0.", file=sys.stderr)  # noqa: T201
        return 1
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(bound, until_stdin_closes=arguments.until_stdin_closes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
