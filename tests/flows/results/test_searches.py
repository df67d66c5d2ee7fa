"""What models chose and tried: the table of searches, and what is made of it."""

from pathlib import Path

import pyarrow as pa
import pytest

from fuseline.flows.config import load_config
from fuseline.flows.graph import build
from fuseline.flows.results.searches import choices, search_table
from fuseline.reports.page_data import ReportData
from fuseline.reports.sections.options import render, searched
from fuseline.stores.places import open_root
from fuseline.stores.schemas import SEARCHES
from fuseline.tasks.engine.nodes import Fit
from tests.flows.conftest import settings, write_config
from tests.models.reference import fitted
from tests.models.synthetic import documents

GIVEN = {
    "dim": 4,
    "epochs": 2,
    "minn": 0,
    "weighting": "mean",
    "maxn": 0,
    "word_ngrams": 1,
    "buckets": 1,
    "scaling": "unit",
    "image_length": 1,
}


def test_parts_of_a_model_tell_what_they_chose(tmp_path: Path) -> None:
    """Of a model composed of others the facts of its parts were passed over."""
    models = {name: {"kind": "avg_probs", "options": GIVEN} for name in ("both", "later")}
    config = load_config(write_config(tmp_path, {**settings(tmp_path), "models": models}))
    root, nodes = open_root(config.root), build(config)
    (node,) = (one for one in nodes if one.name == "models/both")
    assert isinstance(node, Fit)
    facts = fitted("avg_probs", documents(100), valid=documents(60, seed=1), **GIVEN).describe()
    node.fitted(root).commit(lambda folder: (folder / "x").touch(), n_rows=100, shards={}, fitted={}, facts=facts)

    table = search_table(nodes, root)
    chosen = table.filter(table["chosen"])
    assert set(table["model"].to_pylist()) == {"both"}
    assert set(chosen["part"].to_pylist()) == {"image", "text"}
    content = render(ReportData("t", "r", "c", tables={"searches": table}))
    assert content is not None
    for part, options in zip(chosen["part"].to_pylist(), chosen["options"].to_pylist(), strict=True):
        value = options.removeprefix('{"lr":').removesuffix("}")
        assert f"<td>both, {part}</td><td>lr {value}</td>" in content
    lines = [*choices(config)]
    assert [line.partition(":")[0] for line in lines] == ["model both, image", "model both, text", "model later"]
    assert all("precision at 1 on valid" in line for line in lines[:2])


def test_options_tried_from_several_seeds_are_shown_with_the_mean_of_their_scores() -> None:
    row = {"model": "text", "part": None, "documents": 90, "sureness": 0.5, "options": '{"lr":0.5}', "chosen": True}
    rows = [{**row, "score": score} for score in (0.5, 0.6, 0.4)]
    rows += [{**row, "options": '{"lr":0.1}', "chosen": False, "score": 0.58}]
    (found,) = searched(pa.Table.from_pylist(rows, schema=SEARCHES))
    assert (found.best["options"], found.best["score"], len(found.trials)) == ("lr 0.5", pytest.approx(0.5), 4)
