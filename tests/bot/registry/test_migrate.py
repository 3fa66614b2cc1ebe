"""Migrations on empty and on populated databases."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from bot.errors import DatabaseDamaged, DatabaseTooNew
from bot.registry.migrate import configuration, current_revision, upgrade
from bot.registry.tables import Table

FIRST = "0001"

# One row in each table as the first migration made them. A later migration that adds a table adds its rows at
# its own revision here: {revision: statements}.
ROWS = {
    FIRST: [
        "INSERT INTO members (id, created_at) VALUES (1, '2030-01-01 00:00:00.000000')",
        "INSERT INTO jobs (id, kind, member_id, channel_id, interaction_id, state, attempt, crashes, image_count,"
        " request, created_at) VALUES ('a', 'imagine', 1, 2, 3, 'done', 1, 0, 1,"
        ' \'{"prompt":"x","seed":1}\', \'2030-01-01 00:00:00.000000\')',
        'INSERT INTO images (job_id, "index", path, seed, width, height, recipe, nsfw, words_not_read)'
        " VALUES ('a', 0, 'images/a/1-0.png', 1, 64, 64, '{}', 0.5, '[]')",
    ],
    "0002": [
        "INSERT INTO guild_settings (guild_id) VALUES (5)",
        "INSERT INTO studio_channels VALUES (6, 5)",
        "INSERT INTO blocks VALUES (5, 1, 2, 'spam', '2030-01-01 00:00:00.000000')",
        "INSERT INTO reports VALUES (1, 1, 5, 6, 7, 'a', 1, 'rude', '2030-01-01 00:00:00.000000')",
        "INSERT INTO doomed_messages VALUES (6, 7, 5, '2030-01-01 00:00:00.000000')",
    ],
    "0004": [
        "INSERT INTO concepts VALUES"
        " ('c', 1, 5, 'cat', 'thing', '1', '2030-01-01 00:00:00.000000', '2030-01-01 00:00:00.000000')",
        "INSERT INTO concept_versions VALUES ('v', 'c', 1, 'lora', 'cat', 'zq cat', 'concepts/v/concept.safetensors',"
        " 'ab', 100, 'cd', 'bundled', NULL, '2030-01-01 00:00:00.000000')",
        "INSERT INTO concept_shares VALUES (5, 'c', '2030-01-01 00:00:00.000000')",
        "INSERT INTO concept_takedowns VALUES (6, 'c', '2030-01-01 00:00:00.000000')",
    ],
}


def revisions() -> list[str]:
    script = ScriptDirectory.from_config(configuration(Path("unused")))
    return [revision.revision for revision in script.walk_revisions()][::-1]


def counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name != "alembic_version"
        ]
        return {t: connection.execute(f'SELECT count(*) FROM "{t}"').fetchone()[0] for t in tables}


def first_tables(path: Path) -> dict[str, int]:
    return {table: count for table, count in counts(path).items() if table in ("members", "jobs", "images")}


def test_from_nothing_to_the_models(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    assert current_revision(path) is None
    upgrade(path)
    assert current_revision(path) == revisions()[-1]
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
    engine.dispose()


def test_checks_and_names_are_those_of_the_models(tmp_path: Path) -> None:
    """What compare_metadata does not see: CHECK constraints and the names of primary keys."""
    migrated, created = tmp_path / "migrated.db", tmp_path / "created.db"
    upgrade(migrated)
    engine = create_engine(f"sqlite:///{created}")
    Table.metadata.create_all(engine)
    engine.dispose()

    def constraints(path: Path) -> dict[str, set[str]]:
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: {" ".join(line.split()).rstrip(",") for line in sql.splitlines() if "CONSTRAINT" in line}
            for name, sql in rows
            if name != "alembic_version"
        }

    assert constraints(migrated) == constraints(created)


def test_every_migration_keeps_the_rows_of_a_populated_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    expected: dict[str, int] = {}
    for revision in revisions():
        upgrade(path, revision)
        after = counts(path)
        assert {table: after[table] for table in expected} == expected
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            for statement in ROWS.get(revision, []):
                connection.execute(statement)
            connection.commit()
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        expected = counts(path)
        assert all(expected.values()), "a table without a row proves nothing: add one to ROWS"


def test_a_job_of_before_with_a_start_image_began_with_somebodys_own(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    upgrade(path, FIRST)
    with closing(sqlite3.connect(path)) as connection:
        for statement in ROWS[FIRST]:
            connection.execute(statement)
        connection.execute("UPDATE jobs SET interaction_id = NULL")  # unique, where it is known
        connection.execute(ROWS[FIRST][1].replace("'a'", "'b'").replace('"seed":1', '"seed":1,"init_image":"s.png"'))
        connection.commit()
        connection.execute("UPDATE jobs SET request = '{' WHERE id = 'a'")  # the start of the bot copes with that
        connection.commit()
    upgrade(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id, foreign_start FROM jobs ORDER BY id").fetchall() == [("a", 0), ("b", 1)]


def test_whose_picture_a_job_of_before_starts_from(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    upgrade(path, FIRST)
    with closing(sqlite3.connect(path)) as connection:
        for statement in ROWS[FIRST]:
            connection.execute(statement)
        connection.execute("UPDATE jobs SET interaction_id = NULL")
        connection.execute(ROWS[FIRST][1].replace("'a'", "'b'"))
        connection.commit()
    upgrade(path, "0002")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE jobs SET origin_job_id = 'a', origin_index = 0 WHERE id = 'b'")
        connection.commit()
        (owner,) = connection.execute("SELECT member_id FROM jobs WHERE id = 'a'").fetchone()
    upgrade(path)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT id, start_member_id FROM jobs ORDER BY id").fetchall()
    assert rows == [("a", None), ("b", owner)]


def test_a_batch_migration_does_not_delete_the_children(tmp_path: Path) -> None:
    """What env.py is there for: with foreign keys on, rebuilding `members` would empty `jobs` and `images`."""
    path = tmp_path / "a.db"
    upgrade(path)
    with closing(sqlite3.connect(path)) as connection:
        for statement in ROWS[FIRST]:
            connection.execute(statement)
        connection.commit()
    run_with_extra_migration(
        tmp_path,
        path,
        "with op.batch_alter_table('members', recreate='always') as batch:\n"
        "        batch.add_column(sa.Column('name', sa.String(), nullable=True))",
    )
    assert first_tables(path) == {"members": 1, "jobs": 1, "images": 1}


def test_a_migration_that_breaks_references_is_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    upgrade(path)
    with closing(sqlite3.connect(path)) as connection:
        for statement in ROWS[FIRST]:
            connection.execute(statement)
        connection.commit()
    with pytest.raises(Exception, match="the first in table jobs"):
        run_with_extra_migration(tmp_path, path, "op.execute('DELETE FROM members')")
    assert first_tables(path) == {"members": 1, "jobs": 1, "images": 1}
    assert current_revision(path) == revisions()[-1]


def run_with_extra_migration(folder: Path, path: Path, body: str) -> None:
    """`upgrade` with one more migration behind ours, through the same env.py."""
    from alembic import command

    versions = folder / "versions"
    versions.mkdir()
    (versions / "next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = 'next'\ndown_revision = {revisions()[-1]!r}\n\n\ndef upgrade():\n    {body}\n"
    )
    config = configuration(path)
    ours = Path(config.get_main_option("script_location") or "") / "versions"
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{ours}\n{versions}")
    command.upgrade(config, "head")


def test_a_database_from_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    upgrade(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(DatabaseTooNew, match="made by a newer Atelier"):
        upgrade(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"this is a text file" * 100)
    with pytest.raises(DatabaseDamaged, match="not a database"):
        upgrade(path)


def test_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    upgrade(path)
    before = counts(path)
    upgrade(path)
    assert counts(path) == before
