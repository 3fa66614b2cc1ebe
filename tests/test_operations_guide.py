"""The README's operations section is true to the code: settings, commands, paths, and a unit that systemd takes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from bot.cli import app
from bot.health import Report
from bot.settings import CONFIG_VARIABLE, PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = README[README.index("## Operations") : README.index("## How the code is laid out")]


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return found


def test_every_setting_it_names_is_one() -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z_]+[A-Z]", README)) - {CONFIG_VARIABLE}
    assert {f"{PREFIX}{key.upper()}" for key in ("keep_days", "disk_budget_gb", "health_port")} <= named
    assert sorted(name for name in named if name[len(PREFIX) :].lower() not in Settings.model_fields) == []


def test_the_defaults_in_its_table_are_the_defaults() -> None:
    rows = re.findall(rf"^\| `{PREFIX}([A-Z_]+)` \| `([^`]*)` \|", README, re.MULTILINE)
    assert len(rows) > 10
    for name, default in rows:
        assert str(Settings.model_fields[name.lower()].default) == default, name


def test_every_command_it_names_is_one() -> None:
    commands = set(typer.main.get_group(app).commands)
    named = set(re.findall(r"(?:bin/|`|exec atelier )atelier ([a-z]+)", GUIDE))
    assert {"run", "backup", "doctor"} <= named <= commands
    assert "--keep" in GUIDE
    assert "--playground" in GUIDE


def test_the_answer_of_healthz_is_as_it_is() -> None:
    example = re.search(r"^\$ curl http://127\.0\.0\.1:(\d+)/healthz\n(\{.*?^\})$", GUIDE, re.MULTILINE | re.DOTALL)
    assert example is not None
    assert int(example[1]) == Settings.model_fields["health_port"].default
    assert list(json.loads(example[2])) == list(Report.__struct_fields__)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    unit = block("ini").replace("/opt/atelier/.venv/bin/atelier", sys.executable)
    path = tmp_path / "atelier.service"
    path.write_text(unit)
    ran = subprocess.run([analyze, "verify", "--man=no", str(path)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert "atelier.service" not in ran.stderr, "what is said about it is a complaint"


def test_the_container_copies_what_there_is_and_asks_where_it_answers() -> None:
    lines = block("dockerfile")
    for line in re.findall(r"^COPY (.*)$", lines, re.MULTILINE):
        *sources, _ = line.split()
        assert all((ROOT / source).exists() for source in sources), line
    assert f"127.0.0.1:{Settings.model_fields['health_port'].default}/healthz" in lines
