"""The form behind Remix: what it shows, and which request its fields stand for."""

from __future__ import annotations

import dataclasses

import pytest

from bot.chat.remix_form import RemixForm, Typed, prefilled, request_of, values_in
from bot.chat.requests import MEDIUM_STRENGTH, Basis
from bot.errors import UserError
from generation.prompt import PromptError
from generation.request import InvalidRequest

BASIS = Basis(
    prompt="a red apple",
    negative_prompt="blue",
    guidance_scale=6.5,
    num_inference_steps=12,
    size=(64, 128),
    scheduler="euler",
)


def typed(basis: Basis = BASIS, **changes: str) -> Typed:
    return dataclasses.replace(prefilled(basis), **changes)  # pyright: ignore[reportArgumentType]


def test_it_opens_with_the_recipe() -> None:
    assert prefilled(BASIS) == Typed("a red apple", "blue", "6.5", f"{MEDIUM_STRENGTH:g}")


async def test_it_has_what_discord_allows() -> None:
    """https://docs.discord.com/developers/components/reference: 5 components, title and labels 45, descriptions 100,
    text 4,000, options' labels and values 100 characters."""
    basis = dataclasses.replace(BASIS, prompt="{" * 2000, negative_prompt="n" * 2000)
    choices = [(number, f"Picture {number + 1}") for number in range(4)]
    form = RemixForm("atelier:remix-of:" + "9" * 20 + ":" + "9" * 20, basis, choices, selected=2).to_dict()
    assert len(form["custom_id"]) <= 100
    assert len(form["title"]) <= 45
    assert len(form["components"]) == 5
    for label in form["components"]:
        assert label["type"] == 18
        assert len(label["label"]) <= 45
        assert len(label.get("description", "")) <= 100
        field = label["component"]
        if field["type"] == 4:
            assert len(field["value"]) <= field["max_length"] <= 4000
    (select,) = (label["component"] for label in form["components"] if label["component"]["type"] == 3)
    assert [option["default"] for option in select["options"]] == [False, False, True, False]


async def test_one_picture_needs_no_choice() -> None:
    form = RemixForm("atelier:remix:j:0", BASIS, [(0, "Picture 1")], selected=0).to_dict()
    assert [label["component"]["custom_id"] for label in form["components"]] == [
        "prompt",
        "negative prompt",
        "guidance",
        "strength",
    ]


def test_sent_back_as_it_was_it_is_the_recipe_from_the_picture() -> None:
    request = request_of(typed(), BASIS, "start", seed=7)
    assert request.prompt == "a red apple"
    assert request.negative_prompt == "blue"
    assert request.guidance_scale == 6.5
    assert request.num_inference_steps == 12
    assert (request.width, request.height) == (64, 128)
    assert request.scheduler == "euler"
    assert (request.seed, request.count) == (7, 1)
    assert (request.init_image, request.strength) == ("start", MEDIUM_STRENGTH)


def test_what_is_typed_is_drawn() -> None:
    request = request_of(
        typed(prompt=" a green\napple ", negative_prompt="", guidance="3", strength="0,25"), BASIS, "start", seed=7
    )
    assert request.prompt == "a green apple"
    assert request.negative_prompt == ""
    assert request.guidance_scale == 3
    assert request.strength == 0.25


def test_an_empty_prompt_is_the_same_words() -> None:
    assert request_of(typed(prompt=""), BASIS, "start", seed=7).prompt == "a red apple"
    assert request_of(typed(prompt="--count 2"), BASIS, "start", seed=7).prompt == "a red apple"


def test_a_picture_without_words_is_drawn_without_words() -> None:
    assert request_of(typed(Basis()), Basis(), "start", seed=7).prompt == ""


