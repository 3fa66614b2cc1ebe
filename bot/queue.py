"""Whose job is next: fair between members, however many jobs each of them has queued.

Deficit round-robin (M. Shreedhar, G. Varghese, "Efficient Fair Queueing Using Deficit Round Robin", SIGCOMM 1995)
with a quantum of one image, in its surplus form: a member is served first and pays afterwards, by missing a turn
for every image but the first. So whoever is new is served next, whatever the size of the job. A member whose line
runs empty goes on paying: asking for one large job after the other gains nothing.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    job_id: str
    member_id: int
    images: int


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """`position` 1 is the next; `images_ahead` counts waiting images only."""

    position: int
    images_ahead: int


@dataclass(slots=True)
class _Line:
    """One member's jobs."""

    entries: deque[Entry] = field(default_factory=deque[Entry])
    debt: int = 0
    """Turns that this member still has to miss."""
    last_turn: int = 0

    def copy(self) -> "_Line":
        return _Line(self.entries.copy(), self.debt, self.last_turn)


def _always(_: str) -> bool:
    return True


class FairQueue:
    """In memory; Studio fills it from the registry at start."""

    def __init__(self) -> None:
        self._again: deque[Entry] = deque()
        self._lines: dict[int, _Line] = {}
        self._round: deque[int] = deque()  # members that wait or pay, the next in turn first
        self._turns = 0
        self._foretold: list[Entry] | None = None
        """What `order` found, until something changes."""

    def __len__(self) -> int:
        return len(self._again) + sum(len(line.entries) for line in self._lines.values())

    def push(self, entry: Entry, *, front: bool = False) -> None:
        """At the end of its member's line; `front`: before everything and free, because it was paid for before."""
        self._foretold = None
        if front:
            self._again.append(entry)
            return
        line = self._lines.setdefault(entry.member_id, _Line())
        line.entries.append(entry)
        if entry.member_id not in self._round:
            later = (i for i, m in enumerate(self._round) if self._lines[m].last_turn > line.last_turn)
            self._round.insert(next(later, len(self._round)), entry.member_id)

    def remove(self, job_id: str) -> bool:
        """Whether it was there. It costs its member nothing."""
        self._foretold = None
        for entries in (self._again, *(line.entries for line in self._lines.values())):
            for entry in entries:
                if entry.job_id == job_id:
                    entries.remove(entry)
                    self._tidy(entry.member_id)
                    return True
        return False

    def pop(self, may_run: Callable[[str], bool] = _always) -> Entry | None:
        """The next entry, out of the queue. Jobs for which `may_run` is false keep their place for now."""
        self._foretold = None
        for entry in self._again:
            if may_run(entry.job_id):
                self._again.remove(entry)
                self._tidy(entry.member_id)
                return entry
        able = {
            member: entry
            for member, line in self._lines.items()
            if (entry := next((e for e in line.entries if may_run(e.job_id)), None)) is not None
        }
        return self._serve(able) if able else None

    def _serve(self, able: dict[int, Entry]) -> Entry:
        """The next of these, by member, out of its line. `able` is not empty."""
        while True:
            member = next(m for m in self._round if m in able or not self._lines[m].entries)
            line = self._take_turn(member)
            if line.debt > 0:
                line.debt -= 1
                self._tidy(member)
            else:
                entry = able[member]
                line.entries.remove(entry)
                line.debt = entry.images - 1
                self._tidy(member)
                return entry

    def settle(self) -> None:
        """Nobody waits and nothing is being drawn: nothing is owed to anybody."""
        self._foretold = None
        self._lines.clear()
        self._round.clear()
        self._turns = 0

    def order(self) -> list[Entry]:
        """All entries as they would be popped from now on."""
        if self._foretold is None:
            self._foretold = self._rehearse()
        return self._foretold.copy()

    def _rehearse(self) -> list[Entry]:
        rehearsal = FairQueue()
        rehearsal._lines = {member: line.copy() for member, line in self._lines.items()}
        rehearsal._round = self._round.copy()
        rehearsal._turns = self._turns
        order = list(self._again)
        able = {member: line.entries[0] for member, line in self._lines.items() if line.entries}
        while able:
            entry = rehearsal._serve(able)
            order.append(entry)
            left = rehearsal._lines[entry.member_id].entries
            if left:
                able[entry.member_id] = left[0]
            else:
                del able[entry.member_id]
        return order

    def places(self) -> dict[str, QueuePlace]:
        """By job id, in order."""
        places: dict[str, QueuePlace] = {}
        ahead = 0
        for position, entry in enumerate(self.order(), start=1):
            places[entry.job_id] = QueuePlace(position, ahead)
            ahead += entry.images
        return places

    def place(self, job_id: str) -> QueuePlace | None:
        """None where it does not wait here."""
        return self.places().get(job_id)

    def _take_turn(self, member: int) -> _Line:
        self._round.remove(member)
        self._round.append(member)
        self._turns += 1
        line = self._lines[member]
        line.last_turn = self._turns
        return line

    def _tidy(self, member: int) -> None:
        """Out of the round whoever neither waits nor pays."""
        line = self._lines.get(member)
        if line is not None and not line.entries and line.debt == 0 and member in self._round:
            self._round.remove(member)
