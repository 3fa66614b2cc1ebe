"""Options of commands as values: sizes as text, which sizes to offer for a model, and options beside flags."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final

from bot.chat import wording
from bot.chat.wording import imagine as words
from bot.errors import UserError
from generation.prompt import refuse_too_many

if TYPE_CHECKING:
    from generation.prompt import PromptText
    from generation.request import ModelDefaults

MODEL_DEFAULT: Final = "model default"
_FLAGS: Final = {
    "negative_prompt": ("negative_prompt", "--no"),
    "guidance_scale": ("guidance", "--cfg"),
    "num_inference_steps": ("steps", "--steps"),
    "seed": ("seed", "--seed"),
    "size": ("size", "--size"),
    "count": ("count", "--count"),
    "strength": ("strength", "--strength"),
}
"""Fields of a `PromptText`: the option and the flag that say them."""
_SIZE: Final = re.compile(r"\s*(\d{1,5})\s*[x×X*]\s*(\d{1,5})\s*")
_SHAPES: Final = (
    ("square", 1.0, 1.0),
    ("portrait", 1.0, 1.5),
    ("landscape", 1.5, 1.0),
    ("tall", 0.75, 1.25),
    ("wide", 1.25, 0.75),
)


def parse_size(text: str | None) -> tuple[int | None, int | None]:
    """`512x768` → (512, 768); nothing or `model default` → (None, None).

    Raises:
        UserError: it is neither. (Which numbers are allowed says `ImageRequest`.)
    """
    if text is None or text.strip().lower() in {"", "default", MODEL_DEFAULT}:
        return None, None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UserError(wording.bad_size(text))
    return int(match[1]), int(match[2])


def offered_sizes(defaults: ModelDefaults | None) -> list[tuple[str, str]]:
    """(label, value) of the sizes that a model draws well, its default first. None: no model is loaded yet."""
    offered = [(MODEL_DEFAULT, MODEL_DEFAULT)]
    if defaults is None:
        return offered
    offered[0] = (f"{MODEL_DEFAULT} ({defaults.width}×{defaults.height})", MODEL_DEFAULT)
    seen = {(defaults.width, defaults.height)}
    for name, across, down in _SHAPES:
        width, height = (
            _multiple(side * factor, defaults.size_multiple)
            for side, factor in ((defaults.width, across), (defaults.height, down))
        )
        if (width, height) not in seen and _fits(width, height, defaults):
            seen.add((width, height))
            offered.append((f"{name} {width}×{height}", f"{width}x{height}"))
    return offered


def _multiple(pixels: float, of: int) -> int:
    return max(of, round(pixels / of) * of)


def _fits(width: int, height: int, defaults: ModelDefaults) -> bool:
    return width * height <= defaults.max_pixels and min(width, height) >= 64


def with_options(text: PromptText, options: PromptText) -> PromptText:
    """What was typed into the prompt, and what its options say (their `prompts` are passed over).

    Raises:
        UserError: both say something about the same thing, and not the same.
        PromptError: more pictures than are made of one prompt.
    """
    said: dict[str, object] = {}
    for field, (option, flag) in _FLAGS.items():
        in_flag, in_option = getattr(text, field), getattr(options, field)
        if in_flag is not None and in_option is not None and in_flag != in_option:
            raise UserError(words.said_twice(option, in_option, flag, in_flag))
        said[field] = in_option if in_flag is None else in_flag
    both = dataclasses.replace(text, **said)
    refuse_too_many(len(both.prompts), both.count or 1)
    return both
