"""What a member typed, taken apart: words, flags such as `--cfg 7`, and choices in braces. Light, as `request` is.

*Flags.* `--` at a word's start with a letter after it (or the dash, — or –, that phones make of it). `--no` takes all
words up to the next flag and may come again; the others take one word, or what follows `=`, and come once.

*Choices.* `a {red, green} apple` is two prompts; several groups make every combination, the last one changing
fastest. An option may be empty (`{, big} tree`). A backslash takes the meaning away: `\\{`, `\\}`, and `\\,` in a
group. Braces without a comma, without words or without a partner are text, as are all braces in the words of `--no`.
Groups don't nest. Flags are taken out first, wherever they stand.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import deque
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from generation import limits
from generation.request import shown, tidied

_EXAMPLES: Final = {
    "no": "blue, text",
    "cfg": "7.5",
    "seed": "42",
    "steps": "30",
    "strength": "0.6",
    "size": "512x768",
    "count": "4",
}
"""Every flag, and what may follow it."""
_ELSEWHERE: Final = {
    **dict.fromkeys(("neg", "negative", "negative_prompt", "not", "without", "exclude"), "no"),
    **dict.fromkeys(("c", "scale", "cfg_scale", "guidance", "guidance_scale"), "cfg"),
    **dict.fromkeys(("s", "iterations", "quality", "num_inference_steps"), "steps"),
    **dict.fromkeys(("iw", "denoise", "denoising", "image_weight"), "strength"),
    **dict.fromkeys(("ar", "aspect", "w", "h", "width", "height", "resolution"), "size"),
    **dict.fromkeys(("n", "number", "repeat", "images", "batch"), "count"),
}
"""What other bots and diffusers call ours. Only to answer: a flag has one name here."""
_FLAG: Final = re.compile(r"(?:--|[—–])(?P<name>[^\W\d_][^=]*)(?P<is>=?)(?P<value>.*)")
_REAL: Final = re.compile(r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)")
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_SIZE: Final = re.compile(r"([0-9]{1,5})[xX×*]([0-9]{1,5})")
_MARK: Final = re.compile(r"\\[{},]|[{},]")
_ESCAPED_BRACE: Final = re.compile(r"\\([{}])")
_ESCAPED: Final = re.compile(r"\\([{},])")
_COUNTED: Final = 1_000_000
"""Larger numbers of pictures are not told exactly: they have hundreds of digits."""
_NESTED: Final = "There are braces in braces: write \\{ and \\} for those that are meant as text."


class PromptError(ValueError):
    """One plain sentence that names the flag, its value and what is allowed."""

    def __init__(self, flag: str | None, sentence: str) -> None:
        self.flag = flag
        """As it should be typed, such as `--cfg`; as it was typed where it is unknown; None: braces."""
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class PromptText:
    """None where nothing was said."""

    prompts: list[str]
    """At least one; [""] where nothing but flags was typed."""
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    num_inference_steps: int | None = None
    strength: float | None = None
    size: tuple[int, int] | None = None
    """Width and height in pixels."""
    count: int | None = None
    """Pictures of each prompt."""


def parse_prompt(text: str, *, images_at_most: int = 8) -> PromptText:
    """The prompts that `text` stands for, tidied as `ImageRequest` does, and what its flags say.

    Raises:
        PromptError: a flag that is unknown, without its value, given twice or out of range; groups in groups;
            or more than `images_at_most` pictures.
    """
    words, values = _take_flags(tidied(text))
    count = _whole("count", values, 1, images_at_most)
    parts = _take_choices(words)
    refuse_too_many(math.prod(map(len, parts)), count or 1, images_at_most=images_at_most)
    return PromptText(
        prompts=[tidied("".join(chosen)) for chosen in itertools.product(*parts)],
        negative_prompt=values.get("no"),
        guidance_scale=_real("cfg", values, *limits.GUIDANCE_SCALE),
        seed=_whole("seed", values, 0, limits.SEED_MAX),
        num_inference_steps=_whole("steps", values, *limits.INFERENCE_STEPS),
        strength=_real("strength", values, *limits.STRENGTH),
        size=_size(values),
        count=count,
    )


def refuse_too_many(prompts: int, count: int, *, images_at_most: int = 8) -> None:
    """Also for a count that was said elsewhere than in the text. Raises PromptError."""
    images = prompts * count
    if images <= images_at_most:
        return
    number = f"{images:,}" if images <= _COUNTED else f"more than {_COUNTED:,}"
    if count == 1:
        sentence = f"The choices in braces make {number} pictures: {images_at_most} are the most."
        raise PromptError(None, sentence)
    each = f"{prompts:,} prompts × {count}" if images <= _COUNTED else f"The choices in braces × {count}"
    raise PromptError("--count", f"{each} make {number} pictures: {images_at_most} are the most.")


def nearest_flag(name: str) -> str | None:
    """The flag that is likely meant by `name`, with or without dashes: `stpes` → `--steps`, `ar` → `--size`."""
    name = name.lstrip("-—–").casefold().replace("-", "_")
    if name not in _EXAMPLES and name not in _ELSEWHERE:
        spelled = [known for known in (*_EXAMPLES, *_ELSEWHERE) if len(known) > 1]
        name = next(iter(get_close_matches(name, spelled, n=1)), "")
    return f"--{_ELSEWHERE.get(name, name)}" if name else None


# ── flags ──


def _take_flags(text: str) -> tuple[str, dict[str, str]]:
    """The words that belong to no flag, and those that belong to each: {"no": "blue, sky", "cfg": "7"}."""
    kept: list[str] = []
    values: dict[str, str] = {}
    left = deque(text.split())
    while left:
        flag = _FLAG.fullmatch(left[0])
        word = left.popleft()
        if flag is None:
            kept.append(word)
            continue
        name = _known(word, flag)
        taken = [flag["value"]] if flag["is"] else []
        while left and (name == "no" or not taken) and not _FLAG.fullmatch(left[0]):
            taken.append(left.popleft())
        value = " ".join(taken).strip(" ,;")
        if not value:
            raise PromptError(f"--{name}", f"--{name} needs something after it, such as --{name} {_EXAMPLES[name]}.")
        if name in values and name != "no":
            raise PromptError(f"--{name}", f"--{name} is there twice: say it once.")
        values[name] = f"{values[name]}, {value}" if name in values else value
    return " ".join(kept), values


def _known(word: str, flag: re.Match[str]) -> str:
    """The flag's own name."""
    name = flag["name"].casefold()
    if name in _EXAMPLES:
        return name
    typed = shown(f"--{flag['name']}").strip("“”")
    near = nearest_flag(name)
    if near is not None:
        raise PromptError(typed, f"{typed} is not a flag: did you mean {near}?")
    every = ", ".join(f"--{name}" for name in _EXAMPLES)
    spaced = "" if word.startswith("--") else " (a dash with a space after it is text)"
    raise PromptError(typed, f"{typed} is not a flag: there are {every}{spaced}.")


