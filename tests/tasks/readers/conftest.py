"""What the reader tests share: one way to read a source whole."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the generators in tests/fixtures

from fuseline.stores.schemas import DOCUMENTS
from fuseline.tasks.readers import READERS


@pytest.fixture
def load() -> Callable[..., list[dict[str, Any]]]:
    """Read a source with the reader `name`, check each table's shape, and return its rows."""

    def run(name: str, path: object, **settings: Any) -> list[dict[str, Any]]:
        return load_table(name, path, **settings).to_pylist()

    return run


def load_table(name: str, path: object, **settings: Any) -> pa.Table:
    """Read a source into one table; every table must have the contract's schema and size."""
    entry = READERS[name]
    options = entry.options(**settings)
    tables = list(entry.read(str(path), options))
    for table in tables:
        assert table.schema.names[: len(DOCUMENTS)] == DOCUMENTS.names
        assert all(table.schema.field(field.name).type == field.type for field in DOCUMENTS)
        assert all(name.startswith(("num_", "cat_")) for name in table.schema.names[len(DOCUMENTS) :])
        assert 0 < len(table) <= options.batch_rows
        table.validate(full=True)
        assert table["source"].null_count == table["status"].null_count == table["labels"].null_count == 0
    return pa.concat_tables(tables) if tables else DOCUMENTS.empty_table()
