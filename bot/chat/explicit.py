"""Pictures that may be explicit: the one rule about where they are shown, and where something is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient
    from bot.job import Job, JobImage

_AGE_RESTRICTABLE: Final = (
    discord.TextChannel,
    discord.VoiceChannel,
    discord.StageChannel,
    discord.ForumChannel,
    discord.Thread,
)


def is_explicit(image: JobImage, threshold: float) -> bool:
    """By the output check's score."""
    return image.nsfw >= threshold


def is_age_restricted(channel: object) -> bool:
    """A thread is as its channel. False where it isn't known: then explicit pictures are withheld."""
    return isinstance(channel, _AGE_RESTRICTABLE) and channel.is_nsfw()


def is_withheld(job: Job, image: JobImage, *, threshold: float, age_restricted: bool) -> bool:
    """Explicit ones are shown in age-restricted channels only, and never where they began as somebody's picture or
    a concept of a person is in them."""
    return is_explicit(image, threshold) and (job.foreign_start or job.of_person or not age_restricted)


def is_withheld_in(channel: object, client: AtelierClient, job: Job, image: JobImage) -> bool:
    """Whether a finished picture is one that isn't shown in `channel`, wherever else it is."""
    threshold = client.settings.nsfw_threshold
    return is_withheld(job, image, threshold=threshold, age_restricted=is_age_restricted(channel))
