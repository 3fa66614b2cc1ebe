"""Any sequence of calls, also late and repeated ones, against a model of the states that fits on a screen."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.job import Job, JobImage, JobState
from bot.registry.registry import Registry
from generation.recipe import Recipe
from generation.request import ImageRequest

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=60)
LIVE = (JobState.QUEUED, JobState.RUNNING)

CALLS = ("claim", "finish", "fail", "crashed", "put_back", "cancel", "delivered", "give_up", "recover")


@dataclass
class Expected:
    """What the registry should say about one job."""

    state: JobState = JobState.QUEUED
    attempt: int = 0
    crashes: int = 0
    told: bool = False
    images: int = 0

    def crash(self) -> None:
        self.crashes += 1
        self.state = JobState.FAILED if self.crashes == 3 else JobState.QUEUED

    def call(self, name: str, attempt: int) -> bool:
        """Whether the call changes anything; changes itself accordingly."""
        current = self.state is JobState.RUNNING and attempt == self.attempt
        allowed = {
            "claim": self.state is JobState.QUEUED,
            "finish": current,
            "fail": current,
            "crashed": current,
            "put_back": current,
            "recover": self.state is JobState.RUNNING,
            "cancel": self.state in LIVE,
            "delivered": self.state not in LIVE and attempt == self.attempt and not self.told,
            "give_up": not self.told,
        }[name]
        if allowed:
            self._apply(name)
        return allowed

    def _apply(self, name: str) -> None:
        match name:
            case "claim":
                self.state, self.attempt = JobState.RUNNING, self.attempt + 1
            case "finish":
                self.state, self.images = JobState.DONE, 1
            case "fail":
                self.state = JobState.FAILED
            case "crashed" | "recover":
                self.crash()
            case "put_back":
                self.state = JobState.QUEUED
            case "cancel":
                self.state = JobState.CANCELLED
            case "delivered":
                self.told = True
                self.state = JobState.DELIVERED if self.state is JobState.DONE else self.state
            case _:
                self.told = True
                self.state = JobState.FAILED if self.state in (*LIVE, JobState.DONE) else self.state


def one_image(registry: Registry) -> JobImage:
    recipe = Recipe(
        prompt="x", guidance_scale=1, num_inference_steps=1, seed=1, width=8, height=8, scheduler="ddim",
        model_name="m", model_hash="0",
    )  # fmt: skip
    return JobImage("job", 0, registry.folder / "images" / "x.png", 1, 8, 8, recipe, 0.0)


async def call(registry: Registry, name: str, attempt: int) -> bool:
    jobs = registry.jobs
    calls: dict[str, Any] = {
        "claim": lambda: jobs.claim("job", NOW, LEASE),
        "finish": lambda: jobs.finish("job", attempt, [one_image(registry)], NOW),
        "fail": lambda: jobs.fail("job", attempt, "reason", NOW),
        "crashed": lambda: jobs.crashed("job", attempt, NOW),
        "put_back": lambda: jobs.put_back("job", attempt),
        "recover": lambda: jobs.recover(NOW),
        "cancel": lambda: jobs.cancel("job", NOW),
        "delivered": lambda: jobs.delivered("job", attempt, NOW),
        "give_up": lambda: jobs.give_up("job", "reason", NOW),
    }
    return bool(await calls[name]())


async def run(sequence: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as folder:
        async with Registry(Path(folder)) as registry:
            new = Job(
                "job", 1, None, 2, None, None, JobState.QUEUED, 0, 0, ImageRequest(prompt="x", seed=1), None, NOW
            )
            await registry.jobs.add(new, images_at_most=1)
            expected = Expected()
            for name, back in sequence:
                attempt = expected.attempt - back
                assert await call(registry, name, attempt) == expected.call(name, attempt), (name, attempt)
                job = await registry.jobs.get("job")
                assert job is not None
                found = (job.state, job.attempt, job.crashes, job.delivered_at is not None)
                assert found == (expected.state, expected.attempt, expected.crashes, expected.told), name
                assert len(await registry.jobs.images("job")) == expected.images
                assert (job.finished_at is not None) == job.state.ended


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(CALLS), st.sampled_from((0, 0, 0, 1))), min_size=1, max_size=14))
def test_any_sequence_of_calls(sequence: list[tuple[str, int]]) -> None:
    asyncio.run(run([("claim", 0), *sequence]))
