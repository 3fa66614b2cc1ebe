"""Faults on demand, for tests: what a bot has to survive between itself and Discord.

A fault applies to the next `times` REST calls whose method and path match. Kinds:
`status` answers with `status`, `code` and `message` and does nothing; `reset` drops the connection and does
nothing; `reset_after` does everything and then drops the connection, so that the bot can't know; `delay`
waits `seconds` first.

Chaos lasts until it is cleared, or replaced by {"chaos": null}. It hits a `share` of all calls whose path matches,
interaction callbacks included, each with one of `kinds`: a status that means nothing was done ("429" with the
headers and the body of a real one, "500", "502", "503", "504"), or `reset`, or `reset_after`. The same `seed` gives
the same sequence:

    {"chaos": {"share": 0.2, "seed": 1, "kinds": ["429", "500", "503", "reset", "reset_after"], "path": "*"}}
"""

import fnmatch
import random
from collections import Counter
from typing import Any, Literal

import msgspec

ChaosKind = Literal["429", "500", "502", "503", "504", "reset", "reset_after"]
LONGEST_WAIT_SECONDS = 1.0


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
    retry_after: float | None = None


class Chaos(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A share of calls that go wrong."""

    share: float
    seed: int = 0
    kinds: list[ChaosKind] = msgspec.field(default_factory=lambda: ["429", "500", "503", "reset", "reset_after"])
    path: str = "*"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError("`share` is between 0 and 1")
        if not self.kinds:
            raise ValueError("`kinds` names at least one kind")


class Order(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body that starts or ends chaos."""

    chaos: Chaos | None


class Faults:
    """The faults still to come, and the chaos that lasts."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._chaos: Chaos | None = None
        self._random = random.Random(0)  # noqa: S311 - repeatable, not secret
        self._injected: Counter[str] = Counter()

    def order(self, body: bytes) -> None:
        """What a test asks for, as JSON: one fault, or chaos.

        Raises:
            msgspec.DecodeError: It is neither.
        """
        given = msgspec.json.decode(body)
        if isinstance(given, dict) and "chaos" in given:
            self._chaos = msgspec.json.decode(body, type=Order).chaos
            if self._chaos is not None:
                self._random = random.Random(self._chaos.seed)  # noqa: S311
        else:
            self._waiting.append(msgspec.json.decode(body, type=Fault))

    def clear(self) -> None:
        self._waiting.clear()
        self._chaos = None

    def describe(self) -> dict[str, Any]:
        """What is still to come, and how often each kind of chaos has struck since the server started."""
        chaos = msgspec.to_builtins(self._chaos)
        return {"waiting": len(self._waiting), "chaos": chaos, "injected": dict(self._injected)}

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this call, counted as used."""
        for fault in self._waiting:
            if fault.method in ("*", method) and fnmatch.fnmatch(path, fault.path):
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                return fault
        return self._stray(path)

    def _stray(self, path: str) -> Fault | None:
        """What chaos does to this call."""
        chaos = self._chaos
        if chaos is None or not fnmatch.fnmatch(path, chaos.path) or self._random.random() >= chaos.share:
            return None
        kind = self._random.choice(chaos.kinds)
        self._injected[kind] += 1
        if kind in ("reset", "reset_after"):
            return Fault(path=path, kind=kind)
        if kind == "429":
            wait = round(self._random.uniform(0.1, LONGEST_WAIT_SECONDS), 3)
            return Fault(path=path, status=429, message="You are being rate limited.", retry_after=wait)
        return Fault(path=path, status=int(kind), message="Chaos (asked for by a test)")
