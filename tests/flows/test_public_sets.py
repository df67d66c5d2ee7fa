"""Every layout of a public set through the pipeline's own ingest: nothing lost, nothing read twice, images decode."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.flows.results.tables import release_table
from fuseline.stores.places import open_root
from fuseline.stores.schemas import STATISTICS
from fuseline.tasks.documents.ingest import Scan, ingest, ingest_quarantine, scan
from fuseline.tasks.engine.images import ImageLimits, decode, open_image
from fuseline.tasks.engine.nodes import Context, Ingest
from fuseline.tasks.evaluation.statistics import merge, statistics
from fuseline.tasks.readers import READERS, published
from fuseline.tasks.stages.clean import clean_documents
from tests.fixtures.layouts import LAYOUTS

ROWS = 40
TEXTS_ALONE = {"fasttext", "amazon"}  # no images, or URLs alone


def pipeline(name: str, path: str, root: Path, **options: Any) -> tuple[Config, Ingest]:
    """Return the configuration of a layout and its first node."""
    layout = LAYOUTS[name]
    source = {"reader": layout.reader, "path": path, "options": {**layout.options, **options}}
    config = Config.model_validate({"name": "set", "root": str(root), "source": source, "shard_size": 16,
                                    "report": {"published": "always"}})  # fmt: skip
    node = build(config)[0]
    assert isinstance(node, Ingest)
    return config, node


def documents(node: Ingest, root: Path) -> pa.Table:
    """Return every ingested document."""
    dataset = node.dataset(open_root(root))
    tables = [dataset.read(record) for record in dataset.records().values()]
    return pa.concat_tables(tables, promote_options="default")


def ingested(node: Ingest, root: Path) -> list[Any]:
    """Ingest, and return the reports of the shards that were written."""
    reports: list[Any] = []
    ingest(node, open_root(root), done=reports.append)
    return reports


def rows_in(config: Config) -> list[dict[str, Any]]:
    """Return what the reader itself yields."""
    source = config.source
    tables = READERS[source.reader].read(source.path, source.parsed())
    return [row for table in tables for row in table.to_pylist()]


def counted(config: Config, table: pa.Table) -> dict[str, tuple[int, int]]:
    """Return measure -> (published, found), as the report prints them."""
    context = Context("", {}, {})
    cleaned = clean_documents([table], config.clean, context)
    report = release_table(config, merge([statistics(table, cleaned)]))
    return {row["measure"]: (row["published"], row["found"]) for row in report.to_pylist()}


def last_row(file: Path) -> str:
    """Return the last record of a table, which may hold line breaks when it ends in a quote."""
    lines = file.read_text().splitlines(keepends=True)
    return lines[-1] if file.name != "train.csv" else "".join(lines[-3:])


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_set_is_ingested(name: str, tmp_path: Path) -> None:
    LAYOUTS[name].make(tmp_path / "set", ROWS)
    root = tmp_path / "out"
    config, node = pipeline(name, str(tmp_path / "set"), root)
    assert sum(report.n_rows for report in ingested(node, root)) == ROWS
    source, table = rows_in(config), documents(node, root)
    assert len(source) == ROWS == table.num_rows + ingest_quarantine(node, open_root(root)).num_rows

    assert scan(node, open_root(root)) == Scan({})
    assert ingested(node, root) == []

    found = {row["id"]: row for row in table.to_pylist()}
    for row in source:
        kept = found[row["id"]]
        assert kept["labels"] == row["labels"]
        assert kept["status"] == row["status"]
        assert kept["split"] == row["split"] or (row["split"] is None and kept["split"] in ("train", "valid", "test"))

    shown = [row for row in found.values() if row["image"] and not (row["image"]["uri"] or "").startswith("https://")]
    assert bool(shown) == (name not in TEXTS_ALONE)
    limits = ImageLimits()
    for row in shown:
        assert row["image_digest"].startswith("xxh3:")
        assert decode(open_image(row["image"], config.source.image_root(), limits), limits=limits).shape == (16, 16, 3)

    known = published(config.source.reader, config.source.parsed())
    splits = Counter(row["split"] for row in found.values())
    labels = {label for row in found.values() for label in row["labels"]}
    values = {"documents": table.num_rows, "labels": len(labels), **{s: splits[s] for s in ("train", "valid", "test")}}
    assert counted(config, table) == {measure: (count, values[measure]) for measure, count in known.items()}


@pytest.mark.parametrize(
    ("choice", "documents", "compared"),
    [("whole", 40, False), ("whole", 90_000, True), ("always", 40, True), ("never", 90_000, False)],
)
def test_a_part_of_a_set_is_not_held_against_the_counts_of_the_whole(
    choice: str, documents: int, compared: bool
) -> None:
    source = {"reader": "food101", "path": "x"}
    known = published("food101", READERS["food101"].options())
    config = Config.model_validate({"source": source, "report": {"published": choice}})
    rows = [{"split": "train", "field": "documents", "measure": "documents", "value": documents, "source": ""}]
    found = release_table(config, pa.Table.from_pylist(rows, schema=STATISTICS))
    assert known
    assert bool(found.num_rows) == compared


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("csv", "documents.csv"),
        ("food101_titles", "texts/train_titles.csv"),
        ("petfinder", "train/train.csv"),
        ("webvision", "info/train_filelist_flickr.txt"),
        ("yfcc", "yfcc100m_dataset"),
    ],
)
def test_bad_rows_and_repeats_are_listed(name: str, file: str, tmp_path: Path) -> None:
    """Rows in = documents + rows listed: a broken line and a repeated one are in the quarantine."""
    LAYOUTS[name].make(tmp_path / "set", ROWS)
    with (tmp_path / "set" / file).open("a") as stream:
        stream.write(last_row(tmp_path / "set" / file) + "broken line\n")
    root = tmp_path / "out"
    config, node = pipeline(name, str(tmp_path / "set"), root)
    ingested(node, root)
    quarantine = ingest_quarantine(node, open_root(root))
    assert documents(node, root).num_rows + quarantine.num_rows == len(rows_in(config)) == ROWS + 2
    if name != "webvision":  # there the name of the image stands on the broken line too: a document with a status
        assert sorted(quarantine["reason"].to_pylist()) == ["bad_row", "duplicate_id"]
    assert quarantine["source"].null_count == 0
