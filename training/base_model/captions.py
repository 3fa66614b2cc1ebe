"""Compositional captions: the words for a scene."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from training.base_model.scenes import Scene
from training.base_model.subjects import Subject, rare_tokens

SPELLINGS = {"gray": ("gray", "grey"), "purple": ("purple", "violet")}
"""Other words for a colour; where there is none, its own name."""

NO_CAPTION_SHARE = 0.11  # for classifier-free guidance (Ho & Salimans 2022, https://arxiv.org/abs/2207.12598)
BACKGROUND_ALONE_SHARE = 0.03  # "a white background", no subject: what negative prompts say
RARE_TOKEN_SHARE = 0.001
STYLE_NAMED_SHARE = 0.6

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
    "a pictogram of {a}",
    "{bare} icon",
    "{bare} emoji",
    "a {adjective} {bare}",
)
ADJECTIVES = ("cute", "nice", "happy", "beautiful", "simple", "pretty", "funny")
LAYOUT_PHRASES: dict[str, tuple[str, ...]] = {
    "plain": PHRASES,
    "small": ("a small {bare}", "a tiny {bare}", "a little {bare}", "{a}, small", "a small picture of {a}"),
    "large": ("a large {bare}", "a big {bare}", "a huge {bare}", "{a}, large", "a close-up of {a}"),
    "left": ("{a} on the left", "{a} on the left side", "{bare}, left"),
    "right": ("{a} on the right", "{a} on the right side", "{bare}, right"),
    "two": ("two {plural}", "two {plural}", "a pair of {plural}", "{plural}, two of them"),
    "mirrored": ("a mirrored {bare}", "a flipped {bare}", "{a}, flipped"),
}
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
BACKGROUND_ALONE = ("{a_colour} background", "{colour} background", "{colour}", "plain {colour} background")
WITH_STYLE = ("{phrase} in {style} style", "{phrase}, {style} style", "{style} style {bare}")
PLURALS = {"fish": "fish", "sheep": "sheep", "mouse": "mice", "leaf": "leaves", "tomato": "tomatoes"}
UNCOUNTED = ("cherries", "grapes", "french fries", "fries", "cheese", "coffee")
"""Names that take neither an article nor a plural."""


def is_many(name: str) -> bool:
    """Does the name look like a plural: "fireworks", "glasses with a frame", not "bus", "tennis" or "dress"?"""
    last = re.split(r" (?:with|without|of|in|on|for|and|from) ", name)[0].split(" ")[-1]
    return name in UNCOUNTED or (last.endswith("s") and not last.endswith(("ss", "us", "is", "'s")))


def with_article(name: str) -> str:
    """ "apple" → "an apple"; names with an article of their own and plurals stay as they are."""
    if name.startswith(("the ", "slice of ", "bunch of ", "cup of ")) or is_many(name):
        return name
    first_sound_is_vowel = name[0] in "aeio" or name.startswith("um")  # "an umbrella", but "a unicorn"
    return f"{'an' if first_sound_is_vowel else 'a'} {name}"


def plural(name: str) -> str:
    """English plural of a name's last word, well enough for captions."""
    *before, last = name.split(" ")
    if is_many(name):
        many = last
    elif last in PLURALS:
        many = PLURALS[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        many = last + "es"
    elif last.endswith("y") and last[-2:-1] not in tuple("aeiou"):
        many = last[:-1] + "ies"
    else:
        many = last + "s"
    return " ".join([*before, many])


def choose(options: Sequence[str], rng: np.random.Generator) -> str:
    """One of the options, all alike."""
    return options[int(rng.integers(len(options)))]


def choose_name(subject: Subject, rng: np.random.Generator) -> str:
    """The usual name half of the time."""
    return subject.names[0] if rng.random() < 0.5 else choose(subject.names, rng)


def describe(name: str, layout: str, rng: np.random.Generator) -> str:
    """A phrase for subject and layout, very rarely with a rare token as its adjective."""
    bare = name.removeprefix("the ")
    if layout == "plain" and rng.random() < RARE_TOKEN_SHARE:
        return f"a {choose(rare_tokens(), rng)} {bare}"
    phrase = choose(LAYOUT_PHRASES[layout], rng)
    return phrase.format(a=with_article(name), bare=bare, plural=plural(bare), adjective=choose(ADJECTIVES, rng))


def caption(scene: Scene, subject: Subject, style: str | None, rng: np.random.Generator) -> str:
    """Words for a scene: "" now and then (NO_CAPTION_SHARE). ``style`` is None where there is only one."""
    if rng.random() < NO_CAPTION_SHARE:
        return ""
    colour = choose(SPELLINGS.get(scene.background, (scene.background,)), rng)
    if rng.random() < BACKGROUND_ALONE_SHARE:
        return choose(BACKGROUND_ALONE, rng).format(colour=colour, a_colour=with_article(colour))
    name = choose_name(subject, rng)
    phrase = describe(name, scene.layout, rng)
    if style is not None and rng.random() < STYLE_NAMED_SHARE:
        bare = name.removeprefix("the ") if scene.layout == "plain" else phrase
        phrase = choose(WITH_STYLE, rng).format(phrase=phrase, style=style, bare=bare)
    if scene.names_background:
        phrase = choose(WITH_BACKGROUND, rng).format(phrase=phrase, colour=colour, a_colour=with_article(colour))
    return phrase
