"""A generator's items said in another way, its result kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

Item = TypeVar("Item")
Event = TypeVar("Event")
Result = TypeVar("Result")


def relayed(inner: Generator[Item, None, Result], said: Callable[[Item], Event]) -> Generator[Event, None, Result]:
    """`yield from inner` with each item as `said` has it. Closed early, it closes `inner`."""
    try:
        while True:
            try:
                item = next(inner)
            except StopIteration as end:
                return end.value
            yield said(item)
    finally:
        inner.close()
