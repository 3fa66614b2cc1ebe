"""For all tests."""

import gc

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """What libraries made when they were imported stays: the collector needn't walk through it, which took a fifth of
    all time."""
    del session
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
