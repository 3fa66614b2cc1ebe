"""Every wrong value stops the start with a sentence that names key, value and what is allowed."""

from pathlib import Path

import pytest

from bot.settings import Settings, SettingsError, load_settings

TOKEN = "MTIz.secret.token"


def load(folder: Path, toml: str = "", **environment: str) -> Settings:
    if toml:
        (folder / "atelier.toml").write_text(toml)
    return load_settings(environment, folder)


def complaint(folder: Path, toml: str = "", **environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(folder, toml, **environment)
    return str(caught.value)


def test_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.model, settings.device, settings.nsfw_threshold) == ("bundled", "auto", 0.7)
    assert settings.discord_token is None
    assert (settings.keep_days, settings.disk_budget_gb, settings.health_port) == (30, 20, 7861)


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    toml = 'model = "from-file"\nqueue_per_member = 3\n'
    settings = load(tmp_path, toml, ATELIER_MODEL="from-environment", PATH="/bin")
    assert (settings.model, settings.queue_per_member) == ("from-environment", 3)


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert load(tmp_path, 'model = "kept"', ATELIER_MODEL="").model == "kept"


def test_the_file_can_lie_elsewhere(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("output_check = false\n")
    assert load(tmp_path, ATELIER_CONFIG=str(other)).output_check == "off"
    missing = complaint(tmp_path, ATELIER_CONFIG=str(tmp_path / "no.toml"))
    assert "ATELIER_CONFIG" in missing
    assert "no such file" in missing


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("NSFW_THRESHOLD", "1.5", "a number above 0 and up to 1"),
        ("NSFW_THRESHOLD", "high", "a number above 0 and up to 1"),
        ("QUEUE_PER_MEMBER", "0", "1 to 1000"),
        ("DEVICE", "gpu", "auto, cpu, cuda"),
        ("LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("OUTPUT_CHECK", "perhaps", "on or off"),
        ("PLAYGROUND_PORT", "70000", "0 to 65535"),
        ("HEALTH_PORT", "-1", "0 to 65535 (0 = no /healthz)"),
        ("KEEP_DAYS", "0", "a whole number of days, 1 to 3650"),
        ("KEEP_DAYS", "4000", "a whole number of days, 1 to 3650"),
        ("DISK_BUDGET_GB", "0", "a number of gigabytes, 0.1 to 1000000"),
        ("DISK_BUDGET_GB", "nan", "a number of gigabytes, 0.1 to 1000000"),
        ("DISK_BUDGET_GB", "20 GB", "a number of gigabytes, 0.1 to 1000000"),
        ("DEV_GUILD_ID", "my server", "a whole number"),
        ("WORKER_HEARTBEAT_SECONDS", "nan", "a number of seconds"),
        ("MESSAGE_CONTENT", "maybe", "on or off"),
    ],
)
def test_a_wrong_variable_is_named_with_value_and_range(tmp_path: Path, name: str, value: str, allowed: str) -> None:
    text = complaint(tmp_path, **{f"ATELIER_{name}": value})
    assert text.startswith(f"ATELIER_{name} is {value!r}")
    assert allowed in text
    assert "\n" not in text


def test_a_wrong_key_of_the_file_is_named_as_it_is_written_there(tmp_path: Path) -> None:
    assert complaint(tmp_path, "jobs_at_once = 99").startswith("jobs_at_once in atelier.toml is 99")


def test_unknown_keys_come_with_the_nearest_right_name(tmp_path: Path) -> None:
    assert "did you mean model?" in complaint(tmp_path, 'modle = "x"')
    (tmp_path / "atelier.toml").unlink()
    assert "did you mean ATELIER_DISCORD_TOKEN?" in complaint(tmp_path, ATELIER_DISCORD_TOKN="x")


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    token = "not a token " + TOKEN
    assert TOKEN not in complaint(tmp_path, ATELIER_DISCORD_TOKEN=token)
    assert TOKEN not in complaint(tmp_path, f'discord_tokn = "{TOKEN}"')
    assert TOKEN not in complaint(tmp_path, f'discord_token = "{token}"')
    assert TOKEN not in complaint(tmp_path, f'discord_token = ["{TOKEN}"]')
    assert TOKEN not in complaint(tmp_path, f'discord_token = "{TOKEN}')
    (tmp_path / "atelier.toml").unlink()
    settings = load(tmp_path, ATELIER_DISCORD_TOKEN=f" {TOKEN}\n")
    assert TOKEN not in repr(settings)
    assert settings.token() == TOKEN


def test_a_missing_token_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ATELIER_DISCORD_TOKEN is not set"):
        load(tmp_path).token()


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    assert "is not valid TOML" in complaint(tmp_path, "model: bundled")
    (tmp_path / "atelier.toml").write_bytes(b"\xff\xfe")
    assert "cannot be read" in complaint(tmp_path)


def test_changes_are_validated_too(tmp_path: Path) -> None:
    settings = load(tmp_path, ATELIER_DISCORD_TOKEN=TOKEN)
    assert settings.with_changes(jobs_at_once=2).jobs_at_once == 2
    assert settings.with_changes(jobs_at_once=2).token() == TOKEN
    with pytest.raises(SettingsError, match="jobs_at_once is 0"):
        settings.with_changes(jobs_at_once=0)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    settings = load(tmp_path, 'data_dir = "~/data"\nmodel = "~/model"\n')
    assert (settings.data_dir, settings.model) == (tmp_path / "data", str(tmp_path / "model"))
    assert "the path of a folder" in complaint(tmp_path, ATELIER_DATA_DIR="~nobody-of-this-name/data")
