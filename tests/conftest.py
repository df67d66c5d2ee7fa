"""What all tests share: hypothesis without deadlines, and no waiting for the disk."""

import logging
import os
from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("fuseline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fuseline")


@pytest.fixture(scope="session", autouse=True)
def _unsynced() -> Iterator[None]:
    """Skip the wait for the disk: no test survives a power cut anyway."""
    with mock.patch.object(os, "fsync", return_value=None):
        yield


def pytest_unconfigure() -> None:
    """Say nothing of servers that stop after the end: pytest has closed the stream that they would log to."""
    logging.raiseExceptions = False


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the golden digests anew; see tests/golden."""
    parser.addoption("--write-golden", action="store_true", help="write tests/golden/golden.json")
