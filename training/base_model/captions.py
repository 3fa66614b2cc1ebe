"""Compositional captions: a subject, a way to say it, and often the background colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.base_model.data import Colour
from training.base_model.subjects import Subject, rare_tokens

BACKGROUNDS: dict[str, Colour] = {
    "white": (255, 255, 255),
    "black": (22, 22, 26),
    "red": (214, 48, 49),
    "orange": (243, 139, 43),
    "yellow": (250, 216, 80),
    "green": (72, 168, 84),
    "blue": (58, 120, 214),
    "purple": (134, 82, 188),
    "pink": (250, 164, 198),
    "gray": (150, 152, 156),
}
SPELLINGS = {"gray": ("gray", "grey"), "purple": ("purple", "violet")}
"""Other words for a colour; where there is none, its own name."""

NO_CAPTION_SHARE = 0.11  # for classifier-free guidance (Ho & Salimans 2022, https://arxiv.org/abs/2207.12598)
NO_BACKGROUND_SHARE = 0.25
WHITE_SHARE = 0.35  # of the pictures whose caption names no background
RARE_TOKEN_SHARE = 0.001

PHRASES = (
    "{a}",
    "{a}",
    "{a}",
    "{bare}",
    "{bare}",
    "the {bare}",
    "an icon of {a}",
    "a picture of {a}",
    "a drawing of {a}",
    "an image of {a}",
    "a photo of {a}",
    "a photo of the {bare}",
    "an illustration of {a}",
    "a small picture of {a}",
    "a pictogram of {a}",
    "{bare} icon",
    "{bare} emoji",
    "a {adjective} {bare}",
)
ADJECTIVES = ("cute", "nice", "little", "big", "happy", "beautiful", "simple", "pretty", "funny", "small")
WITH_BACKGROUND = (
    "{phrase} on {a_colour} background",
    "{phrase} on {a_colour} background",
    "{phrase}, {colour} background",
    "{phrase}, {colour} background",
    "{phrase}, plain {colour} background",
    "{phrase} on a plain {colour} background",
    "{phrase} with {a_colour} background",
    "{phrase} in front of {a_colour} background",
    "{phrase} against {a_colour} background",
    "{phrase} on {colour}",
    "{colour} background, {phrase}",
)


@dataclass(frozen=True)
class Caption:
    """What is said and which of BACKGROUNDS the picture must have."""

    text: str
    background: str


def with_article(name: str) -> str:
    """ "apple" → "an apple"; names with an article of their own and plurals stay as they are."""
    if name.startswith(("the ", "slice of ")) or name == "cherries":
        return name
    first_sound_is_vowel = name[0] in "aeio" or name.startswith("um")  # "an umbrella", but "a unicorn"
    return f"{'an' if first_sound_is_vowel else 'a'} {name}"


def choose(options: tuple[str, ...], rng: np.random.Generator) -> str:
    """One of the options, all alike."""
    return options[int(rng.integers(len(options)))]


def choose_name(subject: Subject, rng: np.random.Generator) -> str:
    """The usual name half of the time."""
    return subject.names[0] if rng.random() < 0.5 else choose(subject.names, rng)


def describe(name: str, rng: np.random.Generator) -> str:
    """A phrase for the subject alone, very rarely with a rare token as its adjective."""
    bare = name.removeprefix("the ")
    if rng.random() < RARE_TOKEN_SHARE:
        return f"a {choose(rare_tokens(), rng)} {bare}"
    phrase = choose(PHRASES, rng)
    return phrase.format(a=with_article(name), bare=bare, adjective=choose(ADJECTIVES, rng))


def make_caption(subject: Subject, rng: np.random.Generator) -> Caption:
    """Draw a caption and the background that goes with it; the text may be "" (see NO_CAPTION_SHARE)."""
    colours = tuple(BACKGROUNDS)
    phrase = describe(choose_name(subject, rng), rng)
    if rng.random() < NO_BACKGROUND_SHARE:
        text = phrase
        background = "white" if rng.random() < WHITE_SHARE else choose(colours[1:], rng)
    else:
        background = choose(colours, rng)
        colour = choose(SPELLINGS.get(background, (background,)), rng)
        text = choose(WITH_BACKGROUND, rng).format(phrase=phrase, colour=colour, a_colour=with_article(colour))
    return Caption("" if rng.random() < NO_CAPTION_SHARE else text, background)
