"""Forms (modals): what a member filled in, checked as Discord's client checks it, in a bot's shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simcord.enums import ComponentType

from bot.playground.menus import chosen, count_problem
from bot.playground.options import OptionBuilder, Refused
from bot.playground.uploads import Upload

SELECTS = frozenset(
    {
        ComponentType.STRING_SELECT,
        ComponentType.USER_SELECT,
        ComponentType.ROLE_SELECT,
        ComponentType.MENTIONABLE_SELECT,
        ComponentType.CHANNEL_SELECT,
    }
)


@dataclass
class Answers:
    """What a member sends with a form.

    Args:
        values: Answers by custom_id: text, true/false, or a list for menus and checkbox groups. What is missing
            stays as the form had it.
        files: Uploads by custom_id.
        builder: Keeps uploads and fills `resolved`.
    """

    values: dict[str, Any]
    files: dict[str, list[Upload]]
    builder: OptionBuilder


def submitted_components(
    components: Sequence[dict[str, Any]], answers: Answers, label: str = ""
) -> list[dict[str, Any]]:
    """The form's tree with the member's answers.

    Raises:
        Refused: An answer is missing, too long, too short, or not one of those offered.
    """
    answered: list[dict[str, Any]] = []
    for node in components:
        kind = node["type"]
        shell: dict[str, Any] = {"type": kind, "id": node.get("id")}
        if kind == ComponentType.ACTION_ROW:
            shell["components"] = submitted_components(node["components"], answers)
        elif kind == ComponentType.LABEL:
            shell["component"] = submitted_components([node["component"]], answers, node["label"])[0]
        elif kind != ComponentType.TEXT_DISPLAY:
            name = str(node.get("label") or label or node["custom_id"])
            shell |= {"custom_id": node["custom_id"]} | _answer(node, name, answers)
        answered.append(shell)
    return answered


def _answer(node: dict[str, Any], name: str, answers: Answers) -> dict[str, Any]:
    kind, custom_id = node["type"], node["custom_id"]
    given = answers.values.get(custom_id)
    if kind == ComponentType.FILE_UPLOAD:
        uploads = answers.files.get(custom_id, [])
        _count(node, name, len(uploads), "file")
        return {"values": [answers.builder.store(upload) for upload in uploads]}
    if kind == ComponentType.TEXT_INPUT:
        return {"value": _text(node, name, node.get("value") if given is None else given)}
    if kind == ComponentType.CHECKBOX:
        return {"value": bool(node.get("default") if given is None else given)}
    offered = {option["value"]: bool(option.get("default")) for option in node.get("options") or []}
    if kind == ComponentType.RADIO_GROUP:
        preset = next((value for value, default in offered.items() if default), None)
        value = (preset if given is None else given) or None
        _count(node, name, 0 if value is None else 1, "choice")
        return {"value": _offered([value], offered, node, name)[0] if value is not None else None}
    picked: list[str] = [value for value, default in offered.items() if default] if given is None else list(given)
    if kind in SELECTS:
        _count(node, name, len(picked), "choice")
        return {"values": chosen(node, name, picked, answers.builder)}
    _count({"max_values": len(offered), **node}, name, len(picked), "choice")
    return {"values": _offered(picked, offered, node, name)}


def _text(node: dict[str, Any], name: str, given: object) -> str:
    text = "" if given is None else str(given)
    if not text:
        if node.get("required", True):
            raise Refused(f"{name} has to be filled in.", node["custom_id"])
        return ""
    shortest, longest = node.get("min_length") or 0, node.get("max_length") or 4000
    if not shortest <= len(text) <= longest:
        wanted = f"at most {longest}" if len(text) > longest else f"at least {shortest}"
        raise Refused(f"{name} takes {wanted} characters; these are {len(text)}.", node["custom_id"])
    return text


def _count(node: dict[str, Any], name: str, number: int, what: str) -> None:
    if number == 0 and not node.get("required", True):
        return
    problem = count_problem(node, name, number, what)
    if problem is not None:
        raise Refused(problem, node["custom_id"])


def _offered(picked: list[str], offered: dict[str, bool], node: dict[str, Any], name: str) -> list[str]:
    for value in picked:
        if value not in offered or picked.count(value) > 1:
            raise Refused(f"{value} is not a choice of {name}.", node["custom_id"])
    return picked
