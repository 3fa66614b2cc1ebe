"""Words about making something of a finished picture: the buttons under it, the form, its recipe."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bot.chat.wording.job import jump_link
from bot.chat.wording.text import MESSAGE_LIMIT
from generation import limits
from generation.limits import scheduler_label
from generation.recipe import to_parameters
from generation.request import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.job import Job, JobImage

NOT_OTHERS = "In this server only the person who made a picture can make something of it."
WITHHELD = "This picture may be explicit and is not shown here, so nothing can be made of it here."
START_IMAGE_GONE = "The start image of this picture is no longer kept: use /imagine and attach it again."
PICTURE_GONE = (
    "This picture is no longer kept and can't be drawn again as it was: attach a copy to /imagine, if you have one."
)
GONE_WHILE_LOADING = (
    "This picture has to be drawn again first, and the model is still loading: press again in a minute."
)
LOADING = "The model is still loading, so I can't tell how large it draws: press again in a minute."
FORM_TOO_LATE = "The form could not be opened in time: press again."
REMIX_ELSEWHERE = "I can't see that picture any more: use Apps → Remix on its message again."
NO_PICTURE_THERE = "That message has no picture: use Apps → Remix on one that has."
RECIPE_IN_FILE = "The recipe is long, so it is in the file."


def too_large_to_upscale(width: int, height: int) -> str:
    most = limits.SIDE[1]
    return f"This picture is {width}×{height} already, and {most}×{most} is the largest that I make."


# ── the form ──

FORM_TITLE: Final = "Remix this picture"
PICTURE_LABEL: Final = "Which picture"
PROMPT_HINT: Final = "Empty: the same words. Flags such as --steps 30 and {a, b} work here too."
NEGATIVE_HINT: Final = "What it should not show"
GUIDANCE_HINT: Final = "How closely to follow the prompt, {:g} to {:g} (1 = off)".format(*limits.GUIDANCE_SCALE)
STRENGTH_HINT: Final = "How much of the picture is drawn anew, {:g} to {:g}".format(*limits.STRENGTH)


def not_a_number(name: str, typed: str, low: float, high: float) -> str:
    """Not escaped yet."""
    return f"{name} must be a number from {low:g} to {high:g}, not {shown(typed)}."


def picture_number(index: int) -> str:
    return f"Picture {index + 1}"


def said_twice(name: str, in_form: str, flag: str, in_flag: str) -> str:
    """Not escaped yet."""
    return f"{name} is {in_form} in its field and {in_flag} after {flag}: keep one of the two."


NEGATIVE_TWICE: Final = "The negative prompt is in its field and after --no: keep one of the two."


def what_was_typed(fields: Sequence[tuple[str, str]]) -> str:
    """So that nobody has to type a refused form again. Plain text."""
    return "\n".join(f"{name}: {typed}" for name, typed in fields if typed)


YOUR_WORDS: Final = "What you typed:"


# ── the recipe ──


def recipe_message(job: Job, images: Sequence[JobImage]) -> str:
    """The recipe of the pictures in one message (empty: there are none), to read and to copy."""
    block = code_block(_recipe_rows(job, images))
    link = _link(job)
    made_from = f"\nMade from: {link}" if link else ""
    if len(block) + len(made_from) > MESSAGE_LIMIT:
        block = RECIPE_IN_FILE
    return block + made_from


def _recipe_rows(job: Job, images: Sequence[JobImage]) -> str:
    request = job.request
    prompts = [image.recipe.prompt for image in images] or request.prompts
    rows = [("prompt", prompt) for prompt in dict.fromkeys(prompts)]
    rows.append(("negative prompt", request.negative_prompt))
    if images:
        recipe = images[0].recipe
        size, real_size = f"{recipe.width}x{recipe.height}", f"{images[0].width}x{images[0].height}"
        concepts = ", ".join(f"{used.name} ({used.weight:g})" for used in recipe.concepts)
        rows += [
            ("steps", str(recipe.num_inference_steps)),
            ("guidance", f"{recipe.guidance_scale:g}"),
            ("seed" if len(images) == 1 else "seeds", ", ".join(str(image.seed) for image in images)),
            ("size", size),
            ("enlarged to", "" if real_size == size else real_size),
            ("sampler", scheduler_label(recipe.scheduler)),
            ("strength", "" if recipe.strength is None else f"{recipe.strength:g}"),
            ("start image", _start_image(job, recipe.init_image_sha256)),
            ("clip skip", "" if recipe.clip_skip is None else str(recipe.clip_skip)),
            ("concepts", concepts),
            ("model", f"{recipe.model_name} ({recipe.model_hash[:10]})"),
            ("drawn with", recipe.version),
        ]
    else:
        rows += [("guidance", f"{request.guidance_scale:g}"), ("seed", str(request.seed))]
    return "\n".join(f"{name}: {value}" for name, value in rows if value)


def _start_image(job: Job, sha256: str | None) -> str:
    if job.request.init_image is None:
        return ""
    whose = "somebody's own picture" if job.origin is None or job.origin.job_id is None else "a picture made here"
    return whose if sha256 is None else f"{whose} (SHA-256 {sha256[:16]}…)"


def recipe_file(images: Sequence[JobImage]) -> str:
    """The pictures' `parameters`, as other programs read them, with an empty line between two."""
    return "\n\n".join(to_parameters(image.recipe) for image in images) + "\n"


def code_block(text: str) -> str:
    """Text as it is, in a block that can be copied; it can't end the block."""
    return "```\n" + re.sub("`(?=`)", "`\u200b", text) + "\n```"


def _link(job: Job) -> str:
    """To what it was made from; empty where that isn't known, or is in a place that others don't see."""
    origin = job.origin
    if origin is None or origin.message_id is None or origin.channel_id is None or origin.guild_id != job.guild_id:
        return ""
    if origin.guild_id is None and origin.channel_id != job.channel_id:
        return ""
    return jump_link(origin.guild_id, origin.channel_id, origin.message_id)
