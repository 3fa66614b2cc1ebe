"""Photos of members, judged and cleaned by a limited process beside the bot: see `training.photo_reading`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from training.photo_reading import read_photos
from training.photos import PhotoVerdict

AT_ONCE = 2
"""Members whose photos are looked at at the same time, each in a process of its own; the others wait."""


async def check_photos(files: Sequence[tuple[str, bytes]], folder: Path, *, side: int) -> list[PhotoVerdict]:
    """A verdict on each photo, in order; the clean squares of `side` pixels are written to `folder`/0.png, 1.png …

    `files`: each one's name, as it is shown, and its bytes as they came. What a photo does never raises.

    Raises:
        OSError: the folder can't be written to.
        PhotoProcessBroken: photos can't be looked at here at all.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_readers(), lambda: read_photos(files, folder, side=side))


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="photos")
