"""The form behind *Remix*: the recipe, filled in to be changed, and the request that it stands for.

A flag in the prompt goes before the field that says the same, unless that was changed too: then one has to go.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import discord

from bot.chat.requests import MEDIUM_STRENGTH, Basis, remixed
from bot.chat.wording import remixing as words
from bot.errors import UserError
from generation import limits
from generation.prompt import PromptError, PromptText, parse_prompt
from generation.request import tidied

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generation.request import ImageRequest

_LONGEST_TEXT: Final = 4000
_LONGEST_NUMBER: Final = 20
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)")


class RemixForm(discord.ui.Modal):
    """`choices`: (number, label) of the pictures that it may be about; `selected` is the number of one of them."""

    def __init__(self, custom_id: str, basis: Basis, choices: Sequence[tuple[int, str]], *, selected: int) -> None:
        super().__init__(title=words.FORM_TITLE, custom_id=custom_id)
        if len(choices) > 1:
            options = [
                discord.SelectOption(label=label, value=str(number), default=number == selected)
                for number, label in choices
            ]
            select: discord.ui.Select[Self] = discord.ui.Select(custom_id="picture", options=options)
            self.add_item(discord.ui.Label(text=words.PICTURE_LABEL, component=select))
        shown = prefilled(basis)
        self._ask("prompt", shown.prompt, words.PROMPT_HINT, long=True)
        self._ask("negative prompt", shown.negative_prompt, words.NEGATIVE_HINT, long=True)
        self._ask("guidance", shown.guidance, words.GUIDANCE_HINT)
        self._ask("strength", shown.strength, words.STRENGTH_HINT)

    def _ask(self, name: str, value: str, hint: str, *, long: bool = False) -> None:
        field: discord.ui.TextInput[Self] = discord.ui.TextInput(
            custom_id=name,
            style=discord.TextStyle.paragraph if long else discord.TextStyle.short,
            default=value or None,
            required=False,
            max_length=_LONGEST_TEXT if long else _LONGEST_NUMBER,
        )
        self.add_item(discord.ui.Label(text=name.capitalize(), description=hint, component=field))


# ── what it says ──


@dataclass(frozen=True, slots=True)
class Typed:
    """The form's fields, as text."""

    prompt: str
    negative_prompt: str
    guidance: str
    strength: str
    number: int | None = None
    """Which picture; None where there was no choice."""

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Self:
        picture = values.get("picture", "")
        return cls(
            prompt=values.get("prompt", ""),
            negative_prompt=values.get("negative prompt", ""),
            guidance=values.get("guidance", "").strip(),
            strength=values.get("strength", "").strip(),
            number=int(picture) if picture.isdecimal() else None,
        )

    def plain(self) -> str:
        """To copy from."""
        return words.what_was_typed(
            [
                ("prompt", self.prompt),
                ("negative prompt", self.negative_prompt),
                ("guidance", self.guidance),
                ("strength", self.strength),
            ]
        )


def prefilled(basis: Basis) -> Typed:
    """The form as it opens."""
    return Typed(
        prompt=_as_typed(basis.prompt),
        negative_prompt=basis.negative_prompt,
        guidance=f"{basis.guidance_scale:g}",
        strength=f"{MEDIUM_STRENGTH:g}",
    )


def _as_typed(prompt: str) -> str:
    """A recipe's braces are text, not choices: they must stay so when somebody types around them."""
    try:
        if parse_prompt(prompt).prompts == [prompt]:
            return prompt
    except PromptError:
        pass
    return re.sub(r"[{}]", r"\\\g<0>", prompt)


def request_of(typed: Typed, basis: Basis, init_image: str, *, seed: int) -> ImageRequest:
    """Raises PromptError, InvalidRequest, UserError."""
    shown = prefilled(basis)
    unchanged = tidied(typed.prompt) == tidied(shown.prompt)  # old recipes may have words that are flags today
    text = PromptText([""]) if unchanged else parse_prompt(typed.prompt)
    guidance = _number("guidance", typed.guidance or shown.guidance, limits.GUIDANCE_SCALE)
    strength = _number("strength", typed.strength or shown.strength, limits.STRENGTH)
    if text.guidance_scale not in (None, guidance) and typed.guidance not in ("", shown.guidance):
        raise UserError(words.said_twice("guidance", typed.guidance, "--cfg", f"{text.guidance_scale:g}"))
    if text.strength not in (None, strength) and typed.strength not in ("", shown.strength):
        raise UserError(words.said_twice("strength", typed.strength, "--strength", f"{text.strength:g}"))
    negative = tidied(typed.negative_prompt)
    if text.negative_prompt not in (None, negative) and negative not in ("", tidied(shown.negative_prompt)):
        raise UserError(words.NEGATIVE_TWICE)
    basis = dataclasses.replace(basis, negative_prompt=negative, guidance_scale=guidance)
    return remixed(basis, text, init_image, seed=seed, strength=strength)


def _number(name: str, typed: str, allowed: tuple[float, float]) -> float:
    low, high = allowed
    value = float(typed.replace(",", ".")) if _NUMBER.fullmatch(typed) else None
    if value is None or not low <= value <= high:
        raise UserError(words.not_a_number(name, typed, low, high))
    return value


def values_in(components: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Custom id → what was typed or chosen, in the components of a submitted form, whatever they are wrapped in."""
    values: dict[str, str] = {}
    for component in components:
        match component:
            case {"component": inner}:
                values |= values_in([inner])
            case {"components": several}:
                values |= values_in(several)
            case {"custom_id": str(name), "value": str(value)}:
                values[name] = value
            case {"custom_id": str(name), "values": [str(value), *_]}:
                values[name] = value
            case _:
                pass
    return values
