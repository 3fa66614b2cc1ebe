"""Forms and menus: what Discord's client lets a member send, by its documentation of components."""

import io
from typing import Any

import pytest

from bot.playground.menus import chosen, count_problem
from bot.playground.modals import Answers, submitted_components
from bot.playground.options import OptionBuilder, Refused
from bot.playground.uploads import Upload
from bot.playground.world import World


@pytest.fixture
def world() -> World:
    return World("http://127.0.0.1:1")


def builder(world: World) -> OptionBuilder:
    return OptionBuilder(world, world.guild.channel_ids[0], world.people[0])


def submit(world: World, component: dict[str, Any], value: Any = None, files: int = 0) -> Any:
    """What a bot receives for one labelled component that was answered like this."""
    node = {"custom_id": "c", **component}
    uploads = [Upload(f"{n}.png", io.BytesIO(b"x")) for n in range(files)]
    answers = Answers({} if value is None else {"c": value}, {"c": uploads}, builder(world))
    (label,) = submitted_components([{"type": 18, "id": 1, "label": "Prompt", "component": node}], answers)
    assert (label["type"], label["component"]["custom_id"]) == (18, "c")
    return label["component"].get("value", label["component"].get("values"))


def offered(*values: str, default: str = "") -> list[dict[str, Any]]:
    return [{"label": value, "value": value, "default": value == default} for value in values]


def test_text_keeps_what_the_form_was_prefilled_with(world: World) -> None:
    """ "value: Value to pre-fill this text input"."""
    prefilled = {"type": 4, "style": 1, "value": "a red apple"}
    assert submit(world, prefilled) == "a red apple"
    assert submit(world, prefilled, "a fox") == "a fox"
    assert submit(world, {**prefilled, "required": False}, "") == ""


@pytest.mark.parametrize(
    ("more", "text", "sentence"),
    [
        ({}, "", "Prompt has to be filled in."),  # "required … defaults to true"
        ({"max_length": 5}, "sixsix", "Prompt takes at most 5 characters; these are 6."),
        ({"min_length": 3}, "ab", "Prompt takes at least 3 characters; these are 2."),
        ({}, "x" * 4001, "Prompt takes at most 4000 characters; these are 4001."),
    ],
)
def test_text_that_does_not_fit(world: World, more: dict[str, Any], text: str, sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        submit(world, {"type": 4, "style": 1, **more}, text)
    assert (str(refused.value), refused.value.option) == (sentence, "c")


def test_an_empty_optional_text_may_be_shorter_than_its_least(world: World) -> None:
    assert submit(world, {"type": 4, "style": 1, "min_length": 3, "required": False}, "") == ""


def test_files(world: World) -> None:
    """ "min_values … 0-10, defaults to 1", "max_values … max 10, defaults to 1", "required … defaults to true"."""
    upload = {"type": 19, "min_values": 2, "max_values": 3}
    assert len(submit(world, upload, files=3)) == 3
    assert submit(world, {"type": 19, "required": False}) == []
    for component, files in ((upload, 1), (upload, 4), ({"type": 19}, 0), ({"type": 19}, 2)):
        with pytest.raises(Refused, match=r"Prompt takes .* file"):
            submit(world, component, files=files)


def test_menu(world: World) -> None:
    menu = {"type": 3, "options": offered("a", "b", "c", default="b"), "max_values": 2}
    assert submit(world, menu) == ["b"]
    assert submit(world, menu, ["a", "c"]) == ["a", "c"]
    assert submit(world, {**menu, "required": False}, []) == []
    for values in ([], ["a", "b", "c"], ["d"], ["a", "a"]):
        with pytest.raises(Refused):
            submit(world, menu, values)


def test_radio_and_checkboxes(world: World) -> None:
    """A radio group's `value` is null where nothing is chosen; a checkbox group takes 1 to all of its options."""
    radio = {"type": 21, "options": offered("a", "b", default="a")}
    assert submit(world, radio) == "a"
    assert submit(world, radio, "b") == "b"
    assert submit(world, {"type": 21, "options": offered("a", "b"), "required": False}) is None
    boxes = {"type": 22, "options": offered("a", "b")}
    assert submit(world, boxes, ["a", "b"]) == ["a", "b"]
    assert submit(world, {"type": 23, "default": True}) is True
    assert submit(world, {"type": 23, "default": True}, False) is False
    for component, value in ((radio, "d"), (boxes, []), (boxes, ["d"])):
        with pytest.raises(Refused):
            submit(world, component, value)


def test_menus_of_members_and_channels_fill_resolved(world: World) -> None:
    """ "resolved: Resolved entities from selected options"."""
    filled, robin, studio = builder(world), str(world.people[1]), str(world.guild.channel_ids[0])
    menu = {"type": 5, "custom_id": "c"}
    assert chosen(menu, "Who", [robin], filled) == [robin]
    assert filled.resolved["users"][robin]["username"] == "robin"
    assert "user" not in filled.resolved["members"][robin]
    assert chosen({"type": 8, "custom_id": "c"}, "Where", [studio], filled) == [studio]
    assert filled.resolved["channels"][studio]["name"] == "studio"
    role = next(str(role.id) for role in world.guild.roles.values() if role.name == "Moderator")
    assert chosen({"type": 7, "custom_id": "c"}, "Which", [role], filled) == [role]
    assert filled.resolved["roles"][role]["name"] == "Moderator"
    for values in ([studio], ["1"], ["nobody"], [robin, robin]):
        with pytest.raises(Refused):
            chosen(menu, "Who", values, builder(world))


@pytest.mark.parametrize(
    ("node", "number", "problem"),
    [
        ({}, 1, None),
        ({}, 0, "The menu takes 1 choice; here are 0."),
        ({"min_values": 0}, 0, None),
        ({"min_values": 2, "max_values": 3}, 4, "The menu takes 2 to 3 choices; here are 4."),
        ({"min_values": 2, "max_values": 2}, 1, "The menu takes 2 choices; here are 1."),
    ],
)
def test_count(node: dict[str, Any], number: int, problem: str | None) -> None:
    """ "min_values: … defaults to 1", "max_values: … defaults to 1"."""
    assert count_problem(node, "The menu", number, "choice") == problem
