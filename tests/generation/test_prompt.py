"""The grammar of what members type, by example and by property."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.prompt import PromptError, PromptText, nearest_flag, parse_prompt, refuse_too_many
from generation.request import ImageRequest, InvalidRequest, tidied


def understood(text: str) -> PromptText | PromptError:
    try:
        return parse_prompt(text)
    except PromptError as error:
        return error


def refused(text: str, **values: int) -> PromptError:
    with pytest.raises(PromptError) as caught:
        parse_prompt(text, **values)
    return caught.value


# ── flags ──


def test_every_flag() -> None:
    text = (
        "a red apple --no blue, sky --cfg 4.5 --seed 12 on a table --steps 30 --strength .6 --size 512x768 --count 2"
    )
    assert parse_prompt(text) == PromptText(
        prompts=["a red apple on a table"],
        negative_prompt="blue, sky",
        guidance_scale=4.5,
        seed=12,
        num_inference_steps=30,
        strength=0.6,
        size=(512, 768),
        count=2,
    )


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_nothing_typed_is_one_empty_prompt(text: str) -> None:
    assert parse_prompt(text) == PromptText(prompts=[""])


@pytest.mark.parametrize(
    "text",
    [
        "apple --cfg 7 --steps 20",
        "apple --cfg=7 --steps=20",
        "apple —cfg 7 –steps 20",
        "apple --CFG 7, --Steps 20,",
        "--steps 20 --cfg +7.0 apple",
        "--cfg 7\n--steps 20\napple",
        "--cfg 7,0 --steps 20 apple",
    ],
)
def test_ways_to_write_the_same(text: str) -> None:
    assert parse_prompt(text) == PromptText(prompts=["apple"], guidance_scale=7.0, num_inference_steps=20)


@pytest.mark.parametrize("size", ["512x768", "512X768", "512×768", "512*768"])
def test_sizes(size: str) -> None:
    assert parse_prompt(f"apple --size {size}").size == (512, 768)


def test_what_to_leave_out_may_be_said_in_several_places() -> None:
    parsed = parse_prompt("a house --no blue, --no={red, green} roof --seed 1 in snow --no text")
    assert parsed.negative_prompt == "blue, {red, green} roof, text"
    assert parsed.prompts == ["a house in snow"]


@pytest.mark.parametrize(
    "text", ["a -- b", "a — b – c", "--", "b --1", "well--no", "mid—no", "\\--no", "-no", "---no"]
)
def test_dashes_that_are_text(text: str) -> None:
    assert parse_prompt(text) == PromptText(prompts=[text])


@pytest.mark.parametrize(
    ("text", "flag", "sentence"),
    [
        ("--cfg 31", "--cfg", "--cfg must be a number from 1 to 30, not 31."),
        ("--cfg 0.5", "--cfg", "--cfg must be a number from 1 to 30, not 0.5."),
        ("--cfg nan", "--cfg", "--cfg must be a number from 1 to 30, not “nan”."),
        ("--seed -1", "--seed", "--seed must be a whole number from 0 to 9007199254740991, not “-1”."),
        ("--seed 1_0", "--seed", "--seed must be a whole number from 0 to 9007199254740991, not 1_0."),
        ("--steps 151", "--steps", "--steps must be a whole number from 1 to 150, not 151."),
        ("--steps 2.5", "--steps", "--steps must be a whole number from 1 to 150, not 2.5."),
        ("--strength 0", "--strength", "--strength must be a number from 0.05 to 1, not 0."),
        ("--count 9", "--count", "--count must be a whole number from 1 to 8, not 9."),
        ("--count 0", "--count", "--count must be a whole number from 1 to 8, not 0."),
    ],
)
def test_values_out_of_range_are_told_with_the_range(text: str, flag: str, sentence: str) -> None:
    error = refused(f"apple {text}")
    assert (error.flag, str(error)) == (flag, sentence)


@pytest.mark.parametrize("size", ["512", "512x", "510x512", "512x56", "512x2056", "0x0", "512x512x512", "x", "３x３"])
def test_sizes_that_nothing_has(size: str) -> None:
    error = refused(f"apple --size {size}")
    assert error.flag == "--size"
    assert re.search(r"from 64 to 2048 in steps of 8 .*not .*" + size[:3], str(error))


@pytest.mark.parametrize("flag", ["--no", "--cfg", "--seed", "--steps", "--strength", "--size", "--count"])
@pytest.mark.parametrize("then", ["", " ,", "=", " --no blue", " —no blue"])
def test_a_flag_needs_its_value(flag: str, then: str) -> None:
    error = refused(f"apple {flag}{then}")
    assert error.flag == flag
    assert str(error).startswith(f"{flag} needs something after it, such as {flag} ")


def test_a_flag_is_said_once() -> None:
    error = refused("apple --seed 1 --seed=1")
    assert (error.flag, str(error)) == ("--seed", "--seed is there twice: say it once.")


def test_a_member_is_told_the_nearest_flag() -> None:
    error = refused("apple --stpes 20")
    assert (error.flag, str(error)) == ("--stpes", "--stpes is not a flag: did you mean --steps?")
    assert str(refused("apple —ar 3:2")) == "--ar is not a flag: did you mean --size?"


def test_where_nothing_is_near_there_is_the_list() -> None:
    every = "--no, --cfg, --seed, --steps, --strength, --size, --count"
    assert str(refused("apple --chaos 5")) == f"--chaos is not a flag: there are {every}."
    assert str(refused("—dijo")).endswith("--count (a dash with a space after it is text).")
    assert len(str(refused("--" + "w" * 6000))) < 250


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("stpes", "--steps"), ("--steps20", "--steps"), ("—sed", "--seed"), ("cgf", "--cfg"), ("cuont", "--count"),
        ("Strenght", "--strength"), ("sieze", "--size"), ("no,", "--no"), ("guidence", "--cfg"), ("negativ", "--no"),
        ("ar", "--size"), ("neg", "--no"), ("negative-prompt", "--no"), ("scale", "--cfg"), ("n", "--count"),
        ("iw", "--strength"), ("denoise", "--strength"), ("s", "--steps"), ("width", "--size"), ("no", "--no"),
        ("chaos", None), ("an", None), ("", None),
    ],
)  # fmt: skip
def test_nearest_flag(typed: str, meant: str | None) -> None:
    assert nearest_flag(typed) == meant


# ── choices ──


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("a {red, green} apple", ["a red apple", "a green apple"]),
        ("{a,b} {c,d}", ["a c", "a d", "b c", "b d"]),
        ("{a,b}{c,d}e", ["ace", "ade", "bce", "bde"]),
        ("{, big} tree", ["tree", "big tree"]),
        ("{  a ,\n b }", ["a", "b"]),
        ("{a, b} --seed 1 {c, d}", ["a c", "a d", "b c", "b d"]),
        (r"{a\, b, c\}, \{} d", ["a, b d", "c} d", "{ d"]),
        (r"\{a, b\} \, \x", [r"{a, b} \, \x"]),
        (r"\{a, {b, c}\}", ["{a, b}", "{a, c}"]),
    ],
)
def test_choices_are_combined_from_left_to_right(text: str, prompts: list[str]) -> None:
    assert parse_prompt(text).prompts == prompts


@pytest.mark.parametrize(
    "text", ["{a}", "{}", "{ }", "{,}", "{a, b", "a, b}", "}a, b{", "{{a}}", "{a} b, c {d}", "{"]
)
def test_braces_that_are_text(text: str) -> None:
    assert parse_prompt(text).prompts == [text]


def test_a_group_beside_braces_that_are_text() -> None:
    assert parse_prompt("{ {a, b}").prompts == ["{ a", "{ b"]
    assert parse_prompt("{a, b}}").prompts == ["a}", "b}"]
    assert parse_prompt("{x {a, b} y}").prompts == ["{x a y}", "{x b y}"]


@pytest.mark.parametrize("text", ["{a, {b, c}}", "{{a, b}, c}", "{a, {b}}"])
def test_groups_in_groups_are_refused(text: str) -> None:
    error = refused(text)
    assert error.flag is None
    assert str(error).startswith("There are braces in braces")


def test_too_many_pictures_are_told_with_their_number() -> None:
    nine = refused("{a, b, c} {d, e, f}")
    assert (nine.flag, str(nine)) == (None, "The choices in braces make 9 pictures: 8 are the most.")
    twelve = refused("{a, b} {c, d} --count 3")
    assert (twelve.flag, str(twelve)) == ("--count", "4 prompts × 3 make 12 pictures: 8 are the most.")
    assert len(parse_prompt("{a, b} {c, d} --count 2").prompts) == 4
    assert len(parse_prompt("{a, b, c} {d, e, f}", images_at_most=9).prompts) == 9
    with pytest.raises(PromptError, match="4 prompts × 3 make 12 pictures"):
        refuse_too_many(4, 3)  # a count that the command's option said


@pytest.mark.parametrize("more", ["", " --count 2"])
def test_millions_are_refused_without_making_them(more: str) -> None:
    assert "more than 1,000,000 pictures: 8 are the most." in str(refused("{a,b}" * 1200 + more))


@pytest.mark.parametrize(
    "text", ["{" * 6000, "{a," * 2000, "}" * 6000, "{a}" * 2000, "\\{" * 3000], ids=lambda t: t[:3]
)
def test_thousands_of_braces_that_are_text(text: str) -> None:
    assert parse_prompt(text).prompts == [text.replace("\\{", "{")]


# ── properties ──

WORD = st.text(st.sampled_from("abcé猫"), min_size=1, max_size=6)
GROUPS = st.lists(st.lists(WORD, min_size=2, max_size=3), max_size=4)


@given(st.text(st.characters(exclude_characters="{}—–-")))
def test_text_without_grammar_comes_back_as_a_request_would_tidy_it(text: str) -> None:
    (prompt,) = parse_prompt(text).prompts
    assert ImageRequest(prompt=text, seed=1, init_image="x").prompt == prompt


@given(GROUPS, st.integers(1, 3))
def test_as_many_prompts_as_the_product(groups: list[list[str]], count: int) -> None:
    text = " and ".join("{" + ",".join(options) + "}" for options in groups) + f" --count {count}"
    expected = [" and ".join(chosen) for chosen in itertools.product(*groups)]
    if len(expected) * count > 8:
        assert f"make {len(expected) * count} pictures" in str(refused(text))
    else:
        assert parse_prompt(text).prompts == expected


PIECE = st.one_of(
    st.text(max_size=4),
    st.sampled_from(
        ["{", "}", ",", "\\", " ", "--", "—", "=", "no", "cfg", "size", "count", "7", "0.5", "512x64", "\0"]
    ),
    st.sampled_from([" --no ", " --cfg ", " --seed ", " --steps ", " --size ", " --count=", " {a, b} ", "\u202e"]),
)


@given(st.lists(PIECE, max_size=30).map("".join))
def test_any_text_is_understood_or_refused_in_one_line(text: str) -> None:
    parsed = understood(text)
    if isinstance(parsed, PromptError):
        sentence = str(parsed)
        assert sentence[-1] in ".?"
        assert sentence == tidied(sentence)
        assert len(sentence) < 300
        return
    assert 1 <= len(parsed.prompts) * (parsed.count or 1) <= 8
    width, height = parsed.size or (None, None)
    values = {
        "guidance_scale": parsed.guidance_scale,
        "num_inference_steps": parsed.num_inference_steps,
        "strength": parsed.strength,
        "width": width,
        "height": height,
        "count": parsed.count,
    }
    given_values = {name: value for name, value in values.items() if value is not None}
    try:
        request = ImageRequest(prompt=parsed.prompts, seed=1, init_image="x", **given_values)  # type: ignore[arg-type]
    except InvalidRequest as error:
        raise AssertionError("a flag's value that no request accepts") from error
    assert request.prompts == parsed.prompts, "tidy already"
