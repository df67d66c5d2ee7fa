"""A finished sweep, once per session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.conftest import Cli
from tests.flows.experiments.sweeps import N_ALL, call, copy_of


@pytest.fixture(scope="session")
def features(cli: Cli, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the configuration of a sweep whose features are fresh and whose grid is empty."""
    config = copy_of(finished, tmp_path_factory.mktemp("sweep") / "data", budget_minutes=0)
    assert call(cli, config)["ran"] == 0
    return config


@pytest.fixture(scope="session")
def swept(cli: Cli, features: Path) -> Path:
    """Return the configuration of a finished sweep."""
    config = copy_of(features, features.parent.parent / "swept")
    found = call(cli, config)
    assert found["complete"]
    assert (found["ran"], found["there"]) == (N_ALL, 0)
    return config


@pytest.fixture
def own(swept: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a copy of the finished sweep."""
    return copy_of(swept, tmp_path / "own")
