"""What every reader of the registry promises; one that a package registers is tested by being installed.

A reader of ours reads its first generated layout; of others, FUSELINE_SAMPLES/<name> holds a small source.
"""

import os
from pathlib import Path

import pytest
from fixtures.layouts import LAYOUTS

from fuseline.models.config import FrozenConfig
from fuseline.stores.errors import ConfigError
from fuseline.stores.schemas import DOCUMENTS
from fuseline.tasks.readers import READERS, ReaderOptions, registry_rows
from tests.tasks.readers.conftest import load_table

every = pytest.mark.parametrize("name", sorted(READERS))
SAMPLES = os.environ.get("FUSELINE_SAMPLES", "")


def sample(name: str, folder: Path) -> tuple[str, dict[str, object]]:
    """Return a small source and the options that it needs."""
    layout = next((one for one in LAYOUTS.values() if one.reader == name), None)
    if layout is not None:
        layout.make(folder / "set", 60)
        return str(folder / "set"), dict(layout.options)
    if not (Path(SAMPLES) / name).exists():
        pytest.skip(f"no FUSELINE_SAMPLES/{name}")
    return str(Path(SAMPLES) / name), {}


@every
def test_a_reader_says_what_it_is(name: str) -> None:
    reader = READERS[name]
    assert reader.kind == name
    assert {row["name"]: row["summary"] for row in registry_rows()}[name] == reader.summary
    assert len(reader.summary) > 10
    assert issubclass(reader.options, ReaderOptions)
    assert issubclass(reader.options, FrozenConfig)


@every
def test_documents_have_the_schema_and_do_not_depend_on_batches(name: str, tmp_path: Path) -> None:
    path, options = sample(name, tmp_path)
    table = load_table(name, path, **options)
    assert table.num_rows > 0
    assert "ok" in table["status"].to_pylist()
    assert table.column_names[: len(DOCUMENTS)] == DOCUMENTS.names
    ids = table["id"].drop_null().to_pylist()
    assert len(ids) == len(set(ids)) > 0
    assert load_table(name, path, **options).equals(table)
    assert load_table(name, path, **options, batch_rows=2).to_pylist() == table.to_pylist()


@every
def test_the_listing_repeats(name: str, tmp_path: Path) -> None:
    path, options = sample(name, tmp_path)
    parsed = READERS[name].options(**options)
    listed = list(READERS[name].files(path, parsed))
    assert list(READERS[name].files(path, parsed)) == listed
    assert all(file.size > 0 for file in listed)
    assert listed


@every
def test_a_folder_that_is_not_there_is_a_fault_of_the_configuration(name: str, tmp_path: Path) -> None:
    options = {"preset": "fashion"} if name == "products" else {}
    with pytest.raises(ConfigError, match=r"source\.path"):
        list(READERS[name].read(str(tmp_path / "absent"), READERS[name].options(**options)))
