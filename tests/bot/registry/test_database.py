import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from bot.errors import RegistryBusy, RegistryTrouble, RegistryUnwritable
from bot.registry.database import BUSY_SECONDS, Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "some.db")
    async with opened.write() as session:
        await session.execute(text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
    yield opened
    await opened.close()


async def numbers(database: Database) -> list[int]:
    async with database.read() as session:
        return list((await session.execute(text("SELECT number FROM numbers ORDER BY 1"))).scalars())


async def test_every_connection_has_the_pragmas(database: Database) -> None:
    wanted = {"journal_mode": "wal", "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 2000, "synchronous": 2}
    async with database.read() as one, database.read() as other, database.write() as writing:
        for session in (one, other, writing):
            found = {name: (await session.execute(text(f"PRAGMA {name}"))).scalar() for name in wanted}
            assert found == wanted


async def test_a_writer_holds_the_write_lock_from_its_begin(database: Database) -> None:
    """BEGIN IMMEDIATE is really what SQLite gets: another program cannot write, though nothing was written yet."""
    other = sqlite3.connect(database.path, timeout=0, isolation_level=None)
    async with database.write() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    async with database.read() as session:
        await session.execute(text("SELECT * FROM numbers"))
        other.execute("BEGIN IMMEDIATE")  # a reader holds nobody up
    other.close()


async def test_an_exception_rolls_back_schema_changes_too(database: Database) -> None:
    async def write() -> None:
        async with database.write() as session:
            await session.execute(text("INSERT INTO numbers VALUES (1)"))
            await session.execute(text("CREATE TABLE more (number INTEGER)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write()
    assert await numbers(database) == []
    async with database.read() as session:
        assert (await session.execute(text("SELECT name FROM sqlite_master WHERE name = 'more'"))).first() is None


async def test_fifty_writers_at_once_all_succeed(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.write() as session:
            count = (await session.execute(text("SELECT count(*) FROM numbers"))).scalar_one()
            await asyncio.sleep(0)
            await session.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": count})

    await asyncio.gather(*map(write, range(50)))
    assert await numbers(database) == list(range(50))  # each saw what the one before had written


async def test_a_locked_file_is_one_sentence_the_loop_goes_on_and_so_does_the_database(database: Database) -> None:
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    stalls: list[float] = []
    watching = asyncio.create_task(watch_loop(stalls))
    began = time.monotonic()
    with pytest.raises(RegistryBusy, match="locked by another program"):
        async with database.write() as session:
            await session.execute(text("INSERT INTO numbers VALUES (1)"))
    assert time.monotonic() - began >= BUSY_SECONDS
    watching.cancel()
    assert max(stalls) < BUSY_SECONDS / 2, "the wait for the lock held up the loop"
    assert await numbers(database) == []  # reading works meanwhile
    other.execute("COMMIT")
    other.close()
    async with database.write() as session:
        await session.execute(text("INSERT INTO numbers VALUES (1)"))
    assert await numbers(database) == [1]


async def watch_loop(stalls: list[float]) -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.01)
        stalls.append(time.monotonic() - before - 0.01)


async def test_a_folder_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    database = Database(tmp_path / "no such folder" / "some.db")
    with pytest.raises(RegistryUnwritable):
        async with database.read() as session:
            await session.execute(text("SELECT 1"))
    await database.close()
    # aiosqlite doesn't wait for the thread of a connection that could not be opened: its last word needs this loop.
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, 10)


async def test_other_errors_stay_what_they_are(database: Database) -> None:
    with pytest.raises(Exception, match="no such table"):
        async with database.read() as session:
            await session.execute(text("SELECT * FROM no_such"))


async def test_a_cancelled_caller_does_not_interrupt_a_transaction(database: Database) -> None:
    """Cancelled again and again, at any moment: all is written, and no connection is left that holds the lock."""

    async def write(number: int) -> None:
        async with database.write() as session:
            await session.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": number})

    callers = [asyncio.create_task(database.whole(write(number))) for number in range(20)]
    for _ in range(40):
        await asyncio.sleep(0.001)
        for caller in callers:
            caller.cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert any(isinstance(result, asyncio.CancelledError) for result in results)
    await database.close()
    with closing(sqlite3.connect(database.path, timeout=0)) as other:
        found = other.execute("SELECT count(*) FROM numbers").fetchone()
    assert found == (20,)


async def test_a_closed_database_refuses_work(database: Database) -> None:
    await database.close()
    with pytest.raises(RegistryTrouble):
        await database.whole(numbers(database))


async def test_the_text_of_an_error_has_no_prompt(database: Database) -> None:
    with pytest.raises(IntegrityError) as caught:
        async with database.write() as session:
            await session.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": "a secret prompt"})
    assert "a secret prompt" not in str(caught.value)
