"""Bodies that Discord refuses with 50035 "Invalid Form Body": each limit is from its documentation."""

from typing import Any

import pytest

from tests.bot.playground.client import PlaygroundClient
from tests.bot.playground.raw import Api, form, ready


def button(custom_id: str) -> dict[str, Any]:
    return {"type": 2, "style": 1, "label": "x", "custom_id": custom_id}


def rows(*lengths: int) -> list[dict[str, Any]]:
    ids = iter(range(100))
    return [{"type": 1, "components": [button(f"b{next(ids)}") for _ in range(length)]} for length in lengths]


def label(component: dict[str, Any], text: str = "Prompt") -> dict[str, Any]:
    return {"type": 18, "label": text, "component": component}


def text_input(custom_id: str = "p", **more: Any) -> dict[str, Any]:
    return {"type": 4, "custom_id": custom_id, "style": 1, **more}


def modal(*components: dict[str, Any], title: str = "Remix", custom_id: str = "m") -> dict[str, Any]:
    return {"title": title, "custom_id": custom_id, "components": list(components)}


def option(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": "x", "type": 3, **more}


CHOICES = [{"name": f"{n}".rjust(100, "x"), "value": f"{n}".rjust(100, "x")} for n in range(10)]
"""2,000 characters: four options with them fit into a command, five don't."""
MESSAGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "content of 2,000 characters": ({"content": "x" * 2000}, {"content": "x" * 2001}),
    "5 rows of 5 buttons": ({"components": rows(5, 5, 5, 5, 5)}, {"components": rows(5, 5, 5, 5, 5, 1)}),
    "5 buttons a row": ({"components": rows(5)}, {"components": rows(6)}),
    "custom_id of 100 characters": (
        {"components": [{"type": 1, "components": [button("x" * 100)]}]},
        {"components": [{"type": 1, "components": [button("x" * 101)]}]},
    ),
    "custom_id only once": (
        {"components": [{"type": 1, "components": [button("a"), button("b")]}]},
        {"components": [{"type": 1, "components": [button("a"), button("a")]}]},
    ),
    "10 embeds": ({"embeds": [{"title": "x"}] * 10}, {"embeds": [{"title": "x"}] * 11}),
    "6,000 characters in all embeds": (
        {"embeds": [{"description": "x" * 3000}, {"description": "x" * 3000}]},
        {"embeds": [{"description": "x" * 3000}, {"description": "x" * 3001}]},
    ),
    "embed description of 4,096": (
        {"embeds": [{"description": "x" * 4096}]},
        {"embeds": [{"description": "x" * 4097}]},
    ),
    "25 options of a menu": (
        {"components": [{"type": 1, "components": [{"type": 3, "custom_id": "m", "options": "25"}]}]},
        {"components": [{"type": 1, "components": [{"type": 3, "custom_id": "m", "options": "26"}]}]},
    ),
    "not empty": ({"content": "x"}, {"content": ""}),
}
FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "title of 45": (modal(label(text_input()), title="x" * 45), modal(label(text_input()), title="x" * 46)),
    "5 components": (
        modal(*(label(text_input(str(n))) for n in range(5))),
        modal(*(label(text_input(str(n))) for n in range(6))),
    ),
    "at least one": (modal(label(text_input())), modal()),
    "custom_id of 100": (
        modal(label(text_input()), custom_id="x" * 100),
        modal(label(text_input()), custom_id="x" * 101),
    ),
    "custom_id only once": (
        modal(label(text_input("a")), label(text_input("b"))),
        modal(label(text_input("a")), label(text_input("a"))),
    ),
    "label of 45": (modal(label(text_input(), "x" * 45)), modal(label(text_input(), "x" * 46))),
    "placeholder of 100": (
        modal(label(text_input(placeholder="x" * 100))),
        modal(label(text_input(placeholder="x" * 101))),
    ),
    "prefilled value of 4,000": (
        modal(label(text_input(value="x" * 4000))),
        modal(label(text_input(value="x" * 4001))),
    ),
    "10 files": (
        modal(label({"type": 19, "custom_id": "f", "max_values": 10})),
        modal(label({"type": 19, "custom_id": "f", "max_values": 11})),
    ),
}


def spelled_out(body: dict[str, Any]) -> dict[str, Any]:
    for row in body.get("components") or []:
        for part in row.get("components") or []:
            if isinstance(part.get("options"), str):
                part["options"] = [{"label": str(n), "value": str(n)} for n in range(int(part["options"]))]
    return body


@pytest.mark.parametrize("limit", MESSAGES)
async def test_messages(api: Api, studio: str, limit: str) -> None:
    good, bad = (spelled_out(body) for body in MESSAGES[limit])
    path = f"/channels/{studio}/messages"
    status, sent, _ = await api("POST", path, json=good)
    assert status == 200, sent
    for answered, answer, _ in (
        await api("POST", path, json=bad),
        await api("PATCH", f"{path}/{sent['id']}", json=bad)
        if limit != "not empty"
        else (400, {"code": 50035}, None),
    ):
        assert (answered, answer["code"]) == (400, 50035)


