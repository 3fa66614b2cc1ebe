"""Brings a database file to the schema of this version. Blocking: call it in a thread."""

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL

import migrations
from bot.errors import DatabaseDamaged, DatabaseTooNew
from bot.registry.database import BUSY_SECONDS, plain_errors


def configuration(path: Path) -> Config:
    """Alembic's configuration without an ini file, so that it is there in an installed package too."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["url"] = URL.create("sqlite", database=str(path))
    return config


def upgrade(path: Path, revision: str = "head") -> None:
    """Apply every migration that `path` lacks; makes the file where there is none.

    Raises DatabaseTooNew, DatabaseDamaged, RegistryTrouble.
    """
    config = configuration(path)
    current = current_revision(path)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise DatabaseTooNew(path=path)
    with plain_errors():
        command.upgrade(config, revision)


def current_revision(path: Path) -> str | None:
    """The revision that the file says it has; None for a new one. Raises RegistryTrouble, DatabaseDamaged."""
    if not path.exists():
        return None
    try:
        with plain_errors(), closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'")
            if tables.fetchone() is None:
                return None
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise DatabaseDamaged(path=path, reason=error) from error
    return None if row is None else str(row[0])
