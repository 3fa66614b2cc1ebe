"""Faults on demand, for tests: what a bot has to survive between itself and Discord.

A fault applies to the next `times` REST calls whose method and path match. Kinds:
`status` answers with `status`, `code` and `message` and does nothing; `reset` drops the connection and does
nothing; `reset_after` does everything and then drops the connection, so that the bot can't know; `delay`
waits `seconds` first.
"""

import fnmatch
from typing import Literal

import msgspec


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One fault. `path` is a shell pattern on the path below `/api/v10`."""

    path: str
    method: str = "*"
    kind: Literal["status", "reset", "reset_after", "delay"] = "status"
    times: int = 1
    status: int = 500
    code: int = 0
    message: str = "Internal Server Error (asked for by a test)"
    seconds: float = 0.0


class Faults:
    """The faults still to come."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._waiting.append(fault)

    def clear(self) -> None:
        self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this call, counted as used."""
        for fault in self._waiting:
            if fault.method in ("*", method) and fnmatch.fnmatch(path, fault.path):
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                return fault
        return None
