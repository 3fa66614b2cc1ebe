"""Photos of several members at once, beside a bot that goes on."""

import asyncio
import io
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from bot import photo_check
from bot.photo_check import AT_ONCE, check_photos
from training.photos import PhotoVerdict


def photo(seed: int) -> bytes:
    """64×64, of random squares."""
    squares = Image.frombytes("RGB", (8, 8), random.Random(seed).randbytes(192))
    file = io.BytesIO()
    squares.resize((64, 64), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


async def test_photos_of_a_member(tmp_path: Path) -> None:
    verdicts = await check_photos([("a.png", photo(0)), ("b.png", b"text"), ("c.png", photo(1))], tmp_path, side=64)
    assert [verdict.status for verdict in verdicts] == ["accepted", "rejected", "accepted"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "2.png"]


async def test_no_more_than_some_at_once_and_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy: list[int] = []
    met = threading.Barrier(AT_ONCE)  # each waits there for another that is at work as well

    def slowly(files: Sequence[tuple[str, bytes]], folder: Path, *, side: int) -> list[PhotoVerdict]:
        busy.append(threading.get_ident())
        met.wait(30)
        return []

    monkeypatch.setattr(photo_check, "read_photos", slowly)
    await asyncio.gather(*(check_photos([], tmp_path, side=64) for _ in range(3 * AT_ONCE)))
    assert len(busy) == 3 * AT_ONCE
    assert len(set(busy)) == AT_ONCE
