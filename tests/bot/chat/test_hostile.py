"""Whatever members write: what we post mentions nobody, links nowhere, keeps its shape and Discord's limits.

What Discord reads as markup is taken from its documentation (message formatting reference) and its own help page on
Markdown text; the readers below look for it the way a client does, where a backslash takes away a sign's meaning.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chat import wording
from bot.chat.wording import history, remixing, training, training_job
from bot.job import Job, JobImage, JobKind, JobState
from bot.outlook import Place, QueueLine
from bot.registry.history import Picture
from bot.worker.messages import Progress
from generation.recipe import Recipe
from generation.request import ImageRequest
from training.order import Card, Method, TrainedConcept, TrainingOrder, Verdict
from training.photos import PhotoStatus, PhotoVerdict

if TYPE_CHECKING:
    from conftest import World

MEMBER = 123456789012345678
NOW = datetime(2030, 1, 2, tzinfo=UTC)
TRAINED = TrainedConcept(
    file="f",
    sha256="0",
    trigger="",
    steps=300,
    stopped_early=True,
    seconds=60,
    full_weights=True,
    card=Card(verdict=Verdict.NOT_LEARNED, similarity=0.1, prompt_fidelity=0.1, drift=1),
)

HOSTILE = [
    "@everyone",
    "@here",
    "@every\u200bone",
    "<@111111111111111111>",
    "<@!111111111111111111>",
    "<@&111111111111111111>",
    "<#111111111111111111>",
    "</cmd:111111111111111111>",
    "<t:1700000000:R>",
    "<id:customize>",
    "<:smile:111111111111111111>",
    "<a:smile:111111111111111111>",
    ":smile:",
    "[text](https://evil.example)",
    "[**t**](<https://evil.example> 'title')",
    "https://evil.example/a?b",
    "HTTP://evil.example",
    "<https://evil.example>",
    "www.evil.example/x",
    "discord.gg/abc",
    "DISCORD.GG/abc",
    "discord.com/invite/abc",
    "discord://-/settings",
    "# head",
    "### head",
    "-# small",
    "> quote",
    ">>> quote",
    "- item",
    "* item",
    "1. item",
    "12) item",
    "```py\ncode\n```",
    "`code`",
    "||spoiler||",
    "**bold** *it* __u__ _i_ ~~s~~",
    "\\",
    "\\*",
    "`\u200b``",
    "\n\n\n# next line",
    "\r\n- x",
    "\u2028# x",
    "\x00\x07\x1b[31m",
    "\u202eabc\u202c",
    "\u2066abc\u2069",
    "\u200e\u200f\u061c",
    "\u200b\u200c\u200d\u2060\ufeff",
    "e" + "\u0301" * 500,
    "\u20dd" * 50,
    "\ud800",
    "😀" * 50,
    "x" * 6000,
    "*" * 6000,
    "@everyone " * 600,
    "[a](https://b.example) " * 250,
    "السلام عليكم",
    "👩\u200d👩\u200d👧",
]

member_text = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40)), max_size=8).map(" ".join) | (
    st.lists(st.sampled_from(HOSTILE), max_size=8).map("".join)
)


def unescaped(text: str) -> str:
    """Signs that a backslash makes literal are shown, so they are no markup."""
    return re.sub(r"\\([^0-9A-Za-z\s])", "\ufffd", text)


def problems(shown: str) -> list[str]:
    """What a client would make of text that should be nothing but text."""
    live = unescaped(shown)
    found = {
        "mention": r"<(@[!&]?|#|/|id:|t:|a?:)|@(everyone|here)",
        "link": r"[a-z][a-z0-9+.-]*://|\]\(|(?i:discord(app)?\.(gg|com|gift|new)/)",
        "formatting": r"[*_~`|]",
        "emoji": r":\w+:",
        "block": r"^(#{1,3} |-# |>|[-*] |\d+[.)] )",
        "line": r"[\n\r\v\f\x85\u2028\u2029]",
        "control": r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]",
    }
    bad = [name for name, pattern in found.items() if name != "control" and re.search(pattern, live)]
    # Our own zero-width spaces break mentions and links; joiners belong to emoji and scripts.
    foreign = re.sub(r"(?<=@)\u200b|\u200b(?=/)|[\u200c\u200d]", "", live)
    return bad + (["control"] if re.search(found["control"], foreign) else [])


@pytest.mark.parametrize("typed", HOSTILE)
def test_every_known_trick_becomes_plain_text(typed: str) -> None:
    assert problems(wording.escaped(typed)) == []
    assert problems(wording.escaped(f"a {typed} b")) == []


@settings(deadline=None)
@given(member_text)
def test_so_does_any_mixture(typed: str) -> None:
    assert problems(wording.escaped(typed)) == []


@pytest.mark.parametrize(
    "typed", ["a red apple", "naïve café", "日本語", "नमस्ते", "👩\u200d👩\u200d👧", "1️⃣", "3.5 m, 50% (half)", "c/o x"]
)
def test_ordinary_words_stay_as_they_are(typed: str) -> None:
    assert wording.escaped(typed) == typed
    assert wording.plain(typed) == typed


def test_marks_are_not_heaped_up() -> None:
    assert wording.plain("z" + "\u0301" * 100 + "y") == "z" + "\u0301" * 4 + "y"


# ── whole messages ──


def job_of(prompt: str, kind: JobKind = JobKind.IMAGINE) -> Job:
    return Job(
        id="1m83pg1anb3s16swk",
        member_id=MEMBER,
        guild_id=5,
        channel_id=6,
        interaction_id=7,
        message_id=8,
        state=JobState.DONE,
        attempt=1,
        crashes=0,
        request=ImageRequest(prompt=("a " + prompt)[:2000], seed=1),
        error=None,
        created_at=NOW,
        kind=kind,
        training=TrainingOrder(job="1", method=Method.LORA, name="my-cat", class_word=prompt[:40]),
    )


def image_of(text: str) -> JobImage:
    recipe = Recipe(
        prompt=text,
        negative_prompt=text,
        guidance_scale=7.5,
        num_inference_steps=4,
        seed=7,
        width=64,
        height=64,
        scheduler=text[:50],
        model_name=text,
        model_hash="0",
    )
    return JobImage("1m83pg1anb3s16swk", 5, Path("x.png"), 7, 64, 64, recipe, 0.9, tuple(text.split()))


def messages(text: str, kind: JobKind) -> list[str]:
    job, images = job_of(text, kind), [image_of(text)] * 4
    return [
        wording.waiting(job, None),
        wording.drawing(job, 3, 20, 10),
        wording.starting(job),
        wording.finished(job, images, 2, 8, wording.made_from(job, images, wording.jump_link(1, 2, 3))),
        wording.failed(job, text),
        wording.cancelled(job),
        wording.queue([QueueLine(job, Place(1, 0, 1.0, None))] * 30, 60, member_id=MEMBER, guild_id=5),
        wording.ping(job, failed=False, shown=True),
        training_job.waiting(job, None),
        training_job.training(job, Progress(job="1", attempt=1, step=3, total_steps=20, seconds_per_step=1)),
        training_job.failed(job, text),
        training_job.cancelled(job),
        training_job.finished(job, TRAINED, images, 2),
        training_job.ping(job, failed=True),
        training.verdicts([PhotoVerdict(name=text, status=PhotoStatus.WARNED, sentence=text)] * 10, "Well?"),
        history.shown(Picture(job, images[0]), ""),
        history.listed(Picture(job, images[0]), 3, ""),
    ]


@settings(deadline=None)
@given(member_text, st.sampled_from(JobKind))
def test_every_message_keeps_discords_limits_and_mentions_its_member_only(text: str, kind: JobKind) -> None:
    for message in messages(text, kind):
        assert len(message.encode("utf-16-le")) // 2 <= wording.MESSAGE_LIMIT
        live = unescaped(message)
        assert set(re.findall(r"<[@#/:a-z][^>]*>", live)) <= {f"<@{MEMBER}>", f"<t:{int(NOW.timestamp())}:R>"}
        assert re.search(r"@(everyone|here)", live) is None
        assert set(re.findall(r"\w+://[^)\s]*", live)) <= {
            "https://discord.com/channels/1/2/3",
            "https://discord.com/channels/5/6/8",
        }
        assert set(re.findall(r"\[([^\]]*)\]\(", live)) <= {"this picture", "in the chat"}


@settings(deadline=None)
@given(member_text, st.sampled_from(JobKind))
def test_the_message_keeps_its_shape(text: str, kind: JobKind) -> None:
    job, images = job_of(text, kind), [image_of(text)] * 4
    head, *lines = wording.finished(job, images, 1, 8, wording.made_from(job, images, None)).split("\n")
    assert head.startswith("**")
    assert head.endswith(f"** – <@{MEMBER}>")
    assert unescaped(head).count("**") == 2
    assert all(line.startswith("-# ") for line in lines)


@settings(deadline=None)
@given(member_text, st.sampled_from(JobKind))
def test_alt_text_keeps_discords_limit_and_has_nothing_invisible(text: str, kind: JobKind) -> None:
    for alt in (
        wording.alt_text(job_of(text, kind), image_of(text), 8),
        wording.preview_alt_text(job_of(text, kind), 3, 20),
    ):
        assert 0 < len(alt) <= 1024
        assert {c for c in alt if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} <= {"\u200c", "\u200d"}


@settings(deadline=None)
@given(member_text | st.text("`\n a", max_size=20))
def test_what_is_there_to_copy_stays_in_its_block(text: str) -> None:
    block = remixing.code_block(text)
    assert block.startswith("```\n")
    assert block.endswith("\n```")
    assert block.count("```") == 2
    assert "````" not in block


@settings(deadline=None)
@given(member_text)
def test_choices_keep_discords_limit(text: str) -> None:
    job = job_of(text)
    for choice in (wording.job_choice(job), history.choice(Picture(job, image_of(text)), 3)):
        assert 0 < len(choice) <= 100
        assert "\n" not in choice


async def test_all_of_it_goes_through_a_whole_delivery(world: World) -> None:
    prompt = " ".join(text for text in HOSTILE if len(text) < 200 and "\ud800" not in text and "{" not in text)[:1500]
    await world.alice.slash(world.channel, "imagine", prompt=prompt, negative_prompt=prompt)
    await world.drawing()
    world.worker.finish()
    await world.wait_for_state(JobState.DELIVERED)
    message = world.message
    assert [user.id for user in message.mentions] == [world.alice.id]
    assert not message.mention_everyone
    assert message.role_mentions == []
    assert message.channel_mentions == []
    (attachment,) = message.attachments
    assert attachment.filename == f"atelier-{world.job_id()}-1.png"
    assert attachment.description is not None
    sent = [r.json for r in world.env.http_requests if isinstance(r.json, dict) and "content" in r.json]
    allowed = [body["allowed_mentions"] for body in sent if "allowed_mentions" in body]
    assert allowed
    assert all(one == {"parse": []} for one in allowed)
    for folder in world.folder.iterdir():
        assert folder.name in {"images", "atelier.db", "atelier.db-wal", "atelier.db-shm", "atelier.lock", ".lock"}
