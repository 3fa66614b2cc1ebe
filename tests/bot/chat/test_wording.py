"""What members wrote comes back harmless and within Discord's limits."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat import wording
from bot.outlook import WorkerState, WorkerStatus


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("a red apple", "a red apple"),
        ("**bold** _it_ `code` ~~s~~ ||sp||", r"\*\*bold\*\* \_it\_ \`code\` \~\~s\~\~ \|\|sp\|\|"),
        ("# head\n> quote\n- list", r"\# head > quote - list"),
        ("@everyone and @here", "@\u200beveryone and @\u200bhere"),
        ("<@&123456789012345678>", "\\<@\u200b&123456789012345678>"),
        ("<t:1> </cmd:1> <:a:1>", r"\<t:1> \</cmd:1> \<\:a:1>"),
        ("https://evil.example discord.gg/abc", "https:\u200b//evil.example discord.gg\u200b/abc"),
        ("abc\u202edef\u2066\x00g", "abcdefg"),
        ("👨\u200d👩 é 日本", "👨\u200d👩 é 日本"),
    ],
)
def test_member_text_is_shown_as_it_was_typed(typed: str, shown: str) -> None:
    assert wording.escaped(typed) == shown


@settings(deadline=None)
@given(st.text())
def test_no_member_text_mentions_anybody_or_breaks_the_line(typed: str) -> None:
    shown = wording.escaped(typed)
    assert "\n" not in shown
    assert re.search(r"@(everyone|here)|<@|(?<!\\)[*_`~|]", shown.replace("\\\\", "")) is None


@pytest.mark.parametrize("length", [60, 600])
@pytest.mark.parametrize("letter", ["*", "a"])
def test_a_shown_prompt_shows_what_there_is_room_for(letter: str, length: int) -> None:
    text = wording.shown_prompt(letter * 2000, length)
    assert length - 2 <= len(text) <= length
    assert text.endswith("…")


@settings(deadline=None)
@given(st.text(min_size=1, max_size=3000), st.integers(20, 600))
def test_a_shown_prompt_keeps_to_its_length(prompt: str, length: int) -> None:
    assert 0 < len(wording.shown_prompt(prompt, length)) <= max(length, len("(no words, only a picture)"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "a few seconds"), (9, "about 10 s"), (52, "about 50 s"), (58, "about 1 min"), (3 * 3600, "about 3.0 h")],
)
def test_durations_are_rounded_to_what_can_be_known(seconds: float, said: str) -> None:
    assert wording.duration(seconds) == said


@pytest.mark.parametrize(
    ("step", "total", "shown"),
    [(0, 20, "▱" * 12), (10, 20, "▰" * 6 + "▱" * 6), (20, 20, "▰" * 12), (0, 0, "▱" * 12), (30, 20, "▰" * 12)],
)
def test_the_bar_has_always_the_same_length(step: int, total: int, shown: str) -> None:
    assert wording.bar(step, total) == shown


@pytest.mark.parametrize(
    ("state", "text", "fraction", "said"),
    [
        (WorkerState.READY, "", None, None),
        (WorkerState.STARTING, "", None, "The model is loading."),
        (WorkerState.LOADING, "loading the model", 0.42, "The model is loading (42%)."),
        (WorkerState.LOADING, "downloading unet", 0.5, "The model is loading: downloading unet (50%)."),
        (WorkerState.LOAD_FAILED, "no folder x.", None, "The model can't be loaded: no folder x."),
    ],
)
def test_why_nothing_is_drawn(state: WorkerState, text: str, fraction: float | None, said: str | None) -> None:
    assert wording.waiting_note(WorkerStatus(state, text, fraction)) == said