def test_flags_and_choices_work_as_everywhere() -> None:
    request = request_of(
        typed(
            prompt="a {red, green} apple --no worm --cfg 2 --seed 5 --steps 30 --strength 0.5 --size 128x64 --count 3"
        ),
        BASIS,
        "start",
        seed=7,
    )
    assert request.prompt == ["a red apple", "a green apple"]
    assert request.negative_prompt == "worm"
    assert (request.guidance_scale, request.strength) == (2, 0.5)
    assert (request.seed, request.num_inference_steps, request.count) == (5, 30, 3)
    assert (request.width, request.height) == (128, 64)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": "x --cfg 2", "guidance": "3"}, "guidance is 3 in its field and 2 after --cfg"),
        ({"prompt": "x --strength 0.2", "strength": "0.9"}, "strength is 0.9 in its field and 0.2 after --strength"),
        ({"prompt": "x --no cats", "negative_prompt": "dogs"}, "negative prompt is in its field and after --no"),
    ],
)
def test_a_changed_field_and_a_flag_that_differ_are_said(changes: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        request_of(typed(BASIS, **changes), BASIS, "start", seed=7)


def test_a_changed_field_and_a_flag_that_agree_are_fine() -> None:
    request = request_of(
        typed(prompt="x --cfg 3 --no cats", guidance="3.0", negative_prompt=" cats"), BASIS, "start", seed=7
    )
    assert (request.guidance_scale, request.negative_prompt) == (3, "cats")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("guidance", "much", "guidance must be a number from 1 to 30, not “much”."),
        ("guidance", "31", "guidance must be a number from 1 to 30, not 31."),
        ("guidance", "nan", "guidance must be a number from 1 to 30, not “nan”."),
        ("guidance", "1e1", "guidance must be a number from 1 to 30, not 1e1."),
        ("strength", "0", "strength must be a number from 0.05 to 1, not 0."),
        ("strength", "٣", "strength must be a number from 0.05 to 1, not ٣."),
    ],
)
def test_a_wrong_number_is_named(field: str, value: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        request_of(typed(BASIS, **{field: value}), BASIS, "start", seed=7)
    assert str(refused.value) == said


def test_wrong_flags_and_too_long_prompts_are_refused() -> None:
    with pytest.raises(PromptError, match="--steps"):
        request_of(typed(prompt="x --stpes 3"), BASIS, "start", seed=7)
    with pytest.raises(InvalidRequest, match="prompt"):
        request_of(typed(prompt="x" * 2001), BASIS, "start", seed=7)


@pytest.mark.parametrize("prompt", ["a {red, green} apple", "a \\{red, green} apple", "{}", "{a, b", "a --stpes 3 b"])
def test_braces_and_dashes_of_a_recipe_stay_what_they_were(prompt: str) -> None:
    basis = Basis(prompt=prompt)
    assert request_of(typed(basis), basis, "start", seed=7).prompt == prompt


@pytest.mark.parametrize("prompt", ["a {red, green} apple", "a \\{red, green} apple", "{}", "{a, b", "{{a, b}, c}"])
def test_braces_of_a_recipe_stay_so_when_somebody_types_around_them(prompt: str) -> None:
    basis = Basis(prompt=prompt)
    more = prefilled(basis).prompt + " at night"
    assert request_of(typed(basis, prompt=more), basis, "start", seed=7).prompt == prompt + " at night"


def test_a_recipe_of_one_step_still_has_one_to_do() -> None:
    basis = dataclasses.replace(BASIS, num_inference_steps=1)
    request = request_of(typed(basis, strength="0.3"), basis, "start", seed=7)
    assert request.num_inference_steps == 4  # int(4 * 0.3) = 1
    request = request_of(typed(basis, prompt="x --steps 20", strength="0.3"), basis, "start", seed=7)
    assert request.num_inference_steps == 20


def test_values_are_found_in_labels_and_rows() -> None:
    """As documented: https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object-modal-submit-data-structure"""
    components = [
        {"type": 10, "id": 1},
        {"type": 18, "id": 2, "component": {"type": 4, "id": 3, "custom_id": "prompt", "value": "a cat"}},
        {"type": 18, "id": 4, "component": {"type": 3, "id": 5, "custom_id": "picture", "values": ["2"]}},
        {"type": 1, "id": 6, "components": [{"type": 4, "id": 7, "custom_id": "guidance", "value": "3"}]},
        {"type": 18, "id": 8, "component": {"type": 3, "id": 9, "custom_id": "none", "values": []}},
    ]
    assert values_in(components) == {"prompt": "a cat", "picture": "2", "guidance": "3"}
    assert Typed.of(values_in(components)).number == 2


@pytest.mark.parametrize("picture", ["", "x", "-1", "²", "1.0"])
def test_a_forged_choice_is_none(picture: str) -> None:
    assert Typed.of({"picture": picture}).number is None