def _whole(flag: str, values: dict[str, str], low: int, high: int) -> int | None:
    value = values.get(flag)
    if value is None:
        return None
    number = int(value) if _WHOLE.fullmatch(value) else None
    if number is None or not low <= number <= high:
        raise _refusal(flag, value, f"a whole number from {low} to {high}")
    return number


def _real(flag: str, values: dict[str, str], low: float, high: float) -> float | None:
    value = values.get(flag)
    if value is None:
        return None
    number = float(value.replace(",", ".")) if _REAL.fullmatch(value) else math.nan
    if not low <= number <= high:
        raise _refusal(flag, value, f"a number from {low:g} to {high:g}")
    return number


def _size(values: dict[str, str]) -> tuple[int, int] | None:
    value = values.get("size")
    if value is None:
        return None
    found = _SIZE.fullmatch(value)
    sides = [int(side) for side in found.groups()] if found else [0, 0]
    (low, high), multiple = limits.SIDE, limits.SIDE_MULTIPLE
    if any(not low <= side <= high or side % multiple for side in sides):
        allowed = f"width x height, each from {low} to {high} in steps of {multiple} (such as {_EXAMPLES['size']})"
        raise _refusal("size", value, allowed)
    return sides[0], sides[1]


def _refusal(flag: str, value: str, allowed: str) -> PromptError:
    return PromptError(f"--{flag}", f"--{flag} must be {allowed}, not {shown(value)}.")


# ── choices ──


@dataclass(slots=True)
class _Open:
    """A brace that waits for its partner. `marks`: positions of its commas."""

    at: int
    commas: list[int] = field(default_factory=list[int])
    holds_braces: bool = False


def _take_choices(text: str) -> list[list[str]]:
    """The text cut at its groups, in order: what stands between them is a part with one option."""
    parts: list[list[str]] = []
    done = 0
    for start, commas, end in _groups(text):
        parts.append([_plain(text[done:start])])
        cuts = [start, *commas, end]
        parts.append([_ESCAPED.sub(r"\1", text[a + 1 : b]).strip() for a, b in itertools.pairwise(cuts)])
        done = end + 1
    return [*parts, [_plain(text[done:])]]


def _groups(text: str) -> list[tuple[int, list[int], int]]:
    """Where each group begins, has its commas, and ends. One pass: somebody will type thousands of braces."""
    found: list[tuple[int, list[int], int]] = []
    waiting: list[_Open] = []
    for mark in _MARK.finditer(text):
        match mark[0]:
            case "{":
                waiting.append(_Open(mark.start()))
            case "," if waiting:
                waiting[-1].commas.append(mark.start())
            case "}" if waiting:
                group = waiting.pop()
                if group.commas and group.holds_braces:
                    raise PromptError(None, _NESTED)
                if group.commas and text[group.at + 1 : mark.start()].strip(" ,"):
                    found.append((group.at, group.commas, mark.start()))
                if waiting:
                    waiting[-1].holds_braces = True
            case _:
                pass
    return found


def _plain(text: str) -> str:
    return _ESCAPED_BRACE.sub(r"\1", text)
