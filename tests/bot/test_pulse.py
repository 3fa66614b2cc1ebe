import asyncio
import contextlib
import logging
import time

import pytest

from bot.pulse import Pulse


async def beating(pulse: Pulse, stall: float) -> None:
    task = asyncio.create_task(pulse.beat())
    await asyncio.sleep(0.05)
    time.sleep(stall)  # noqa: ASYNC251 - a blocking call is what is to be found
    await asyncio.sleep(0.05)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_blocking_call_is_measured_and_said(caplog: pytest.LogCaptureFixture) -> None:
    pulse = Pulse()
    with caplog.at_level(logging.INFO, logger="bot.pulse"):
        await beating(pulse, 0.3)
    assert pulse.longest >= 0.25
    assert "the event loop was held up for" in caplog.text
    assert "the longest stall of the event loop was" in caplog.text


async def test_what_was_measured_is_the_stall_and_not_the_beat() -> None:
    pulse = Pulse()
    await beating(pulse, 0.0)
    assert pulse.longest < 0.3, "nothing blocked for long"
