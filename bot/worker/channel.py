"""The worker's end of its two pipes: frames in on standard input, frames out on what was standard output."""

import ctypes
import logging
import os
import queue
import signal
import sys
import threading
from typing import BinaryIO, Self

from bot.worker.messages import BadFrame, FromWorker, ToWorker, frame_length, pack, unpack_to_worker

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent() -> None:
    """On Linux the kernel kills us when the bot dies, even in the middle of a long step. Elsewhere the end of
    standard input has to do (see Channel)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Channel:
    """Reads in a thread of its own, so that messages arrive during a step. The bot's end closing ends the process."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._received: queue.SimpleQueue[ToWorker] = queue.SimpleQueue()
        self._sending = threading.Lock()
        threading.Thread(target=self._read, name="channel", daemon=True).start()

    @classmethod
    def of_this_process(cls) -> Self:
        """Takes over both pipes; whatever a library prints from now on goes to standard error."""
        incoming, outgoing = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        return cls(os.fdopen(incoming, "rb"), os.fdopen(outgoing, "wb"))

    def send(self, message: FromWorker) -> None:
        """From any thread."""
        with self._sending:
            self._outgoing.write(pack(message))
            self._outgoing.flush()

    def receive(self, seconds: float) -> ToWorker | None:
        """The next message, after waiting at most `seconds` for it."""
        try:
            return self._received.get(block=seconds > 0, timeout=seconds or None)
        except queue.Empty:
            return None

    def _read(self) -> None:
        try:
            while header := self._incoming.read(4):
                self._received.put(unpack_to_worker(self._incoming.read(frame_length(header))))
        except BadFrame:
            log.exception("the bot sent what this worker does not know")
        # At once, whatever the other threads are doing: nobody is there for the result.
        os._exit(0)
