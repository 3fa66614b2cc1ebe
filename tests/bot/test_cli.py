"""The command line as somebody types it, in a process of its own."""

import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image

from generation.recipe import from_parameters

ROOT = Path(__file__).resolve().parents[2]


def atelier(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    return subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_version_and_help(tmp_path: Path) -> None:
    assert atelier(tmp_path, "--version").stdout.strip() == f"atelier {version('atelier-studio')}"
    told = atelier(tmp_path, "--help").stdout
    for command in ("playground", "run", "imagine", "train", "concepts", "doctor", "backup"):
        assert command in told


def test_imagine_writes_pictures_with_their_recipes(tmp_path: Path) -> None:
    ran = atelier(
        tmp_path,
        *("imagine", "a red apple", "--negative-prompt", "blue", "--guidance-scale", "3"),
        *("--seed", "11", "--count", "2", "--steps", "2", "-o", "new/out.png"),
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["new/out-1.png", "new/out-2.png"]
    recipes = []
    for name in ran.stdout.split():
        with Image.open(tmp_path / name) as picture:
            recipes.append(from_parameters(picture.info["parameters"]))
    assert [recipe.seed for recipe in recipes] == [11, 12]
    assert {(r.prompt, r.negative_prompt, r.guidance_scale) for r in recipes} == {("a red apple", "blue", 3.0)}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a fox", "--guidance-scale", "99"), "guidance_scale must be a number from 1 to 30, not 99"),
        (("a fox", "--strength", "0.5"), "strength 0.5 needs a start image"),
        (("a fox", "--scheduler", "fast"), "scheduler must be one of"),
        (("a fox", "--image", "missing.png"), "missing.png: No such file"),
        (("a fox", "--model", "no/such/model/here"), "no/such/model/here"),
        (("a fox", "-o", "/proc/none/fox.png"), "/proc/none"),
        (("a fox", "--concept", "cat"), "--concept must be NAME=FILE"),
        (("a fox", "--concept", "cat=missing"), "missing: No such file"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    ran = atelier(tmp_path, "imagine", *arguments, "--steps", "1")
    assert ran.returncode == 2
    assert sentence in ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob("*.png"))


def test_concepts_of_an_empty_folder(tmp_path: Path) -> None:
    ran = atelier(tmp_path, "concepts", "list")
    assert (ran.returncode, len(ran.stderr.strip().splitlines())) == (2, 1)
    assert "There is no database with concepts" in ran.stderr


def test_run_without_a_token_says_which_setting_is_missing(tmp_path: Path) -> None:
    ran = atelier(tmp_path, "run")
    assert ran.returncode == 2
    assert "ATELIER_DISCORD_TOKEN is not set" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = atelier(tmp_path, "playground", "--port", str(port))
    assert ran.returncode == 2
    assert f"could not start on port {port}" in ran.stderr
    assert "Traceback" not in ran.stderr