async def test_alt_text_has_at_most_1024_characters(playground: PlaygroundClient, api: Api, studio: str) -> None:
    """ "description: description for the file (max 1024 characters)"."""
    path = f"/channels/{studio}/messages"
    good, bad = ([{"id": 0, "description": "x" * length}] for length in (1024, 1025))
    status, sent, _ = await api("POST", path, data=form({"attachments": good}, b"x"))
    assert (status, len(sent["attachments"][0]["description"])) == (200, 1024)
    assert (await api("POST", path, data=form({"attachments": bad}, b"x")))[1]["code"] == 50035
    kept = [{"id": sent["attachments"][0]["id"], "description": "x" * 1025}]
    assert (await api("PATCH", f"{path}/{sent['id']}", json={"attachments": kept}))[1]["code"] == 50035
    await api.commands({"name": "ping"})
    told = await _interaction(playground, studio)
    callback = form({"type": 4, "data": {"attachments": bad}}, b"x")
    path = f"/interactions/{told['id']}/{told['token']}/callback"
    assert (await api("POST", path, data=callback, headers={}))[1]["code"] == 50035
    assert (await api.answer(told, 4, content="fine"))[0] == 200  # a refused answer is not an answer


@pytest.mark.parametrize("limit", FORMS)
async def test_forms(playground: PlaygroundClient, api: Api, studio: str, limit: str) -> None:
    await api.commands({"name": "ping"})
    good, bad = FORMS[limit]
    told = await _interaction(playground, studio)
    status, answer, _ = await api.answer(told, 9, **bad)
    assert (status, answer["code"]) == (400, 50035)
    assert (await api.answer(told, 9, **good))[0] == 200


@pytest.mark.parametrize(
    "choices",
    [
        [{"name": str(n), "value": str(n)} for n in range(26)],
        [{"name": "x" * 101, "value": "x"}],
        [{"name": "", "value": "x"}],
        [{"name": "x", "value": "x" * 101}],
    ],
)
async def test_suggestions(
    playground: PlaygroundClient, api: Api, studio: str, choices: list[dict[str, str]]
) -> None:
    """ "choices: autocomplete choices (max of 25 choices)"; names have 1 to 100 characters, values at most 100."""
    option = {"name": "job", "description": "A job.", "type": 3, "autocomplete": True}
    await api.commands({"name": "cancel", "options": [option]})
    asked = {
        "type": "autocomplete",
        "channel": studio,
        "name": "cancel",
        "options": {},
        "focused": "job",
        "value": "",
    }
    socket = await ready(playground)
    await playground.call("POST", "/interactions?wait=0", json=asked)
    told = (await socket.until("INTERACTION_CREATE"))[-1]["d"]
    assert (await api.answer(told, 8, choices=choices))[1]["code"] == 50035
    assert (await api.answer(told, 8, choices=[{"name": "x" * 100, "value": "x" * 100}]))[0] == 200


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        ([{"name": "Draw", "description": "x"}], 50035),
        ([{"name": "draw", "description": ""}], 50035),
        ([{"name": "draw", "description": "x" * 101}], 50035),
        ([{"name": "draw", "description": "x", "options": [{"name": "a b", "description": "x", "type": 3}]}], 50035),
        ([{"name": "draw", "description": "x", "options": [option("a"), option("b", required=True)]}], 50035),
        ([{"name": "draw", "description": "x", "options": [option(f"o{n}") for n in range(26)]}], 50035),
        (
            [{"name": "draw", "description": "x", "options": [option(f"o{n}", choices=CHOICES) for n in range(5)]}],
            50035,
        ),
        ([{"name": f"M{n}", "type": 3} for n in range(16)], 30032),
    ],
)
async def test_commands(api: Api, commands: list[dict[str, Any]], code: int) -> None:
    """Names `^[-_'\\p{L}\\p{N}]{1,32}$` in lower case, descriptions of 1 to 100 characters; at most 15 message
    commands (30032 "Maximum number of application commands reached"); at most 25 options, "Required options must be
    listed before optional options", 8,000 characters in all."""
    _, me, _ = await api("GET", "/oauth2/applications/@me")
    status, answer, _ = await api("PUT", f"/applications/{me['id']}/commands", json=commands)
    assert (status, answer["code"]) == (400, code)
    fits = {"name": "draw", "description": "x", "options": [option("b", required=True), option("a", choices=CHOICES)]}
    assert (await api("PUT", f"/applications/{me['id']}/commands", json=[fits]))[0] == 200


async def _interaction(playground: PlaygroundClient, studio: str) -> dict[str, Any]:
    socket = await ready(playground)
    await playground.call("POST", "/interactions?wait=0", json={"type": "command", "channel": studio, "name": "ping"})
    return (await socket.until("INTERACTION_CREATE"))[-1]["d"]
