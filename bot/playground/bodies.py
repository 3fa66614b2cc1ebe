"""Limits of request bodies that simcord doesn't check, refused as Discord refuses them: 50035.

simcord checks content, embeds, components and forms. Here: alt text, suggestions of autocomplete, commands.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from simcord.backend.errors import BackendError, invalid_form_body
from simcord.components import walk_components
from simcord.enums import AppCommandType, CallbackType, ComponentType

LONGEST_ALT_TEXT = 1024
LONGEST_INPUT = 4000
CHOICES = 25
LONGEST_COMMAND = 8000
COMMANDS = {AppCommandType.CHAT_INPUT: 100, AppCommandType.USER: 15, AppCommandType.MESSAGE: 15}
_COMMAND_NAME = re.compile(r"^[-_'\w]{1,32}$")


def check_message(body: dict[str, Any]) -> None:
    """Alt texts of a message.

    Raises:
        BackendError: 50035, one is longer than 1,024 characters.
    """
    for number, entry in enumerate(body.get("attachments") or []):
        _length(entry.get("description"), f"attachments.{number}.description", 0, LONGEST_ALT_TEXT)


def check_callback(body: dict[str, Any]) -> None:
    """The answer to an interaction: its message, its suggestions, or its form.

    Raises:
        BackendError: 50035, something is too long or too much.
    """
    data: dict[str, Any] = body.get("data") or {}
    check_message(data)
    if body.get("type") == CallbackType.APPLICATION_COMMAND_AUTOCOMPLETE_RESULT:
        choices: list[dict[str, Any]] = data.get("choices") or []
        _check_choices(choices, "choices")
    elif body.get("type") == CallbackType.MODAL:
        for part in walk_components(data.get("components") or []):
            if part.get("type") == ComponentType.TEXT_INPUT:
                _length(part.get("value"), f"{part.get('custom_id')}.value", 0, LONGEST_INPUT)


def check_commands(body: Any) -> None:
    """Commands that a bot registers all at once.

    Raises:
        BackendError: 50035, or 30032 for too many.
    """
    commands = cast("list[dict[str, Any]]", body or [])
    numbers = Counter(int(command.get("type", AppCommandType.CHAT_INPUT)) for command in commands)
    for kind, most in COMMANDS.items():
        if numbers[kind] > most:
            raise BackendError(400, 30032, f"Maximum number of application commands reached ({most})")
    for number, command in enumerate(commands):
        if command.get("type", AppCommandType.CHAT_INPUT) == AppCommandType.CHAT_INPUT:
            _check_described(command, str(number))
            if _size(command) > LONGEST_COMMAND:
                raise invalid_form_body(f"{number}: Command exceeds maximum size ({LONGEST_COMMAND})")
        else:
            _length(command.get("name"), f"{number}.name", 1, 32)


def _check_described(node: dict[str, Any], path: str) -> None:
    name = str(node.get("name", ""))
    if not _COMMAND_NAME.match(name) or name != name.lower():
        raise invalid_form_body(f"{path}.name: Command name is invalid")
    _length(node.get("description"), f"{path}.description", 1, 100)
    _check_choices(node.get("choices") or [], f"{path}.choices")
    options: list[dict[str, Any]] = node.get("options") or []
    if len(options) > CHOICES:
        raise invalid_form_body(f"{path}.options: Must be {CHOICES} or fewer in length.")
    demanded = [bool(option.get("required")) for option in options]
    if demanded != sorted(demanded, reverse=True):
        raise invalid_form_body(f"{path}.options: Required options must be placed before non-required options")
    for number, option in enumerate(options):
        _check_described(option, f"{path}.options.{number}")


def _size(node: dict[str, Any]) -> int:
    """ "a limit of 8000 characters for the combined name, description, and value properties"."""
    own = sum(len(str(node.get(key) or "")) for key in ("name", "description", "value"))
    return own + sum(_size(part) for key in ("options", "choices") for part in node.get(key) or [])


def _check_choices(choices: Sequence[dict[str, Any]], path: str) -> None:
    if len(choices) > CHOICES:
        raise invalid_form_body(f"{path}: Must be {CHOICES} or fewer in length.")
    for number, choice in enumerate(choices):
        _length(choice.get("name"), f"{path}.{number}.name", 1, 100)
        if isinstance(choice.get("value"), str):
            _length(choice["value"], f"{path}.{number}.value", 0, 100)


def _length(text: object, path: str, shortest: int, longest: int) -> None:
    if text is None and shortest == 0:
        return
    if not isinstance(text, str) or not shortest <= len(text) <= longest:
        raise invalid_form_body(f"{path}: Must be between {shortest} and {longest} in length.")
