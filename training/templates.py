"""The words around a concept in training captions. Light."""

from __future__ import annotations

from typing import Final

PHOTO: Final = (
    "a photo of {}",
    "a picture of {}",
    "a good photo of {}",
    "a photo of the {}",
    "a close-up of {}",
    "{}",
)
"""For models of photographs and pictures of all kinds."""
PICTOGRAM: Final = ("a photo of {}", "a picture of {}", "an icon of {}", "{}", "a drawing of {}", "{} icon")
"""In the words of the bundled model's captions."""
PLAIN: Final = ("a photo of {}",)


def class_prompt(class_word: str) -> str:
    """The caption of class pictures, and the prompt that draws them: "a photo of an owl"."""
    return PLAIN[0].format(with_article(class_word))


def with_article(words: str) -> str:
    """ "owl" → "an owl", by the first letter."""
    return f"{'an' if words[:1] in 'aeiou' else 'a'} {words}"
