"""`atelier reports`, while the bot holds the data folder."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from bot.registry.registry import DATABASE, Registry
from bot.registry.reports import FORGOTTEN, Report
from bot.report_list import main_reports


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_no_data_folder_makes_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main_reports(50, playground=False) == 2
    assert "set ATELIER_DATA_DIR" in capsys.readouterr().err
    assert not folder.exists()


async def test_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with Registry(folder):
        code = await asyncio.to_thread(main_reports, 50, playground=False)
    assert (code, capsys.readouterr().out) == (0, "There are no reports.\n")


async def test_newest_first_and_harmless(folder: Path, capsys: pytest.CaptureFixture[str], now: datetime) -> None:
    async with Registry(folder) as registry:
        await registry.reports.add(Report(7, 5, 6, 80, "abc", 9, "rude", now))
        await registry.reports.add(Report(FORGOTTEN, None, 6, 81, None, None, "\x1b[2J\x07clear\nthe screen", now))
        assert await asyncio.to_thread(main_reports, 50, playground=False) == 0
    assert capsys.readouterr().out == (
        "2030-01-02 03:04 UTC: somebody who was forgotten about an unknown picture\n"
        "  https://discord.com/channels/@me/6/81\n"
        "  [2J clear the screen\n"
        "\n"
        "2030-01-02 03:04 UTC: member 7 about job abc of member 9\n"
        "  https://discord.com/channels/5/6/80\n"
        "  rude\n"
    )


async def test_at_most(folder: Path, capsys: pytest.CaptureFixture[str], now: datetime) -> None:
    async with Registry(folder) as registry:
        for reporter in (1, 2, 3):
            await registry.reports.add(Report(reporter, 5, 6, 80, None, None, "", now))
    await asyncio.to_thread(main_reports, 1, playground=False)
    assert capsys.readouterr().out.count("about an unknown picture") == 1


def test_a_database_of_an_earlier_version(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir()
    with closing(sqlite3.connect(folder / DATABASE)) as old:
        old.execute("CREATE TABLE jobs (id)")
    assert main_reports(50, playground=False) == 2
    assert "set ATELIER_DATA_DIR" in capsys.readouterr().err


def test_a_damaged_database(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir()
    (folder / DATABASE).write_bytes(b"this is not a database" * 100)
    assert main_reports(50, playground=False) == 2
    assert "is damaged (file is not a database)" in capsys.readouterr().err
