"""Which LoRA is in which slot, who uses it, and which one goes when another needs the place."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generation.concepts.slots import POSITIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generation.concepts.files import LoraFile
    from generation.concepts.slots import LoraSlots


@dataclass(slots=True)
class _Entry:
    slot: int
    rank: int
    users: int = 0
    forgotten: bool = False


class SlotTable:
    """At most `ranks` ranks are loaded, all slots together. What nobody uses stays until its place is needed."""

    def __init__(self, slots: LoraSlots, ranks: int) -> None:
        self._slots, self._ranks = slots, ranks
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        """By SHA-256; of those that nobody uses, the least recently used first."""

    def take(self, files: Sequence[LoraFile]) -> list[int] | None:
        """A slot for each of `files`, loaded and in use until `release`; None where others use too many."""
        wanted = {file.sha256: file for file in files}
        missing = [file for sha256, file in wanted.items() if sha256 not in self._entries]
        idle = [sha256 for sha256, entry in self._entries.items() if not entry.users and sha256 not in wanted]
        new_ranks = sum(file.rank for file in missing)
        gone = next(
            (count for count in range(len(idle) + 1) if self._fits(len(missing), new_ranks, idle[:count])), -1
        )
        if gone < 0:
            return None
        for sha256 in idle[:gone]:
            self._remove(sha256)
        for file in missing:
            slot = min(set(range(1, self._slots.slots + 1)) - {entry.slot for entry in self._entries.values()})
            self._slots.put(slot, file)
            self._entries[file.sha256] = _Entry(slot, file.rank)
        for sha256 in wanted:
            self._entries[sha256].users += 1
            self._entries[sha256].forgotten = False
        return [self._entries[file.sha256].slot for file in files]

    def too_large(self, files: Sequence[LoraFile]) -> bool:
        """Would they not fit even if nobody else had any?"""
        return sum({file.sha256: file.rank for file in files}.values()) > self._ranks

    def release(self, slots: Sequence[int]) -> None:
        """Undo one `take`."""
        for sha256, entry in list(self._entries.items()):
            if entry.slot in slots:
                entry.users -= 1
                self._entries.move_to_end(sha256)
                if entry.forgotten and not entry.users:
                    self._remove(sha256)

    def forget(self, sha256: str) -> None:
        """Empty its slot, now or when nobody uses it any more."""
        entry = self._entries.get(sha256)
        if entry is None:
            return
        if entry.users:
            entry.forgotten = True
        else:
            self._remove(sha256)

    def _fits(self, count: int, ranks: int, leaving: Sequence[str]) -> bool:
        staying = [entry.rank for sha256, entry in self._entries.items() if sha256 not in leaving]
        return len(staying) + count <= self._slots.slots and sum(staying) + ranks <= self._ranks

    def _remove(self, sha256: str) -> None:
        self._slots.clear(self._entries.pop(sha256).slot)


def check_sizes(slots: int, ranks: int, max_rank: int) -> None:
    """There must be room for all files of one request, and for the largest of files.

    Raises:
        ValueError: there is not.
    """
    if slots < POSITIONS:
        raise ValueError(f"slots must be at least {POSITIONS}, not {slots}")
    if ranks < max_rank:
        raise ValueError(f"ranks must be at least {max_rank}, not {ranks}")
