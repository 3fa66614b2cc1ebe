"""Measures how long the bot's event loop was held up: while it is, nobody gets an answer."""

import asyncio
import logging
import time

log = logging.getLogger(__name__)

BEAT_SECONDS = 0.02
TOO_LONG_SECONDS = 0.1
"""Discord gives an interaction 3 s; a loop that stalls longer than this hides a blocking call."""


class Pulse:
    """`longest` is the longest stall so far, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def beat(self) -> None:
        """Runs for ever; says so when the loop was held up, and at the end what the longest stall was."""
        try:
            while True:
                before = time.perf_counter()
                await asyncio.sleep(BEAT_SECONDS)
                stall = time.perf_counter() - before - BEAT_SECONDS
                self.longest = max(self.longest, stall)
                if stall > TOO_LONG_SECONDS:
                    log.warning("the event loop was held up for %.0f ms", 1000 * stall)
        finally:
            log.info("the longest stall of the event loop was %.0f ms", 1000 * self.longest)
