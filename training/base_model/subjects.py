"""Which subjects the model is taught, and which it must never see."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Subject:
    """An icon and what captions call it; ``names[0]`` is the usual name."""

    icon: str
    names: tuple[str, ...]


def read_table(file: Path) -> list[tuple[str, str]]:
    """Lines ``key | value`` without the comments."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return [(key.strip(), value.strip()) for key, value in (line.split("|") for line in lines)]


@cache
def subjects() -> tuple[Subject, ...]:
    """Everything the small model draws."""
    table = read_table(HERE / "subjects.txt")
    return tuple(Subject(icon, tuple(name.strip() for name in names.split(","))) for icon, names in table)


@cache
def held_out_icons() -> tuple[str, ...]:
    """Icons of the subjects that stay unseen."""
    return tuple(icon for icon, _ in read_table(HERE / "held_out.txt"))


@cache
def rare_tokens() -> tuple[str, ...]:
    """Four words without a meaning that captions contain very seldom: DreamBooth binds to one."""
    return tuple(line for line in (HERE / "rare_tokens.txt").read_text(encoding="utf-8").split() if line)
