"""What tests over a source and its root share; a module whose source is another one overrides it."""

from pathlib import Path

import pytest
from drive import Source

from fuseline.stores.places import open_root
from fuseline.stores.root import Root


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "x.jsonl")


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return open_root(tmp_path / "root")
