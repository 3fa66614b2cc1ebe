"""For all tests."""

import gc
import os

import pytest

# Before torch is imported, here and in the processes that tests start: several tests run at once, and networks this
# small only lose by being split.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish(session: pytest.Session) -> None:
    """What libraries made when they were imported stays: the collector needn't walk through it, which took a fifth of
    all time."""
    del session
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
