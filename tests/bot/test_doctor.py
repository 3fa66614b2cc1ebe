import sqlite3
from pathlib import Path

import pytest

from bot import doctor
from bot.registry.registry import DATABASE
from bot.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"ATELIER_DATA_DIR": str(tmp_path)}, tmp_path)


def test_no_token_is_a_warning_that_says_what_to_do(settings: Settings) -> None:
    [check] = doctor.token_and_intents(settings)
    assert check.outcome == "warn"
    assert "ATELIER_DISCORD_TOKEN" in check.advice


def test_a_damaged_database_is_found(settings: Settings) -> None:
    path = settings.data_dir / DATABASE
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE numbers (n INTEGER)")
        connection.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(10_000)])
    connection.close()
    assert doctor.database(settings).outcome == "ok"

    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * 4096 + whole[8192:])
    check = doctor.database(settings)
    assert check.outcome == "fail"
    assert "backup" in check.advice


def test_a_model_that_is_not_there(settings: Settings, tmp_path: Path) -> None:
    check = doctor.model(settings.with_changes(model=str(tmp_path / "nothing")))
    assert check.outcome == "fail"
    assert "ATELIER_MODEL" in check.advice


def test_the_bundled_model_and_the_device(settings: Settings) -> None:
    found = doctor.model(settings)
    assert (found.outcome, found.advice) == ("ok", "")
    assert "64×64" in found.found
    assert doctor.device().outcome in {"ok", "warn"}


def test_a_full_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.disk(settings).outcome == "ok"
    monkeypatch.setattr(doctor, "NEEDED_DISK_GB", 10**9)
    check = doctor.disk(settings)
    assert check.outcome == "fail"
    assert "ATELIER_DATA_DIR" in check.advice


def test_wrong_settings_end_the_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ATELIER_DEVICE", "toaster")
    assert doctor.main_doctor() == 1
    told = capsys.readouterr().out
    assert "ATELIER_DEVICE is 'toaster'" in told
    assert "model" not in told.splitlines()[-1].split(":")[0]
