"""A house with real processes for each test, and the system's Chromium."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.browser import LAPTOP, Visitor, visiting
from tests.acceptance.house import House


@pytest.fixture
async def open_house(tmp_path: Path) -> AsyncIterator[House]:
    """Not open yet, for a test that sets something: `await open_house.open(ATELIER_MODEL=…)`."""
    house = House(tmp_path)
    yield house
    await house.close()


@pytest.fixture
async def house(open_house: House) -> House:
    await open_house.open()
    return open_house


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium; without one the test is skipped, in CI it fails."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must run the browser tests: install chromium (apt-get install chromium)")
        pytest.skip("no Chromium here: apt-get install chromium")
    return found


@pytest.fixture(params=[LAPTOP], ids=["laptop"])
async def visitor(request: pytest.FixtureRequest, chromium: str, house: House) -> AsyncIterator[Visitor]:
    """The owner of the server ("You") in #studio, at the page of a whole house."""
    async with visiting(house, chromium, request.param) as someone:
        yield someone
