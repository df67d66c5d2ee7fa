"""What every stage that works by row promises, ours and those of packages: alignment, row by row, by one key."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fuseline.flows.config import parse_config
from fuseline.flows.graph import build
from fuseline.models.columns import Dense
from fuseline.models.config import FrozenConfig
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.tasks.engine.image_pass import ImageTransform, run_pass
from fuseline.tasks.engine.inputs import context, upstream_tables
from fuseline.tasks.engine.nodes import ShardStage
from fuseline.tasks.stages.registry import STAGES, StageConfig
from tests.drive import run
from tests.flows.conftest import write_documents

ROWS = 24
OURS = ("clean", "columns", "colours", "predictions", "logits", "hidden")
NAMES = {"clean": "clean/text", "columns": "embed/columns", "colours": "embed/colours",
         "predictions": "predictions/mean", "logits": "logits/words", "hidden": "hidden/cnn"}  # fmt: skip
SMALL = {
    "pixels": {"side": 4},
    "learned": {"inputs": ["columns"], "hidden": 4, "inner": 3, "code": 2, "epochs": 1},
    "similarity": {"inputs": ["columns", "learned"]},
}
PAGE = "<h1>{0}</h1><p>{0} word <a href=x>link</a><img src=y></p>"

every = pytest.mark.parametrize("name", [*OURS, *sorted(STAGES)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write documents of two labels, some of which lack their page or their columns."""
    folder = tmp_path_factory.mktemp("stages")
    for n in range(3):
        Image.new("RGB", (6, 9), (n, 99, 200)).save(folder / f"{n}.png")
    write_documents(folder, [
        {"id": f"d{n}", "label": "ab"[n % 2], "title": f"title {n}", "image": f"{n % 5}.png",
         "html": None if n == 3 else PAGE.format("ab"[n % 2]), "size": None if n == 4 else n,
         "colour": ["red", "blue", None][n % 3]}
        for n in range(ROWS)
    ])  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[str, ShardStage]:
    """Make everything, and return the stages by their names here."""
    options = {"tabular": {"size": "number", "colour": "category"}}
    models = {"words": {"kind": "text", "options": {"preset": "fasttext", "dim": 4, "epochs": 2}},
              "more": {"kind": "text", "options": {"preset": "fasttext", "dim": 4, "epochs": 2}, "seed": 1},
              "mean": {"kind": "fixed_mean", "options": {"models": ["words", "more"]}},
              "cnn": {"kind": "text_cnn", "options": {"sequence": "sequence", "epochs": 1, "lr": 0.01, "maps": 4}},
              "head": {"kind": "concat_frozen", "options": {"vectors": ["columns", "hidden/cnn"], "epochs": 1,
                                                            "lr": 0.01}}}  # fmt: skip
    config = parse_config({
        "root": str(folder / "root"), "models": models,
        "stages": {kind: {"stage": kind, "options": SMALL.get(kind, {})} for kind in STAGES},
        "source": {"reader": "jsonl", "path": str(folder / "documents.jsonl"), "options": options},
        "embed": {"columns": {"encoder": "tabular"}, "colours": {"encoder": "tabular", "output": "indices"}},
    })  # fmt: skip
    nodes = build(config)
    run(nodes, open_root(folder / "root"), source=str(folder))
    stages = {node.name: node for node in nodes if isinstance(node, ShardStage)}
    return {
        **{name: stages[full] for name, full in NAMES.items()},
        **{kind: stages[f"embed/{kind}"] for kind in STAGES},
    }


def apply(stage: ShardStage, root: Root, first: int = 0, n: int = ROWS) -> pa.Table:
    """Return what a stage's function makes of some rows of its first shard."""
    tables = [table.slice(first, n) for table in upstream_tables(stage, root, 0)]
    transform: Any = stage.transform
    if isinstance(transform, ImageTransform):
        consumer: Any = transform.consumer
        return run_pass(tables[0], [consumer(tables, stage.config)], source=str(root.local("").parent)).tables[0]
    return transform(tables, stage.config, context(stage, root, ""))


@every
def test_a_stage_gives_one_row_per_document_in_order(made: dict[str, ShardStage], folder: Path, name: str) -> None:
    stage = made[name]
    documents = upstream_tables(stage, open_root(folder / "root"), 0)[0]
    table = apply(stage, open_root(folder / "root"))
    assert stage.by_row
    assert table["id"].to_pylist() == documents["id"].to_pylist()
    assert table["status"].null_count == 0
    if stage.feature is not None:
        column = stage.feature.kind.of(table, stage.feature.field)
        assert len(column.present) == len(table)


@every
def test_a_row_depends_on_its_own_row_alone(made: dict[str, ShardStage], folder: Path, name: str) -> None:
    whole = apply(made[name], open_root(folder / "root"))
    parts = [apply(made[name], open_root(folder / "root"), *rows) for rows in ((0, 5), (5, 1), (6, ROWS))]
    joined = pa.concat_tables(parts)
    if name in ("hidden", "learned"):  # torch adds up batches of another size in another order: the last bits differ
        vectors = [Dense.of(table, "embedding").values for table in (joined, whole)]
        np.testing.assert_allclose(*vectors, rtol=1e-5, atol=1e-6)
        joined, whole = (table.drop_columns("embedding") for table in (joined, whole))
    assert repr(joined.to_pylist()) == repr(whole.to_pylist())  # NaN is NaN


@every
def test_options_and_version_are_in_the_key(made: dict[str, ShardStage], name: str) -> None:
    stage = made[name]
    assert replace(stage, version=stage.version + 1).key != stage.key
    assert replace(stage, version=stage.version).key == stage.key


@pytest.mark.parametrize("kind", sorted(STAGES))
def test_a_registered_stage_says_what_it_is(kind: str) -> None:
    stage = STAGES[kind]
    assert stage.kind == kind
    assert len(stage.summary) > 15
    assert issubclass(stage.Config, FrozenConfig)


def test_an_unknown_stage_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(ValueError, match=r"stage: expected \[.*\], got 'no_such'; install the package"):
        StageConfig(stage="no_such")
