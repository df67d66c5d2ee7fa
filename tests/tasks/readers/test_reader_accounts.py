"""Rows in = documents + rows listed in the quarantine, for every layout that a reader reads."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from fixtures.damage import LINES, OTHERS, WHOLE, spoil
from fixtures.layouts import LAYOUTS

from fuseline.stores.places import open_root
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import ingest, ingest_quarantine
from fuseline.tasks.documents.ingest import stage as ingest_stage

ROWS, BROKEN = 60, 5
REASONS = {  # what stands in the quarantine table; bad_row where nothing is said
    "jsonl": "bad_json",
    "amazon": "bad_json",
    "abo": "bad_json",
    "hateful_memes": "bad_json",
    "flickrtag": "missing_id",
    "pitt_ads": "missing_id",
    "parquet": "missing_id",
    "img2dataset": "missing_id",
    "img2dataset_files": "missing_id",
    "img2dataset_parquet": "missing_id",
    "webdataset": "bad_member",
    "webvision_tars": "bad_member",
    "webvision2_tars": "bad_member",
    "imagefolder": "bad_name",
    "food101": "bad_name",
}
AGAIN = {  # layout -> (file, the name of a copy that is read too)
    "jsonl": ("documents.jsonl", "more.jsonl"),
    "csv": ("documents.csv", "more.csv"),
    "parquet": ("train-00000-of-00001.parquet", "train-00001-of-00001.parquet"),
    "webdataset": ("train-000000.tar", "train-000001.tar"),
    "yfcc": ("yfcc100m_dataset", "yfcc100m_dataset-1"),
    "abo": ("listings/metadata/listings_0.json.gz", "listings/metadata/listings_1.json.gz"),
    "amazon": ("raw/meta_categories/meta_All_Beauty.jsonl", "raw/meta_categories/meta_Again.jsonl"),
    "food101_titles": ("texts/train_titles.csv", "texts/valid_titles.csv"),
    "rakuten": ("X_train_update.csv", "X_train_again.csv"),
}


def ingested(name: str, path: Path, root: Path) -> tuple[list[str], Counter[str], list[str]]:
    """Return the ids of all documents, the reasons in the quarantine, and where its rows stood."""
    layout, place = LAYOUTS[name], open_root(root)
    source = SourceConfig(reader=layout.reader, path=str(path), options=dict(layout.options))
    node = ingest_stage("x", source, shard_size=16, split=SplitConfig())
    ingest(node, place, done=lambda report: None)
    dataset, listed = node.dataset(place), ingest_quarantine(node, place)
    ids = [one for record in dataset.records().values() for one in dataset.read(record, ("id",))["id"].to_pylist()]
    assert listed["source"].null_count == 0
    return ids, Counter(listed["reason"].to_pylist()), listed["source"].to_pylist()


@pytest.mark.parametrize("name", LAYOUTS)
def test_rows_in_are_documents_and_rows_listed(name, tmp_path):
    LAYOUTS[name].make(tmp_path / "set", ROWS, images=name in ("imagefolder", "food101", "webdataset"))
    added = spoil(name, tmp_path / "set", BROKEN)
    ids, reasons, places = ingested(name, tmp_path / "set", tmp_path / "root")
    assert len(ids) == len(set(ids)) == ROWS
    assert reasons == ({REASONS.get(name, "bad_row"): added} if added else {})
    assert len(set(places)) == added or name.startswith("webdataset")


@pytest.mark.parametrize("name", AGAIN)
def test_repeated_rows_are_listed_each(name, tmp_path):
    LAYOUTS[name].make(tmp_path / "set", ROWS, images=name == "webdataset")
    file, copy = AGAIN[name]
    before = ingested(name, tmp_path / "set", tmp_path / "before")[0]
    shutil.copyfile(tmp_path / "set" / file, tmp_path / "set" / copy)
    ids, reasons, _ = ingested(name, tmp_path / "set", tmp_path / "root")
    assert sorted(ids) == sorted(before)
    assert set(reasons) == {"duplicate_id"}
    assert len(ids) + reasons.total() == ROWS + {"parquet": 48, "food101_titles": 54, "rakuten": 54}.get(name, ROWS)


def test_every_layout_has_its_damage():
    assert {*LINES, *OTHERS, *WHOLE} == set(LAYOUTS)
    assert set(REASONS) <= set(LAYOUTS) - WHOLE
