"""What is fair, written down a second time: deficit round-robin as its authors describe it.

M. Shreedhar, G. Varghese, "Efficient Fair Queueing Using Deficit Round Robin", SIGCOMM 1995, figure 2: a list of
the active members; at each visit a member's deficit grows by the quantum and pays for the jobs at the head of its
line; a member whose line is empty leaves the list and its deficit is forgotten. It shares nothing with
`bot/queue.py`, which serves first and lets members pay afterwards.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """A job: when it could start and when it did, in seconds."""

    member: int
    images: int
    ready: float
    started: float


class DeficitRoundRobin:
    """The ideal queue. `quantum`: images."""

    def __init__(self, quantum: int) -> None:
        self._quantum = quantum
        self._lines: dict[int, deque[Asked]] = defaultdict(deque)
        self._active: deque[int] = deque()
        self._deficit: dict[int, int] = defaultdict(int)
        self._visited = False

    def push(self, job: Asked) -> None:
        self._lines[job.member].append(job)
        if job.member not in self._active:
            self._active.append(job.member)
            self._deficit[job.member] = 0

    def pop(self) -> Asked | None:
        while self._active:
            member = self._active[0]
            if not self._visited:
                self._deficit[member] += self._quantum
                self._visited = True
            line = self._lines[member]
            if line and line[0].images <= self._deficit[member]:
                self._deficit[member] -= line[0].images
                job = line.popleft()
                if not line:
                    self._leave()
                return job
            self._next()
        return None

    def _next(self) -> None:
        self._active.rotate(-1)
        self._visited = False

    def _leave(self) -> None:
        self._deficit[self._active.popleft()] = 0
        self._visited = False


def furthest_from_ideal(jobs: Iterable[Asked], *, quantum: int = 1) -> int:
    """Images by which any member was ever ahead of the ideal, or behind it, at any start of a job.

    Both queues get the same jobs at the same times, and as many images to serve.
    """
    jobs = list(jobs)
    ideal = DeficitRoundRobin(quantum)
    coming = deque(sorted(jobs, key=lambda job: job.ready))
    served: dict[int, int] = defaultdict(int)
    wanted: dict[int, int] = defaultdict(int)
    furthest = owed = 0
    for job in sorted(jobs, key=lambda job: job.started):
        while coming and coming[0].ready <= job.started:
            ideal.push(coming.popleft())
        served[job.member] += job.images
        owed += job.images
        while owed > 0 and (best := ideal.pop()) is not None:
            owed -= best.images
            wanted[best.member] += best.images
        furthest = max([furthest, *(abs(served[member] - wanted[member]) for member in (*served, *wanted))])
    return furthest
