"""Menus of a message or a form: how many may be chosen, and of what."""

from typing import Any

from simcord.enums import ComponentType

from bot.playground.options import OptionBuilder, Refused


def count_problem(node: dict[str, Any], name: str, number: int, what: str) -> str | None:
    """A sentence where fewer or more are chosen than the menu takes ("min_values … defaults to 1, max_values …
    defaults to 1")."""
    fewest, most = node.get("min_values"), node.get("max_values")
    fewest, most = 1 if fewest is None else int(fewest), 1 if most is None else int(most)
    if fewest <= number <= most:
        return None
    wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
    return f"{name} takes {wanted} {what}{'' if fewest == most == 1 else 's'}; here are {number}."


def chosen(node: dict[str, Any], name: str, values: list[str], builder: OptionBuilder) -> list[str]:
    """What was chosen in a menu; members, roles and channels go into `resolved`.

    Raises:
        Refused: Something is not offered there, or chosen twice.
    """
    custom_id = node["custom_id"]
    for value in values:
        if values.count(value) > 1:
            raise Refused(f"{value} is chosen twice in {name}.", custom_id)
        if node["type"] == ComponentType.STRING_SELECT:
            if value not in [option["value"] for option in node["options"]]:
                raise Refused(f"{value} is not a choice of {name}.", custom_id)
        elif builder.resolve(value) not in _KINDS[node["type"]]:
            raise Refused(f"{name} takes something else.", custom_id)
    return [str(value) for value in values]


_KINDS = {
    ComponentType.USER_SELECT: ("users",),
    ComponentType.ROLE_SELECT: ("roles",),
    ComponentType.MENTIONABLE_SELECT: ("users", "roles"),
    ComponentType.CHANNEL_SELECT: ("channels",),
}
