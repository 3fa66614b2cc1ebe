from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation import limits
from generation.limits import SCHEDULERS
from generation.request import ConceptUse, ImageRequest, InvalidRequest, ModelDefaults

DEFAULTS = ModelDefaults(num_inference_steps=20, width=64, height=64, size_multiple=16, max_pixels=128 * 128)


def request(**changes: Any) -> ImageRequest:
    return ImageRequest(**{"prompt": "a red apple", "seed": 7, **changes})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("guidance_scale", 99),
        ("guidance_scale", 0.5),
        ("guidance_scale", math.nan),
        ("guidance_scale", math.inf),
        ("guidance_scale", True),
        ("guidance_scale", "7.5"),
        ("num_inference_steps", 0),
        ("num_inference_steps", 151),
        ("num_inference_steps", 20.0),
        ("num_inference_steps", True),
        ("seed", -1),
        ("seed", 2**53),
        ("seed", None),
        ("width", 65),
        ("width", 56),
        ("height", 2056),
        ("count", 0),
        ("count", 17),
        ("count", True),
        ("prompt", ""),
        ("prompt", " \n\x00 "),
        ("prompt", []),
        ("prompt", ["an apple", ""]),
        ("prompt", 5),
        ("prompt", ["an apple", None]),
        ("prompt", "x" * 6000),
        ("prompt", ["x"] * 17),
        ("negative_prompt", "x" * 2001),
        ("negative_prompt", None),
        ("strength", 0.5),
        ("init_image", ""),
        ("scheduler", "magic"),
        ("scheduler", ""),
    ],
)
def test_a_wrong_value_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(**{field: value})
    assert caught.value.field == field
    assert field in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("strength", [0.0, 0.04, 1.01, math.nan, True])
def test_strength_has_a_range(strength: float) -> None:
    with pytest.raises(InvalidRequest, match=r"strength must be a number from 0\.05 to 1"):
        request(init_image="start.png", strength=strength)


def test_the_sentence_says_field_value_and_range() -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(guidance_scale=99)
    assert str(caught.value) == "guidance_scale must be a number from 1 to 30, not 99."
    with pytest.raises(InvalidRequest) as caught:
        request(prompt="x" * 6000)
    assert str(caught.value) == "prompt must be at most 2,000 characters long, not 6,000 characters."


@given(st.text(max_size=80))
def test_whatever_is_said_becomes_one_encodable_line(text: str) -> None:
    made = ImageRequest(prompt="x" + text, seed=1, negative_prompt=text)
    for kept in (made.prompts[0], made.negative_prompt):
        kept.encode()
        assert len(kept.splitlines()) <= 1
        assert "\x00" not in kept


def test_the_longest_prompt_is_kept_whole() -> None:
    assert request(prompt="x" * 2000).prompt == "x" * 2000


def test_control_characters_and_turned_text_are_taken_out() -> None:
    made = request(prompt="a\x00 red\u202e apple\n\tin  the\ud800 sun ")
    assert made.prompt == "a red apple in the sun"


def test_joined_emoji_and_other_scripts_are_kept() -> None:
    text = "👩‍🎨 рисует яблоко リンゴ"
    assert request(prompt=text).prompt == text


def test_a_start_image_can_do_without_words() -> None:
    assert request(prompt="", init_image="start.png").prompt == ""


def test_survives_json() -> None:
    made = request(prompt=["a", "b"], count=2, init_image="x.png", strength=1, scheduler="ddim", guidance_scale=3)
    assert msgspec.json.decode(msgspec.json.encode(made), type=ImageRequest) == made


def test_json_is_checked_like_everything_else() -> None:
    with pytest.raises(msgspec.ValidationError, match="guidance_scale must be"):
        msgspec.json.decode(b'{"prompt": "a", "seed": 1, "guidance_scale": 99}', type=ImageRequest)


def test_pictures_of_one_prompt_come_together() -> None:
    made = request(prompt=["a", "b"], count=2)
    assert made.total_images == 4
    assert [made.prompt_of(index) for index in range(4)] == ["a", "a", "b", "b"]


