"""The SQLite file behind the registry: connections, their PRAGMAs, and one writer at a time."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from bot.errors import DiskFull, RegistryBusy, RegistryTrouble, RegistryUnwritable
from bot.uncancelled import Uncancelled

T = TypeVar("T")

BUSY_SECONDS = 2.0
CLOSE_SECONDS = 4.0
_WRITES = "atelier_writes"

PRAGMAS = (
    f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}",  # first: the others may have to wait for a lock
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a job that was acknowledged survives a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # what a member has deleted does not linger in free pages
)

_TROUBLES: dict[int, type[RegistryTrouble]] = {
    sqlite3.SQLITE_BUSY: RegistryBusy,
    sqlite3.SQLITE_LOCKED: RegistryBusy,
    sqlite3.SQLITE_FULL: DiskFull,
    sqlite3.SQLITE_IOERR: RegistryUnwritable,
    sqlite3.SQLITE_READONLY: RegistryUnwritable,
    sqlite3.SQLITE_CANTOPEN: RegistryUnwritable,
}


def set_up_connection(connection: Any, _record: object = None) -> None:
    """For every new connection, synchronous or adapted from aiosqlite."""
    # Python's sqlite3 begins transactions by itself, and only before some statements: switched off, so that
    # `begin_transaction` below decides, and schema changes are part of the transaction too.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def begin_transaction(connection: Connection) -> None:
    """BEGIN IMMEDIATE for writers: two that read first and write later would end in "database is locked"."""
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def plain_errors() -> Generator[None]:
    """SQLite's operational errors as sentences (RegistryTrouble); others pass as they are."""
    try:
        yield
    except (OperationalError, sqlite3.OperationalError) as error:
        original = error.orig if isinstance(error, OperationalError) else error
        code = getattr(original, "sqlite_errorcode", 0) & 0xFF  # extended codes carry more in the upper bytes
        if code not in _TROUBLES:
            raise
        raise _TROUBLES[code]() from error


class Database:
    """Readers share a pool; writers queue up here, one transaction at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Without hide_parameters, the text of an SQL error has the values in it: prompts, in the log.
        self._engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(path)), hide_parameters=True)
        event.listen(self._engine.sync_engine, "connect", set_up_connection)
        event.listen(self._engine.sync_engine, "begin", begin_transaction)
        self._writing_engine = self._engine.execution_options(**{_WRITES: True})
        self._writer = asyncio.Lock()
        self._at_work = Uncancelled()

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work`, a transaction, to its end even where the caller is cancelled meanwhile.

        Cancelled in the middle of a statement, SQLAlchemy and aiosqlite may leave a connection that nobody closes
        any more, which holds the write lock and can keep the process from ending.

        Raises RegistryTrouble after `close()`.
        """
        if self._at_work.closed:
            work.close()
            raise RegistryTrouble
        return await self._at_work.run(work)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncSession]:
        """A consistent view. Raises RegistryTrouble."""
        with plain_errors():
            async with AsyncSession(self._engine, expire_on_commit=False) as session, session.begin():
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncSession]:
        """One transaction, committed at the end of the block, rolled back by an exception.

        Raises RegistryBusy where another program keeps the file locked for two seconds, another
        RegistryTrouble where it can't be written.
        """
        with plain_errors():
            async with (
                self._writer,
                AsyncSession(self._writing_engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session

    async def empty_log(self) -> bool:
        """Moves the write-ahead log into the file, for it keeps copies of what was deleted since.

        False where a reader needed the log for longer than `BUSY_SECONDS`: a later call does it.
        """
        with plain_errors():
            async with self._writer, self._engine.connect() as connection:
                raw = (await connection.get_raw_connection()).driver_connection
                assert raw is not None
                # Not through SQLAlchemy, which would begin a transaction: there can be no checkpoint inside of one.
                (row,) = await raw.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
                return row[0] == 0

    async def close(self) -> None:
        """Refuses new work, and waits a little for what is under way."""
        try:
            await self._at_work.close(CLOSE_SECONDS)
        finally:
            await self._engine.dispose()
