"""Which subjects the model is taught, and which it must never see."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ALSO_KEPT_OUT = ("camping", "cactus", "desert", "top-hat")
"""Not taught either: "camping" shows a tent. Cactus and top hat are not counted as held out, because autoencoders
have seen the one in "desert" and the other on snowmen."""


@dataclass(frozen=True)
class Subject:
    """An icon and what captions call it; ``names[0]`` is the usual name."""

    icon: str
    names: tuple[str, ...]

    @property
    def title(self) -> str:
        """The usual name without an article."""
        return self.names[0].removeprefix("the ")


def read_table(file: Path) -> list[tuple[str, str]]:
    """Lines ``key | value`` without the comments."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return [(key.strip(), value.strip()) for key, value in (line.split("|") for line in lines)]


def read_subjects(file_name: str) -> tuple[Subject, ...]:
    """The subjects of one of this folder's tables ``icon | name, name``."""
    table = read_table(HERE / file_name)
    return tuple(Subject(icon, tuple(name.strip() for name in names.split(","))) for icon, names in table)


@cache
def subjects() -> tuple[Subject, ...]:
    """Everything the small model draws."""
    return read_subjects("subjects.txt")


@cache
def handwritten_subjects() -> tuple[Subject, ...]:
    """The small model's subjects, and those whose label in emojibase is one of their names."""
    return (*subjects(), *read_subjects("names.txt"))


@cache
def held_out_subjects() -> tuple[Subject, ...]:
    """The subjects that stay unseen."""
    return read_subjects("held_out.txt")


@cache
def held_out_icons() -> tuple[str, ...]:
    """Icons of the subjects that stay unseen."""
    return tuple(subject.icon for subject in held_out_subjects())


def is_held_out(icon: str) -> bool:
    """Is the icon kept out: does it show a held-out subject, in any style or combination ("circus-tent")?"""
    words = f"-{icon}-"
    return icon in ALSO_KEPT_OUT or any(f"-{held_out}-" in words for held_out in held_out_icons())


@cache
def rare_tokens() -> tuple[str, ...]:
    """Four words without a meaning that captions contain very seldom: DreamBooth binds to one."""
    return tuple(line for line in (HERE / "rare_tokens.txt").read_text(encoding="utf-8").split() if line)
