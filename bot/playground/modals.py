"""Forms (modals): what a member filled in, in the shape that a bot receives it."""

from collections.abc import Callable, Sequence
from typing import Any

from simcord.enums import ComponentType

from bot.playground.uploads import Upload

_TEXT = {ComponentType.TEXT_INPUT, ComponentType.RADIO_GROUP, ComponentType.CHECKBOX}
_LISTS = {ComponentType.STRING_SELECT, ComponentType.CHECKBOX_GROUP}


def submitted_components(
    components: Sequence[dict[str, Any]],
    values: dict[str, Any],
    files: dict[str, list[Upload]],
    store: Callable[[Upload], str],
) -> list[dict[str, Any]]:
    """The form's tree with the member's answers.

    Args:
        values: Answers by custom_id: text, true/false, or a list for menus and checkbox groups.
        files: Uploads by custom_id.
        store: Keeps an upload and returns its attachment id.
    """
    answered: list[dict[str, Any]] = []
    for node in components:
        kind = node["type"]
        shell: dict[str, Any] = {"type": kind, "id": node.get("id")}
        if kind == ComponentType.ACTION_ROW:
            shell["components"] = submitted_components(node["components"], values, files, store)
        elif kind == ComponentType.LABEL:
            shell["component"] = submitted_components([node["component"]], values, files, store)[0]
        elif kind != ComponentType.TEXT_DISPLAY:
            shell |= {"custom_id": node["custom_id"]} | _answer(node, values, files, store)
        answered.append(shell)
    return answered


def _answer(
    node: dict[str, Any],
    values: dict[str, Any],
    files: dict[str, list[Upload]],
    store: Callable[[Upload], str],
) -> dict[str, Any]:
    kind, custom_id = node["type"], node["custom_id"]
    if kind == ComponentType.FILE_UPLOAD:
        return {"values": [store(upload) for upload in files.get(custom_id, [])]}
    if kind in _TEXT:
        empty: Any = False if kind == ComponentType.CHECKBOX else ""
        return {"value": values.get(custom_id, node.get("value", node.get("default", empty)))}
    return {"values": list(values.get(custom_id) or [])}
