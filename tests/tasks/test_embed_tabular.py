"""The tabular stage: training rows alone are fitted, no label is looked at, every row is encoded."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from drive import Source, content, counts, run
from pydantic import ValidationError

from fuseline.models.columns import Dense
from fuseline.models.encoders.tabular import Tabular, TabularConfig
from fuseline.stores.errors import DataError
from fuseline.stores.fitted import SavedCheckpoint
from fuseline.stores.places import open_root
from fuseline.stores.schemas import embedding, indices
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.engine.nodes import Context, Fit, Ingest, Read, ShardStage
from fuseline.tasks.stages.embed_columns import TabularEmbedConfig, embed_tabular, fit_tabular

ROWS: list[dict[str, Any]] = [
    {"id": "a", "split": "train", "label": "x", "x": 0.0, "y": "p"},
    {"id": "b", "split": "test", "label": "y", "x": 100.0, "y": "q"},
    {"id": "c", "split": "train", "label": "y", "x": 10.0, "y": "p"},
    {"id": "d", "split": "valid", "label": "x", "x": -5.0, "y": None},
    {"id": "e", "split": "test", "label": "x", "x": None, "y": "q"},
]


TABULAR = {"x": "number", "y": "category"}


def pipeline(
    source: Path, *, tabular: dict[str, str] | None = TABULAR, **options: Any
) -> tuple[Ingest, Fit, ShardStage]:
    """Return ingest, fit and stage, as the graph wires them."""
    where = SourceConfig(path=str(source), options={"tabular": tabular} if tabular else {})
    documents = ingest_stage("x", where, shard_size=2, split=SplitConfig(valid=0, test=0))
    spec = TabularEmbedConfig.model_validate(options)
    fit = Fit(
        role="encoders", short="c", flow="embed", main=False, version=1, config=spec.fit_config(), fit=fit_tabular,
        reads=(Read(documents, ("split", *spec.reads())),),
    )  # fmt: skip
    stage = ShardStage(
        role="embed", short="c", flow="embed", version=1, config=spec, transform=embed_tabular, fits=(fit,),
        reads=(Read(documents, spec.reads()),), layout="zarr" if spec.output == "vectors" else "parquet",
    )  # fmt: skip
    return documents, fit, stage


def test_only_training_rows_are_looked_at(tmp_path: Path) -> None:
    nodes = pipeline(Source(tmp_path / "x.jsonl").write(ROWS), options={"flag_missing": False})
    run(nodes, open_root(tmp_path / "root"))
    record = nodes[1].fitted(open_root(tmp_path / "root")).record()
    assert record is not None
    assert record.n_rows == 2
    encoder = Tabular.load(nodes[1].fitted(open_root(tmp_path / "root")).folder.local(record.name))
    assert encoder.names() == ["cat_y=p", "num_x"]
    rows = content(nodes[2], open_root(tmp_path / "root"))
    vectors = np.array([rows[name]["embedding"] for name in "abcde"])
    np.testing.assert_array_equal(vectors, [[1, 0], [np.nan, 1], [1, 1], [np.nan, 0], [0, 0]])
    assert [rows[name]["present"] for name in "abcde"] == [True, True, True, True, False]
    assert [rows[name]["status"] for name in "abcde"] == ["ok", "ok", "ok", "ok", "missing"]


def test_no_label_is_looked_at(tmp_path: Path) -> None:
    found = []
    for name, labels in (("one", "xyyxx"), ("other", "yyxxy")):
        rows = [{**row, "label": label} for row, label in zip(ROWS, labels, strict=True)]
        (tmp_path / name).mkdir()
        nodes = pipeline(Source(tmp_path / name / "x.jsonl").write(rows), options={"numeric": "quantile"})
        run(nodes, open_root(tmp_path / name))
        assert [set(read.columns) & {"label", "labels"} for node in nodes[1:] for read in node.reads] == [set(), set()]
        record = nodes[1].fitted(open_root(tmp_path / name)).record()
        assert record is not None
        found.append((record.digest, content(nodes[2], open_root(tmp_path / name))))
    np.testing.assert_equal(found[0], found[1])


def test_it_stays_frozen_until_it_is_refitted_and_unchanged_rows_are_kept(tmp_path: Path) -> None:
    source = Source(tmp_path / "x.jsonl")
    nodes = pipeline(source.write(ROWS))
    run(nodes, open_root(tmp_path / "root"))
    new = {"id": "f", "split": "train", "label": "x", "x": 20.0, "y": "new"}
    source.write([{**ROWS[0], "x": 5.0}, *ROWS[1:], new])
    made = counts(run(nodes, open_root(tmp_path / "root")))
    assert made["embed/c"] == (2, 2, 1)  # a changed, f is new, b stays: one shard each
    assert "encoders/c" not in made
    rows = content(nodes[2], open_root(tmp_path / "root"))
    assert rows["a"]["embedding"] == [1.0, 0.0, 0.5, 0.0]
    np.testing.assert_array_equal(rows["f"]["embedding"], [np.nan, 1, 1, 0])
    run(nodes, open_root(tmp_path / "root"), refit="now")
    assert len(content(nodes[2], open_root(tmp_path / "root"))["f"]["embedding"]) == 5


def test_a_value_that_moves_to_another_column_is_a_changed_row(tmp_path: Path) -> None:
    """Digests of cells don't name their columns: the row once looked unchanged when its shard had other columns."""
    documents, fit, stage = pipeline(Source(tmp_path / "x.jsonl").write(ROWS))
    dataset, root = documents.dataset(open_root(tmp_path / "root")), open_root(tmp_path / "root")
    known = {"id": ["a", "b"], "split": ["train", "train"], "labels": [["x"], ["y"]]}
    dataset.commit(0, pa.table({**known, "num_a": [0.0, 4.0], "num_b": [1.0, 2.0]}), {})
    dataset.commit(1, pa.table({**known, "id": ["c", "d"], "num_a": [1.0, 4.0]}), {})
    run([fit, stage], root)
    assert content(stage, root)["c"]["embedding"][:2] == [0.25, 0.0]
    np.testing.assert_array_equal(content(stage, root)["c"]["embedding"][2:], [np.nan, 1])
    dataset.commit(1, pa.table({**known, "id": ["c", "d"], "num_b": [1.0, 4.0]}), {})
    run([fit, stage], root)
    np.testing.assert_array_equal(content(stage, root)["c"]["embedding"], [np.nan, 1, 0, 0])


