"""What a training shows of itself on the way."""

from __future__ import annotations

from typing import Final

from generation.request import ConceptUse, ImageRequest
from training.chance import number_of

_PROMPTS: Final = ("a photo of {}", "{} on a red background", "{} on a blue background", "a drawing of {}")


def sample_prompts(name: str, count: int) -> list[str]:
    """So many prompts with `<name>` in them."""
    return [_PROMPTS[index % len(_PROMPTS)].format(f"<{name}>") for index in range(count)]


def sample_request(job: str, use: ConceptUse, count: int) -> ImageRequest:
    """Always the same first noise, so that a member sees the same pictures grow."""
    return ImageRequest(
        prompt=sample_prompts(use.name, count), seed=number_of(job, "samples") % 2**31, concepts=[use]
    )
