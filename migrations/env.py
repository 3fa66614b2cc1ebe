"""Run by Alembic: connects and applies the migrations. See bot/registry/migrate.py, which calls it."""

from typing import Any

from alembic import context
from sqlalchemy import Connection, create_engine, event, pool

from bot.registry.database import set_up_connection
from bot.registry.tables import Table


class BrokenReferences(Exception):
    """A migration left rows that point at nothing; everything was rolled back."""


def switch_foreign_keys_off(connection: Any, _record: object) -> None:
    """A batch migration rebuilds a table by dropping the old one, which would delete the rows that refer to it.
    SQLite ignores this switch inside a transaction, so it comes before."""
    connection.execute("PRAGMA foreign_keys = OFF")


def begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def run() -> None:
    """All pending migrations in one transaction: all of them or none. Raises BrokenReferences."""
    engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
    event.listen(engine, "connect", set_up_connection)
    event.listen(engine, "connect", switch_foreign_keys_off)
    event.listen(engine, "begin", begin_immediate)
    with engine.begin() as connection:
        context.configure(
            connection=connection,
            target_metadata=Table.metadata,
            render_as_batch=True,
            transactional_ddl=True,  # SQLite can; Alembic thinks of Python's sqlite3 before set_up_connection
        )
        context.run_migrations()
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            raise BrokenReferences(f"{len(broken)} rows, the first in table {broken[0][0]}")


run()
