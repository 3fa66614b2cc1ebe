import errno
from string import Formatter

import pytest

from bot import errors
from bot.errors import INTERNAL_ERROR, QueueFull, UserError, sentence
from generation.image_input import ImageRefused
from generation.prompt import PromptError, parse_prompt
from generation.request import ImageRequest, InvalidRequest


def subclasses(kind: type[UserError]) -> list[type[UserError]]:
    return [found for child in kind.__subclasses__() for found in (child, *subclasses(child))]


@pytest.mark.parametrize("kind", subclasses(UserError), ids=lambda kind: kind.__name__)
def test_every_error_for_members_is_one_sentence(kind: type[UserError]) -> None:
    blanks = {name: "x" for _, name, _, _ in Formatter().parse(kind.__doc__ or "") if name}
    text = str(kind(**blanks))
    assert text.endswith(".")
    assert "{" not in text
    assert "\n" not in text
    assert kind.__module__ == errors.__name__


def test_values_are_filled_in_once() -> None:
    assert "already have 18 pictures waiting and 20" in sentence(QueueFull(waiting=18, limit=20))
    assert str(UserError("as it is: {}")) == "as it is: {}"


def test_the_table() -> None:
    with pytest.raises(InvalidRequest) as caught:
        ImageRequest(prompt="x", seed=1, guidance_scale=99)
    assert sentence(caught.value) == str(caught.value)
    assert sentence(ImageRefused("no")) == "no"
    with pytest.raises(PromptError) as mistyped:
        parse_prompt("an apple --stpes 20")
    assert sentence(mistyped.value) == "--stpes is not a flag: did you mean --steps?"
    assert "disk is full" in sentence(OSError(errno.ENOSPC, "No space left on device", "/secret/path"))
    assert sentence(PermissionError(errno.EACCES, "no", "/secret/path")) == INTERNAL_ERROR
    assert sentence(RuntimeError("inner workings")) == INTERNAL_ERROR
