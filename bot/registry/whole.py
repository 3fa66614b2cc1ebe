"""Transactions that a cancelled caller does not interrupt."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from bot.registry.database import Database

P = ParamSpec("P")
T = TypeVar("T")


class Repository(Protocol):
    database: Database


R = TypeVar("R", bound=Repository)


def whole(
    method: Callable[Concatenate[R, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[R, P], Coroutine[Any, Any, T]]:
    """For a repository's methods; see `Database.whole`."""

    @functools.wraps(method)
    async def uninterrupted(self: R, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.database.whole(method(self, *args, **kwargs))

    return uninterrupted
