"""The form behind `/train`, and what comes back: what is agreed to, photos, and what the concept is of.

All that the command said is in the form's custom id, `atelier:train:{consent}:{method}:{name}:{class}`, so that one
that was opened before a restart works after it. It has 100 characters at most, as many as Discord allows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import discord

from bot.chat.wording import training as words
from bot.errors import UserError
from generation.request import InvalidRequest
from training.names import class_word, concept_name
from training.order import PHOTOS, Depicts, Method

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LETTERS: Final = {"l": Method.LORA, "t": Method.TEXTUAL_INVERSION, "d": Method.DREAMBOOTH}
_LETTER_OF: Final = {method: letter for letter, method in _LETTERS.items()}
_FORM: Final = re.compile(r"atelier:train:(\d{4}-\d\d-\d\d):([ltd]):([^:]{1,32}):([^:]{1,40})")


@dataclass(frozen=True, slots=True)
class Asked:
    """What `/train` said, tidied."""

    method: Method
    name: str
    class_word: str
    consent: str = words.CONSENT_VERSION
    """The version of the text that the form shows."""

    @property
    def custom_id(self) -> str:
        return f"atelier:train:{self.consent}:{_LETTER_OF[self.method]}:{self.name}:{self.class_word}"

    @classmethod
    def of(cls, custom_id: str) -> Self | None:
        """None: it is another form's. Raises UserError where no form of ours was ever like that."""
        match = _FORM.fullmatch(custom_id)
        if match is None:
            return None
        try:
            return cls(_LETTERS[match[2]], concept_name(match[3]), class_word(match[4]), match[1])
        except InvalidRequest as error:  # forged, or of a version that allowed other names
            raise UserError(words.CONSENT_CHANGED) from error


class TrainForm(discord.ui.Modal):
    def __init__(self, asked: Asked) -> None:
        super().__init__(title=words.form_title(asked.name), custom_id=asked.custom_id)
        photos: discord.ui.FileUpload[Self] = discord.ui.FileUpload(
            custom_id="photos", min_values=PHOTOS[0], max_values=PHOTOS[1]
        )
        self.add_item(discord.ui.Label(text=words.PHOTOS_LABEL, description=words.PHOTOS_HINT, component=photos))
        self.add_item(depicts_field())
        self.add_item(discord.ui.TextDisplay(words.CONSENT_TEXT))
        self.add_item(agree_field())


def depicts_field() -> discord.ui.Label[Any]:
    options = [
        discord.RadioGroupOption(label=label, description=description, value=value)
        for label, description, value in words.depicts_choices()
    ]
    return discord.ui.Label(
        text=words.DEPICTS_LABEL, component=discord.ui.RadioGroup(custom_id="depicts", options=options)
    )


def agree_field() -> discord.ui.Label[Any]:
    """A group of one: a lone checkbox can't be required."""
    option = discord.CheckboxGroupOption(label=words.AGREE, value="yes")
    agree = discord.ui.CheckboxGroup[Any](custom_id="agree", min_values=1, max_values=1, options=[option])
    return discord.ui.Label(text=words.AGREE_LABEL, component=agree)


@dataclass(frozen=True, slots=True)
class Sent:
    """The form as it comes back. `photos` are ids of attachments of its interaction."""

    depicts: Depicts
    photos: list[str]

    @classmethod
    def of(cls, components: Sequence[Mapping[str, Any]]) -> Self:
        """Raises UserError: it was not agreed to, or has not as many photos as a training takes."""
        fields = fields_of(components)
        depicts, agreed, photos = fields.get("depicts", []), fields.get("agree", []), fields.get("photos", [])
        if agreed != ["yes"] or len(depicts) != 1 or depicts[0] not in set(Depicts):
            raise UserError(words.NOT_AGREED)
        if not PHOTOS[0] <= len(photos) <= PHOTOS[1]:
            raise UserError(words.wrong_number(len(photos)))
        return cls(Depicts(depicts[0]), photos)


def fields_of(components: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Custom id → all that was chosen there."""
    fields: dict[str, list[str]] = {}
    for component in components:
        match component:
            case {"component": {"custom_id": str(name), "values": list(chosen)}}:
                fields[name] = [str(value) for value in chosen]
            case {"component": {"custom_id": str(name), "value": str(value)}}:
                fields[name] = [value]
            case _:
                pass
    return fields
