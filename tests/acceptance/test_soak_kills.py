"""`make soak`: many members, and processes killed with -9 at random moments. Every job ends once."""

import asyncio
import random
import signal

import pytest

from tests.acceptance.house import House, has_button

pytestmark = pytest.mark.soak

JOBS = 24
KILLS = 12
SUBJECTS = ("fox", "owl", "castle", "rocket")


async def test_every_job_ends_once_while_bot_and_worker_are_killed(house: House) -> None:
    chance = random.Random(20261122)
    asked: list[str] = []
    for number in range(JOBS):
        prompt = f"a {chance.choice(SUBJECTS)} number {number}"
        await house.imagine(prompt, steps=chance.randint(5, 60), count=chance.randint(1, 2), user=number % 3)
        asked.append(prompt)

    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(1, 12))
        worker = house.worker()
        if chance.random() < 0.5 and worker is not None:
            worker.kill()
        else:
            await house.bot.end(signal.SIGKILL)
            await house.start_bot()

    async def all_ended() -> bool:
        return not any(has_button(message, "stop") for message in await house.public())

    for _ in range(10):
        if await all_ended():
            break
        await asyncio.sleep(30)
    messages = await house.public()
    for prompt in asked:
        about = [message for message in messages if f"**{prompt}**" in message["content"]]
        assert len(about) == 1, f"{prompt}: {len(about)} messages"
        given_up = "given up" in about[0]["content"]
        assert about[0]["attachments"] or given_up, f"{prompt}: {about[0]['content']}"
