"""Sizes as members type them, and as they are offered."""

import pytest

from bot.chat.commands.options import MODEL_DEFAULT, offered_sizes, parse_size
from bot.errors import UserError
from generation.request import ImageRequest, ModelDefaults


@pytest.mark.parametrize("text", [None, "", " ", "default", "Model Default"])
def test_no_size_leaves_it_to_the_model(text: str | None) -> None:
    assert parse_size(text) == (None, None)


@pytest.mark.parametrize("text", ["512x768", "512×768", " 512 X 768 ", "512*768"])
def test_a_size_as_people_write_it(text: str) -> None:
    assert parse_size(text) == (512, 768)


@pytest.mark.parametrize("text", ["512", "big", "512x", "x512", "-512x512", "512x768x3", "1e3x4", "9" * 99])
def test_what_is_no_size_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match="size must be written as width×height"):
        parse_size(text)


@pytest.mark.parametrize(
    "defaults",
    [
        ModelDefaults(width=64, height=64, size_multiple=8, max_pixels=128 * 128),
        ModelDefaults(width=64, height=64, size_multiple=32, max_pixels=64 * 64),
        ModelDefaults(width=512, height=512, size_multiple=8, max_pixels=1024 * 1024),
        ModelDefaults(width=1024, height=1024, size_multiple=64, max_pixels=1024 * 1024),
    ],
)
def test_every_offered_size_can_be_drawn(defaults: ModelDefaults) -> None:
    offered = offered_sizes(defaults)
    assert offered[0] == (f"model default ({defaults.width}×{defaults.height})", MODEL_DEFAULT)
    assert len({value for _, value in offered}) == len(offered) <= 25
    for _, value in offered:
        width, height = parse_size(value)
        ImageRequest(prompt="x", seed=1, width=width, height=height).with_defaults(defaults)


def test_before_a_model_is_loaded_only_its_default_is_offered() -> None:
    assert offered_sizes(None) == [(MODEL_DEFAULT, MODEL_DEFAULT)]
