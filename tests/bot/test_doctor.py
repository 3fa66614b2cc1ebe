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


def test_an_intent_that_discord_does_not_allow_is_found_before_the_start() -> None:
    for allowed in (True, False):
        assert doctor.message_content(allowed=allowed, wanted=False).outcome == "ok"
    assert doctor.message_content(allowed=True, wanted=True).outcome == "ok"
    check = doctor.message_content(allowed=False, wanted=True)
    assert check.outcome == "fail"
    assert "ATELIER_MESSAGE_CONTENT" in check.advice


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


def test_a_disk_with_less_room_than_the_budget_is_a_warning(settings: Settings) -> None:
    check = doctor.disk(settings.with_changes(disk_budget_gb=10**6))
    assert check.outcome == "warn"
    assert "0.0 of 1e+06 GB" in check.found
    assert "ATELIER_DISK_BUDGET_GB" in check.advice


def test_what_pictures_take_counts_as_room_for_pictures(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "disk_free", lambda _: 12 * 10**9)
    small = settings.with_changes(disk_budget_gb=13)
    assert doctor.disk(small).outcome == "warn"
    folder = settings.data_dir / "images" / "job"
    folder.mkdir(parents=True)
    with (folder / "1-0.png").open("wb") as picture:
        picture.truncate(3 * 10**9 + 1)  # sparse
    assert doctor.disk(small).outcome == "ok"


def test_a_full_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.disk(settings.with_changes(disk_budget_gb=0.1)).outcome == "ok"
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
