"""For all tests."""

import gc

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """What the libraries made when they were imported stays for ever: the collector needn't walk through it (a fifth of
    all time went into that)."""
    del session
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