def test_indices_are_integers_in_parquet(tmp_path: Path) -> None:
    options = {"columns": ["cat_y", "num_x"], "numeric": "uniform", "bins": 2}
    nodes = pipeline(Source(tmp_path / "x.jsonl").write(ROWS), options=options, output="indices")
    run(nodes, open_root(tmp_path / "root"))
    dataset = nodes[2].dataset(open_root(tmp_path / "root"))
    tables = [dataset.read(record).drop_columns("row_inputs") for _, record in sorted(dataset.records().items())]
    assert all(table.schema.equals(indices(2, 9)) for table in tables)
    found = [row for table in tables for row in table["indices"].to_pylist()]
    assert found == [[1, 1], [0, 2], [1, 2], [0, 1], [0, 0]]
    assert list(dataset.folder.local().glob("*.parquet"))


def test_half_precision_and_nothing_at_all(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"], "num_x": [3.0]})
    Tabular.fit([table], TabularConfig(), seed=0).save(tmp_path)
    config = TabularEmbedConfig(dtype="float16")
    context = Context("", {"encoders/c": SavedCheckpoint(open_root(tmp_path.parent), tmp_path.name)}, {})
    assert embed_tabular([table], config, context).schema == embedding(2, pa.float16())
    assert embed_tabular([table.slice(0, 0)], config, context).num_rows == 0
    with pytest.raises(ValidationError, match="bins"):
        TabularConfig(bins=1)


def test_missing_values_are_zeros_beside_a_mask_in_a_block() -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1.0, np.nan, 0.0, 2.0], pa.float32()), 2)
    column = Dense.of(pa.table({"present": [True, True], "embedding": vectors}), "embedding")
    assert column.values.tolist() == [[1, 0], [0, 2]]
    assert column.missing is not None
    assert column.missing.tolist() == [[False, True], [False, False]]
    assert column.at(np.array([1, 0])).missing.tolist() == [[False, False], [False, True]]  # type: ignore[union-attr]


def test_no_column_at_all_is_refused_with_the_cure(tmp_path: Path) -> None:
    nodes = pipeline(Source(tmp_path / "x.jsonl").write(ROWS), tabular=None)
    with pytest.raises(DataError, match=r"embed/encoders-c: columns: expected num_\* or cat_\* with a value"):
        run(nodes, open_root(tmp_path / "root"))
    chosen = pipeline(tmp_path / "x.jsonl", options={"columns": ["num_z"]})
    with pytest.raises(DataError, match=r"expected \['num_z'\] in the training rows, got none"):
        run(chosen, open_root(tmp_path / "root"))
