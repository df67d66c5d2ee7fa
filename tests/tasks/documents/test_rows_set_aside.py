"""Rows of a source that are no documents: which, why, and that they are listed."""

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from drive import content, documents, nodes, run

from fuseline.stores.errors import DataError
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import ingest_quarantine
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.documents.near_duplicates import DuplicatesConfig
from fuseline.tasks.engine.nodes import Ingest
from fuseline.tasks.readers import READERS


def test_names_of_images_that_are_no_text_end_no_ingest(tmp_path, root):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")).write_bytes(b"y")
    where = SourceConfig(reader="imagefolder", path=str(folder))
    node = ingest_stage("x", where, shard_size=10, split=SplitConfig())
    run([node], root)
    assert list(content(node, root)) == ["a.jpg"]
    assert ingest_quarantine(node, root)["reason"].to_pylist() == ["bad_name"]
    assert run([node], root) == {}


@pytest.mark.parametrize("look", [True, False])
def test_a_source_of_bad_rows_alone_is_refused_and_nothing_lost(source, root, look):
    wanted = nodes(source.write(documents(5)))
    run(wanted, root)
    kept = content(wanted.documents, root)
    source.write([{"id": "", "text": "a"}])
    with pytest.raises(DataError, match=r"first of 1 set aside: missing_id at x.jsonl:1"):
        run(wanted, root, look=look)
    assert content(wanted.documents, root) == kept


def test_repeated_ids_are_set_aside_and_the_first_wins(source, root):
    rows = [*documents(12), {"id": "d3", "text": "second"}, {"id": "d12", "text": "x"}, {"id": "d12", "text": "y"}]
    wanted = nodes(source.write(rows))
    run(wanted, root)
    assert content(wanted.documents, root)["d3"]["text"] == "text d3"
    assert content(wanted.documents, root)["d12"]["text"] == "x"
    bad = ingest_quarantine(wanted.documents, root).to_pylist()
    assert [(row["id"], row["reason"]) for row in bad] == [("d3", "duplicate_id"), ("d12", "duplicate_id")]
    assert all(row["source"].startswith("x.jsonl:") for row in bad)
    source.write(rows)
    assert run(wanted, root) == {}


def keeping(wanted, ids: str) -> Ingest:
    """Return the ingest with another choice among documents of one id."""
    config = wanted.documents.config.model_copy(update={"duplicates": DuplicatesConfig(ids=ids)})
    return replace(wanted.documents, config=config)


def test_of_repeated_ids_the_last_wins_where_asked(source, root):
    rows = [*documents(12), {"id": "d3", "text": "second"}, {"id": "d12", "text": "x"}, {"id": "d12", "text": "y"}]
    node = keeping(nodes(source.write(rows)), "last")
    run([node], root)
    assert content(node, root)["d3"]["text"] == "second"
    assert content(node, root)["d12"]["text"] == "y"
    assert len(content(node, root)) == 13
    bad = ingest_quarantine(node, root).to_pylist()
    assert [(row["id"], row["reason"]) for row in bad] == [("d3", "duplicate_id"), ("d12", "duplicate_id")]
    source.write([*rows, {"id": "d3", "text": "third"}])
    run([node], root)
    assert content(node, root)["d3"]["text"] == "third"
    assert len(ingest_quarantine(node, root)) == 3


def test_repeated_ids_end_the_run_where_asked(source, root):
    wanted = nodes(source.write(documents(12)))
    node = keeping(wanted, "error")
    run([node], root)
    source.write([*documents(12), {"id": "d3", "text": "second"}])
    with pytest.raises(DataError, match=r"every id once.*d3 at x.jsonl:13"):
        run([node], root)
    assert content(node, root)["d3"]["text"] == "text d3"


def test_strange_ids_are_documents_like_others(source, root):
    ids = ["a/b", "../../x", "日本", "\U0001f600", " ", "é", "e\u0301"]
    wanted = nodes(source.write({"id": i, "text": "t"} for i in ids))
    run(wanted, root)
    assert list(content(wanted.vector, root)) == ids


def test_rows_that_cannot_be_documents_are_listed(source, root):
    source.write([*documents(3), {"id": None, "text": "a"}, {"id": "", "text": "b"}])
    with source.path.open("a") as file:
        file.write("no json\n")
    wanted = nodes(source.path)
    run(wanted, root)
    assert len(content(wanted.documents, root)) == 3
    assert ingest_quarantine(wanted.documents, root)["reason"].to_pylist() == ["missing_id", "missing_id", "bad_json"]


def test_a_row_without_an_id_has_a_reason_though_its_reader_told_none(source, root, monkeypatch):
    reader = READERS["jsonl"]

    def read(path, options):
        for table in reader.read(path, options):
            place, field = table.schema.get_field_index("id"), table.schema.field("id")
            ids = pa.array([None, *table["id"].to_pylist()[1:]], field.type)
            yield table.set_column(place, field, ids)

    monkeypatch.setitem(READERS, "jsonl", reader._replace(read=read))
    wanted = nodes(source.write(documents(3)))
    run([wanted.documents], root)
    assert list(content(wanted.documents, root)) == ["d1", "d2"]
    assert ingest_quarantine(wanted.documents, root)["reason"].to_pylist() == ["no_id"]


@pytest.mark.parametrize("ignored", [False, True])
def test_a_split_that_nobody_knows_matters_where_given_ones_count(source, root, ignored):
    wanted = nodes(source.write([{"id": "d0", "text": "t", "split": "heldout"}, {"id": "d1", "text": "t"}]))
    split = SplitConfig(valid=0, test=0, ignore_given=ignored)
    node = replace(wanted.documents, config=wanted.documents.config.model_copy(update={"split": split}))
    run([node], root)
    assert content(node, root)["d0"]["status"] == ("ok" if ignored else "bad_split")
    assert content(node, root)["d0"]["text"] == ("t" if ignored else None)