def test_the_last_pictures_seed_is_in_range_too() -> None:
    assert request(seed=limits.SEED_MAX - 3, count=4).seed + 3 == limits.SEED_MAX
    with pytest.raises(InvalidRequest, match="seed"):
        request(seed=limits.SEED_MAX - 2, count=4)


def test_too_many_pictures_in_all() -> None:
    with pytest.raises(InvalidRequest, match="count must be at most 5 with 3 prompts"):
        request(prompt=["a", "b", "c"], count=6)


def test_defaults_of_a_model_fill_what_was_not_said() -> None:
    full = request().with_defaults(DEFAULTS)
    assert (full.num_inference_steps, full.width, full.height, full.strength) == (20, 64, 64, None)
    assert full.with_defaults(DEFAULTS) == full


def test_what_was_said_stays() -> None:
    full = request(num_inference_steps=5, width=128, guidance_scale=3).with_defaults(DEFAULTS)
    assert (full.num_inference_steps, full.width, full.height, full.guidance_scale) == (5, 128, 64, 3)


def test_a_start_image_gets_the_usual_strength() -> None:
    assert request(init_image="x.png").with_defaults(DEFAULTS).strength == 0.8


def test_sizes_that_a_model_cannot_draw() -> None:
    with pytest.raises(InvalidRequest, match="width must be a multiple of 16 for this model, not 72"):
        request(width=72).with_defaults(DEFAULTS)
    with pytest.raises(InvalidRequest, match="size must be at most 16,384 pixels"):
        request(width=256, height=128).with_defaults(DEFAULTS)


def test_a_strength_that_leaves_nothing_to_do() -> None:
    with pytest.raises(InvalidRequest, match=r"num_inference_steps must be at least 10 at strength 0\.1, not 5"):
        request(init_image="x.png", strength=0.1, num_inference_steps=5).with_defaults(DEFAULTS)
    assert request(init_image="x.png", strength=0.1, num_inference_steps=10).with_defaults(DEFAULTS)


def test_every_scheduler_has_its_own_label() -> None:
    assert len({choice.label for choice in SCHEDULERS.values()}) == len(SCHEDULERS)


def test_distilled_samplers_have_a_greatest_number_of_steps() -> None:
    asked = ImageRequest(prompt="a cat", seed=1, scheduler="lcm", num_inference_steps=51)
    with pytest.raises(InvalidRequest, match="num_inference_steps must be at most 50 with LCM, not 51"):
        asked.with_defaults(ModelDefaults())


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"name": "Cat", "path": "a"},
            "concept name must be 1 to 32 lower case letters, digits and hyphens",
        ),
        ({"name": "cat", "path": ""}, "concept path must be the path of a safetensors file"),
        ({"name": "cat", "path": "a", "weight": 2.5}, "concept weight must be a number from -2 to 2, not 2.5"),
        ({"name": "cat", "path": "a", "weight": float("nan")}, "concept weight must be a number from -2 to 2"),
    ],
)
def test_a_concept_is_checked_by_field(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        ConceptUse(**values)


def test_concepts_are_few_and_named_once() -> None:
    def ask(*names: str, **values: object) -> ImageRequest:
        uses = [ConceptUse(name=name, path="x.safetensors") for name in names]
        return ImageRequest(prompt="a cat", seed=1, concepts=uses, **values)

    assert len(ask(*"abcdefgh").concepts) == 8
    with pytest.raises(InvalidRequest, match="concepts must be at most 8, not 9 concepts"):
        ask(*"abcdefghi")
    with pytest.raises(InvalidRequest, match="concepts must be named once each, not “a”"):
        ask("a", "b", "a")
    with pytest.raises(InvalidRequest, match="clip_skip must be a whole number from 0 to 11, not 12"):
        ask("a", clip_skip=12)


def test_concepts_survive_json() -> None:
    use = ConceptUse(name="cat", path="x.safetensors", weight=0.5, trigger="zq cat")
    asked = ImageRequest(prompt="a <cat>", seed=1, concepts=[use], clip_skip=2)
    assert msgspec.json.decode(msgspec.json.encode(asked), type=ImageRequest) == asked
