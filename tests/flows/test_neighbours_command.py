"""`fuseline neighbours`: beside scikit-learn, read-only, and what is refused in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from drive import run
from sklearn.neighbors import NearestNeighbors

from fuseline.flows.config import Config, load_config, parse_config
from fuseline.flows.graph import build
from fuseline.flows.neighbours import nearest_documents
from fuseline.models.columns import Dense
from fuseline.stores.errors import ConfigError, DataError
from fuseline.stores.places import open_root
from tests.flows.conftest import Cli


def vectors(config: Config, name: str) -> tuple[list[str], Any]:
    """Return ids and vectors of a dataset, all shards in one, of documents that have one."""
    (node,) = (node for node in build(config) if getattr(node, "column", "") == name and node.feature)
    dataset = node.dataset(open_root(config.root))
    tables = [dataset.read(record) for _, record in sorted(dataset.records().items())]
    columns = [Dense.of(table, "embedding") for table in tables]
    there = np.concatenate([column.present for column in columns])
    ids = np.array([one for table in tables for one in table["id"].to_pylist()])
    return ids[there].tolist(), np.concatenate([column.values for column in columns])[there]


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(folder.rglob("*"))}


def test_the_nearest_are_those_of_scikit_learn_and_nothing_is_written(cli: Cli, finished: Path) -> None:
    config = load_config(finished)
    ids, X = vectors(config, "embed/image")
    assert len(ids) > 40
    before = files(finished.parent)
    index = NearestNeighbors(n_neighbors=6, metric="cosine").fit(X)
    for at in (0, 17, len(ids) - 1):
        found = nearest_documents(config, ids[at], "image", k=5)
        distance, rows = index.kneighbors(X[at : at + 1])
        expected = [(ids[row], 1 - d) for d, row in zip(distance[0], rows[0], strict=True) if row != at][:5]
        assert [row["similarity"] for row in found.neighbours] == pytest.approx([s for _, s in expected], abs=1e-5)
        assert {row["id"] for row in found.neighbours} == {one for one, _ in expected}
    result = cli("neighbours", finished, ids[0], "--encoder", "embed/image", "-k", "3", "--json")
    assert result.exit_code == 0, result.output
    told = orjson.loads(result.stdout)
    assert told["vectors"] == "embed/image"
    assert told["document"]["id"] == ids[0]
    same = nearest_documents(config, ids[0], "image", k=3).neighbours
    assert told["neighbours"] == same
    assert {*same[0]} == {"similarity", "id", "split", "labels", "title"}
    shown = cli("neighbours", finished, ids[0], "--encoder", "image", "-k", "3")
    assert all(row["id"] in shown.stdout and row["title"] in shown.stdout for row in same)
    assert files(finished.parent) == before


def test_faults_are_one_line(cli: Cli, finished: Path) -> None:
    for args, code, said in (
        (("nobody", "--encoder", "image"), 2, "ID: expected 'the id of a document of shapes', got 'nobody'; its table"),
        (("doc-0001", "--encoder", "title"), 2, "--encoder: expected ['image'], got 'title'; choose one of these"),
        (("doc-0001", "--encoder", "hidden/text"), 2, "got 'hidden/text'"),
        (("doc-0001", "--encoder", "image", "--set", "root=/nowhere/at/all"), 2, "ID: expected"),
    ):
        result = cli("neighbours", finished, *args)
        assert result.exit_code == code, result.output
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        assert said in line
    assert cli("neighbours", finished, "doc-0001", "--encoder", "image", "-k", "0").exit_code == 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return a configuration whose documents all but two have a size, two of them the same."""
    folder = tmp_path_factory.mktemp("near")
    lines = [{"id": f"d{i:02d}", "text": "sun", "label": "xy"[i % 2], "title": f"Nr {i}"} for i in range(40)]
    for i, line in enumerate(lines):
        if i % 20 != 7:
            line |= {"a": float(i % 8), "b": float(i // 8)}
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    options = {"tabular": {"a": "number", "b": "number"}}
    return parse_config({
        "name": "near", "root": str(folder / "out"), "shard_size": 16,
        "source": {"reader": "jsonl", "path": str(folder / "x.jsonl"), "options": options},
        "embed": {"columns": {"encoder": "tabular"}},
        "models": {"net": {"kind": "concat_frozen", "options": {"vectors": ["columns"], "epochs": 1, "lr": 0.01}}},
        "report": {"gallery": 0, "maps": {"hidden": ["net"]}},
    })  # fmt: skip


def test_vectors_that_nobody_made_or_that_a_document_lacks_are_told(made: Config) -> None:
    nodes, root = build(made), open_root(made.root)
    run([node for node in nodes if node.role == "documents"], root)
    with pytest.raises(
        DataError, match=r"embed/columns: expected 'vectors', got 'none that were made'; do `fuseline run`"
    ):
        nearest_documents(made, "d00", "columns", k=3)
    run(nodes, root)
    with pytest.raises(DataError, match=r"embed/columns of d07: expected 'a vector', got 'none'; it has nothing"):
        nearest_documents(made, "d07", "columns", k=3)
    with pytest.raises(ConfigError, match=r"--encoder: expected \['columns', 'hidden/net'\], got 'net'"):
        nearest_documents(made, "d00", "net", k=3)


def test_what_a_network_has_learnt_is_searched_too_and_k_may_be_more_than_there_are(made: Config) -> None:
    run(build(made), open_root(made.root))
    ids, X = vectors(made, "hidden/net")
    found = nearest_documents(made, ids[3], "hidden/net", k=100)
    assert len(found.neighbours) == len(ids) - 1
    unit = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)
    cosine = dict(zip(ids, (unit @ unit[3]).tolist(), strict=True))
    values = [row["similarity"] for row in found.neighbours]
    assert values == sorted(values, reverse=True)
    assert values == pytest.approx([cosine[row["id"]] for row in found.neighbours], abs=1e-5)
    assert ids[3] not in [row["id"] for row in found.neighbours]
